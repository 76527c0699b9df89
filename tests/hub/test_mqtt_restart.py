"""What the broker promised before it was killed holds after it: in virtual time, on a disk that writes when told to."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hub.gateway_settings import TopicRule
from hub.marks import read_mark
from hub.session_entries import Entry, from_record, to_record
from streams.errors import DiskError, JunkError
from streams.mqtt import (
    Acknowledge,
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Property,
    Publish,
    Reason,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from streams.record import Record
from tests.hub.mqtt_models import Publisher, Reader
from tests.hub.mqtt_world import MemoryClient, MemoryDisk, World

EXPIRY = Property.SESSION_EXPIRY_INTERVAL
VERSIONS = pytest.mark.parametrize("version", [4, 5])
QOS = pytest.mark.parametrize("qos", [1, 2])


def kept(version: int = 5, expiry_s: int = 600) -> dict[str, Any]:
    return {"version": version, "clean_start": False, "properties": {EXPIRY: expiry_s} if version == 5 else {}}


def payloads(packets: list[Packet]) -> list[bytes]:
    return [each.payload for each in packets if isinstance(each, Publish)]


# -- what survives -----------------------------------------------------------------------------------------------------


@VERSIONS
@QOS
def test_a_session_its_subscriptions_and_its_messages_survive(version: int, qos: int) -> None:
    world = World(MemoryDisk())
    reader = world.client("reader", **kept(version))
    reader.subscribe("a/+", "b", qos=qos)
    reader.send(Unsubscribe(3, ("b",)))
    reader.read()
    reader.vanish()
    writer = world.client("writer", 5)
    writer.publish(
        "a/1", b"waits", qos, 1, properties={Property.CONTENT_TYPE: "x", Property.USER_PROPERTY: [("k", "v")]}
    )
    writer.publish("b", b"not wanted any more", qos, 2)
    world.restart()
    again, answer = world.connect("reader", **kept(version))
    assert answer.session_present
    [message] = again.later
    assert isinstance(message, Publish)
    assert (message.topic, message.payload, message.qos) == ("a/1", b"waits", qos)
    if version == 5:
        assert message.properties == {Property.CONTENT_TYPE: "x", Property.USER_PROPERTY: [("k", "v")]}
    world.client("writer", 5).publish("a/2", b"after", qos, 1)
    assert again.payloads() == [b"after"]


@QOS
def test_a_message_on_its_way_is_sent_again_with_its_number_as_a_duplicate(qos: int) -> None:
    world = World(MemoryDisk(), inflight_max=2)
    reader, writer = world.client("reader", **kept()), world.client("writer")
    reader.subscribe("a", qos=qos)
    for n in range(4):
        writer.publish("a", b"%d" % n, qos, n + 1)
    first = reader.messages()
    reader.acknowledge(first[0].packet_id, PacketType.PUBACK if qos == 1 else PacketType.PUBREC)
    reader.read()
    if qos == 2:
        reader.acknowledge(first[0].packet_id, PacketType.PUBCOMP)
        reader.read()
    world.restart()
    again = world.client("reader", **kept())
    found = [each for each in again.later if isinstance(each, Publish)]
    assert [(each.payload, each.packet_id, each.dup) for each in found[:1]] == [(b"1", first[1].packet_id, True)]
    assert [each.payload for each in found] == [b"1", b"2"], "two fit the window"


def test_a_release_is_sent_again_and_not_the_message() -> None:
    world = World(MemoryDisk())
    reader = world.client("reader", **kept())
    reader.subscribe("a", qos=2)
    world.client("writer").publish("a", b"x", 2, 1)
    [message] = reader.messages()
    reader.acknowledge(message.packet_id, PacketType.PUBREC)
    assert reader.read() == [Acknowledge(PacketType.PUBREL, message.packet_id)]
    world.restart()
    again = world.client("reader", **kept())
    assert again.later == [Acknowledge(PacketType.PUBREL, message.packet_id)]
    again.acknowledge(message.packet_id, PacketType.PUBCOMP)
    world.restart()
    assert world.client("reader", **kept()).later == []


def test_retained_messages_survive_and_age_meanwhile() -> None:
    world = World(MemoryDisk())
    writer = world.client("writer", 5)
    writer.publish("a", b"old", 1, 1, retain=True)
    writer.publish("a", b"new", 1, 2, retain=True)
    writer.publish("b", b"gone", 1, 3, retain=True)
    writer.publish("b", b"", 1, 4, retain=True)
    writer.publish("c", b"ages", 1, 5, retain=True, properties={Property.MESSAGE_EXPIRY_INTERVAL: 60})
    world.restart(away_s=20)
    reader = world.client("reader", 5)
    reader.subscribe("#")
    assert payloads(reader.later) == [b"new", b"ages"]
    assert reader.later[1].properties == {Property.MESSAGE_EXPIRY_INTERVAL: 40}  # type: ignore[union-attr]
    world.restart(away_s=60)
    reader = world.client("reader", 5)
    reader.subscribe("#")
    assert payloads(reader.later) == [b"new"]


def test_a_message_that_waits_too_long_is_not_sent_after_a_restart() -> None:
    world = World(MemoryDisk())
    world.client("reader", **kept()).subscribe("a")
    world.restart()
    world.client("writer", 5).publish("a", b"x", 1, 1, properties={Property.MESSAGE_EXPIRY_INTERVAL: 5})
    world.restart(away_s=10)
    assert world.client("reader", **kept()).later == []


def test_time_goes_on_for_absent_sessions_while_the_hub_is_away() -> None:
    world = World(MemoryDisk())
    world.client("gone", **kept(expiry_s=60)).vanish()
    world.client("here", **kept(expiry_s=60))
    world.restart(away_s=61)
    assert not world.connect("gone", **kept(expiry_s=60))[1].session_present
    assert world.connect("here", **kept(expiry_s=60))[1].session_present, "it was connected until the hub went away"


@pytest.mark.parametrize("delay_s", [0, 30])
def test_a_will_survives_and_waits_for_its_client(delay_s: int) -> None:
    world = World(MemoryDisk())
    will = Will("w", b"gone", 1, properties={Property.WILL_DELAY_INTERVAL: delay_s})
    world.client("watcher", **kept()).subscribe("w")
    world.client("dying", will=will, **kept())
    world.restart()
    watcher = world.client("watcher", **kept())
    if delay_s:
        assert watcher.later == []
        world.client("dying", will=will, **kept())
        world.pass_time(60, step_s=5)
        assert watcher.messages() == [], "it is back"
        world.restart()
        watcher = world.client("watcher", **kept())
        world.pass_time(31)
        assert watcher.payloads() == [b"gone"]
    else:
        assert payloads(watcher.later) == [b"gone"]
    world.restart()
    assert [each.dup for each in world.client("watcher", **kept()).later] == [True], "published once, not acknowledged"  # type: ignore[union-attr]


def test_a_will_that_waits_is_not_forgotten_nor_hurried_by_a_restart() -> None:
    world = World(MemoryDisk())
    will = Will("w", b"gone", 1, properties={Property.WILL_DELAY_INTERVAL: 100})
    world.client("dying", will=will, **kept()).vanish()
    world.restart(away_s=50)
    reader = world.client("reader")
    reader.subscribe("w")
    world.pass_time(45)
    assert reader.messages() == []
    world.pass_time(7)
    assert reader.payloads() == [b"gone"]


def test_the_will_of_a_client_without_a_session_to_keep_is_published_after_a_restart() -> None:
    world = World(MemoryDisk())
    world.client("watcher", **kept()).subscribe("w")
    world.client("dying", will=Will("w", b"gone", 1))
    world.client("polite", will=Will("w", b"no", 1)).send(Disconnect())
    world.restart()
    assert payloads(world.client("watcher", **kept()).later) == [b"gone"]
    assert not world.connect("dying", **kept())[1].session_present


def test_what_a_client_ended_stays_ended() -> None:
    world = World(MemoryDisk())
    world.client("c", **kept()).subscribe("a")
    world.client("c", 5, clean_start=True, properties={EXPIRY: 0})
    world.restart()
    assert not world.connect("c", **kept())[1].session_present


def test_a_session_is_not_given_to_another_user() -> None:
    world = World(MemoryDisk(), users=("ann:a", "bob:b"))
    ann = {"username": "ann", "password": b"a", **kept()}
    world.client("c", **ann).subscribe("secret")
    world.restart()
    world.client("writer", username="ann", password=b"a").publish("secret", b"x", 1, 1)
    bob, answer = world.connect("c", username="bob", password=b"b", **kept())
    assert not answer.session_present
    assert bob.later == []


def test_a_subscription_that_is_not_allowed_any_more_is_gone() -> None:
    world = World(MemoryDisk(), rules=(TopicRule(subscribe=("a", "b")),))
    world.client("c", **kept()).subscribe("a", "b")
    world.settings = type(world.settings)(rules=(TopicRule(subscribe=("a",), publish=("#",)),))
    world.restart()
    client = world.client("c", **kept())
    client.publish("b", b"not mine", 1, 1)
    client.publish("a", b"mine", 1, 2)
    assert payloads(client.read()) == [b"mine"]


# -- nothing is promised before it is on disk --------------------------------------------------------------------------


def test_every_promise_waits_for_the_disk() -> None:
    disk = MemoryDisk(prompt=False)
    world = World(disk)
    client = MemoryClient(world, 5)

    def promised(packet: Packet, answer: type[Packet]) -> None:
        client.send(packet)
        assert client.read() == [], packet
        disk.settle()
        assert any(isinstance(each, answer) for each in client.read()), packet

    promised(Connect("c", 5, False, properties={EXPIRY: 60}), Connack)
    promised(Subscribe(1, (Subscription("a", 2),)), Suback)
    client.send(Publish("a", b"x", 1, 7))
    assert [type(each) for each in client.read()] == [Publish], "QoS 1 may come twice: it need not wait"
    disk.settle()
    assert client.read() == [Acknowledge(PacketType.PUBACK, 7)]
    client.send(Publish("a", b"y", 2, 8))
    assert client.read() == [], "QoS 2 must not come twice"
    disk.settle()
    assert {type(each) for each in client.read()} == {Publish, Acknowledge}
    promised(Acknowledge(PacketType.PUBREL, 8), Acknowledge)
    promised(Acknowledge(PacketType.PUBREC, 2), Acknowledge)
    promised(Unsubscribe(2, ("a",)), Unsuback)


def test_what_goes_to_nobody_who_may_be_absent_waits_for_no_disk() -> None:
    world = World(MemoryDisk(prompt=False))
    reader, writer = world.client("reader"), world.client("writer")
    reader.subscribe("a")
    writer.publish("a", b"x", 1, 1)
    assert writer.read() == [Acknowledge(PacketType.PUBACK, 1)]
    assert reader.payloads() == [b"x"]


def test_what_cannot_be_stored_is_not_promised() -> None:
    disk = MemoryDisk()
    world = World(disk)
    reader = world.client("reader", **kept())
    reader.subscribe("a", qos=2)
    writer = world.client("writer", **kept())
    disk.prompt = False
    writer.publish("a", b"x", 2, 1)
    disk.settle(error=DiskError("the disk is full"))
    assert [type(each) for each in writer.read()] == [Disconnect]
    assert reader.messages() == [], "it will be sent again"
    refused = MemoryClient(world, 5)
    refused.send(Connect("third", 5, False, properties={EXPIRY: 60}))
    disk.settle(error=DiskError("the disk is full"))
    answer = refused.read_one(Connack)
    assert answer.reason == Reason.SERVER_UNAVAILABLE
    assert refused.link.closed


def test_acknowledgements_keep_their_order_while_some_wait_for_the_disk() -> None:
    disk = MemoryDisk()
    world = World(disk)
    world.client("reader", **kept()).subscribe("kept")
    writer = world.client("writer")
    disk.prompt = False
    writer.publish("kept", b"1", 1, 1)
    writer.publish("nobody", b"2", 1, 2)
    writer.publish("penstock/v1/writer/frames", b"3", 1, 3)
    assert writer.read() == []
    disk.settle()
    assert [each.packet_id for each in writer.read() if isinstance(each, Acknowledge)] == [1, 2, 3]


# -- exactly once, through crashes -------------------------------------------------------------------------------------


class Telemetry:
    """The pipeline's own disk, which has nothing to do with that of the sessions."""

    def __init__(self, world: World) -> None:
        self.intake = world.intake
        self.intake.prompt = False
        self.durable = 0

    def settle(self) -> None:
        while self.intake.waiting:
            self.intake.settle()
        self.durable = len(self.intake.taken)

    def crash(self, dice: random.Random) -> None:
        self.intake.waiting.clear()
        self.durable = dice.randint(self.durable, len(self.intake.taken))
        del self.intake.taken[self.durable :]

    def marks(self) -> list[bytes]:
        return [message.mark for _, message in self.intake.taken if message.mark is not None]


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_lost_and_nothing_of_qos_2_comes_twice_through_any_crashes(seed: int) -> None:
    """Invariant: what is acknowledged to its sender reaches the reader; of QoS 2 exactly once, in order."""
    dice = random.Random(seed)
    world = World(MemoryDisk(prompt=False))
    telemetry = Telemetry(world)
    assert world.disk is not None

    def open_link() -> MemoryClient:
        return MemoryClient(world, 5)

    publishers = [Publisher(open_link, qos, topic) for topic in ("a/b", "penstock") for qos in (1, 2)]
    readers = [Reader(open_link, "reader-1"), Reader(open_link, "reader-2")]
    clients: list[Publisher | Reader] = [*publishers, *readers]
    for _ in range(400):
        client = dice.choice(clients)
        match dice.choices(["publish", "work", "write", "connect", "cut", "crash"], [30, 40, 30, 12, 4, 1])[0]:
            case "publish":
                dice.choice(publishers).publish()
            case "work":
                client.work()
            case "write":
                world.disk.settle(dice.randint(1, 4))
                if dice.random() < 0.5:
                    telemetry.settle()
                world.settle()
            case "connect":
                if client.link is None:
                    client.connect()
            case "cut":
                if isinstance(client.link, MemoryClient):
                    client.link.vanish()
                    client.link = None
            case "crash":
                telemetry.crash(dice)
                world.restart(survivors=dice.randint(0, len(world.disk.waiting)), marks=telemetry.marks())
                for each in clients:
                    each.link = None
    _let_all_come_to_an_end(world, telemetry, clients)
    for reader in readers:
        for publisher in publishers:
            name = f"{publisher.name}/".encode()
            heard = [each for each in reader.heard if each.startswith(name)]
            if publisher.topic.startswith("penstock"):
                assert not heard, "what is for the pipeline is for nobody else"
                continue
            if publisher.qos == 2:
                assert heard == sorted(set(heard), key=publisher.sent.index), "each once, in order"
            assert set(heard) <= set(publisher.sent)
            first = min((publisher.sent.index(each) for each in heard), default=len(publisher.sent))
            assert set(publisher.sent[first:]) == set(heard), "nothing is missing once it listens"
    for publisher in publishers[2:]:
        taken = [message.payload for client, message in world.intake.taken if client == publisher.name]
        assert set(taken) == set(publisher.sent)
        if publisher.qos == 2:
            assert len(taken) == len(publisher.sent), "the pipeline has each once"


def _let_all_come_to_an_end(world: World, telemetry: Telemetry, clients: list[Publisher | Reader]) -> None:
    assert world.disk is not None
    for _ in range(200):
        for client in clients:
            if client.link is None:
                client.connect()
        busy = [client.work() for client in clients]
        world.disk.settle()
        telemetry.settle()
        world.settle()
        if not any(busy) and not world.disk.waiting and not any(getattr(client, "open", None) for client in clients):
            return
    raise AssertionError("it does not come to an end")


def test_a_mark_that_the_log_of_sessions_knows_is_not_taken_for_a_new_one() -> None:
    world = World(MemoryDisk())
    client = world.client("dev", **kept())
    client.publish("penstock/v1/dev/frames", b"1", 2, 5)
    client.acknowledge(5, PacketType.PUBREL)
    client.read()
    marks = [message.mark for _, message in world.intake.taken if message.mark]
    assert [read_mark(mark)[1:] for mark in marks] == [(5, "dev")]
    world.restart(marks=marks)
    again = world.client("dev", **kept())
    again.publish("penstock/v1/dev/frames", b"2", 2, 5)
    assert world.intake.payloads == [b"1", b"2"], "the number is free"


def test_what_is_written_anew_is_the_same_as_all_that_was_written() -> None:
    world = World(MemoryDisk())
    assert world.disk is not None
    reader, writer = world.client("reader", **kept()), world.client("writer", will=Will("w", b"gone", 1), **kept())
    reader.subscribe("a", qos=2)
    for n in range(6):
        writer.publish("a", b"%d" % n, 2, n + 1)
    writer.publish("r", b"kept", 1, 9, retain=True)
    first, *_ = reader.messages()
    reader.acknowledge(first.packet_id, PacketType.PUBREC)
    reader.read()
    anew: list[Entry] = []
    for name in ("reader", "writer"):
        anew += world.broker.entries_of_session(name)
    found = world.broker.entry_of_retained("r")
    assert found is not None
    anew.append(found)
    assert len(anew) <= len(world.disk.records)
    outcomes = []
    for records in (world.disk.records, [Record(at, *to_record(entry, 0)) for at, entry in enumerate(anew)]):
        world.disk.records = list(records)
        world.restart(away_s=0)
        again = world.client("reader", **kept())
        outcomes.append((again.later, world.broker._retained.find("r"), set(world.broker._wills)))
        again.vanish()
    assert outcomes[0] == outcomes[1]


def test_a_record_that_cannot_be_read_is_named() -> None:
    for record in (Record(7, b"c", b"", 0, ()), Record(7, b"c", None, 0, (("kind", b"opened"), ("about", b"{}")))):
        with pytest.raises(JunkError, match="record 7 of the log of sessions"):
            from_record(record)
