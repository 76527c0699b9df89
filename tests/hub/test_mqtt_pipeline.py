"""What clients publish for the pipeline: taken in order, acknowledged when it is on disk and not before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.connection import UNANSWERED_MAX
from streams.errors import DiskError
from streams.mqtt import Acknowledge, Disconnect, PacketType, Property, Publish, Reason, Will, encode
from tests.hub.mqtt_world import World

FRAMES = "penstock/v1/c/frames"
STATE = "penstock/v1/c/state"
VERSIONS = pytest.mark.parametrize("version", [4, 5])


def pubacks(*ids: int) -> list[Acknowledge]:
    return [Acknowledge(PacketType.PUBACK, each) for each in ids]


@VERSIONS
def test_a_message_is_acknowledged_when_it_is_on_disk_and_not_before(version: int) -> None:
    world = World()
    world.intake.prompt = False
    client = world.client(version=version)
    client.publish(FRAMES, b"frame", 1, 7)
    assert world.intake.payloads == [b"frame"]
    assert client.read() == []
    world.intake.settle()
    assert client.read() == pubacks(7)


@VERSIONS
def test_one_read_of_the_socket_is_one_call_and_its_acknowledgements_one_write(version: int) -> None:
    world = World()
    world.intake.prompt = False
    client = world.client(version=version)
    writes = client.link.writes
    client.send(*[Publish(FRAMES, b"%d" % n, 1, n) for n in range(1, 50)])
    assert world.intake.history[-1] == "take c 49"
    world.intake.settle()
    assert client.read() == pubacks(*range(1, 50))
    assert client.link.writes == writes + 1


@VERSIONS
@given(data=st.data())
def test_packets_may_arrive_in_any_pieces(version: int, data: st.DataObject) -> None:
    packets = [
        Publish(FRAMES, bytes([n]) * data.draw(st.integers(0, 300)), n % 3, n if n % 3 else 0) for n in range(1, 20)
    ]
    stream = b"".join(encode(packet, version) for packet in packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    world = World()
    client = world.client(version=version)
    for start, stop in zip([0, *cuts], [*cuts, len(stream)]):
        client.send_bytes(stream[start:stop])
    assert world.intake.payloads == [packet.payload for packet in packets]
    answered = [each.packet_id for each in client.read() if isinstance(each, Acknowledge)]
    assert answered == [packet.packet_id for packet in packets if packet.qos]


def test_a_large_packet_byte_by_byte_is_not_looked_at_again_for_every_byte() -> None:
    world = World()
    client = world.client()
    stream = encode(Publish(FRAMES, bytes(20_000), 1, 1))
    looks = 0
    read = client.connection._read

    def counted(data: bytes) -> int:
        nonlocal looks
        looks += 1
        return read(data)

    client.connection._read = counted  # type: ignore[method-assign]
    for place in range(len(stream)):
        client.connection.receive(stream[place : place + 1])
    assert client.read() == pubacks(1)
    assert looks < 8


def test_acknowledgements_leave_in_the_order_of_the_messages() -> None:
    world = World()
    world.intake.prompt = False
    client = world.client()
    client.publish(FRAMES, b"1", 1, 1)
    client.publish(FRAMES, b"2", 1, 2)
    client.publish("other/topic", b"3", 1, 3)
    client.publish(FRAMES, b"4", 1, 4)
    world.intake.settle(which=1)
    assert client.read() == [], "the first is not on disk yet"
    world.intake.settle(which=0)
    assert client.read() == pubacks(1, 2, 3)
    world.intake.settle()
    assert client.read() == pubacks(4)


def test_the_answer_to_another_message_of_the_same_read_waits_too() -> None:
    world = World()
    world.intake.prompt = False
    client = world.client()
    client.send(Publish(FRAMES, b"1", 1, 1), Publish("other/topic", b"2", 1, 2), Publish(FRAMES, b"3", 1, 3))
    assert client.read() == []
    world.intake.settle()
    assert client.read() == pubacks(1, 2, 3)


@VERSIONS
def test_what_could_not_be_stored_is_not_acknowledged_and_the_connection_ends(version: int) -> None:
    world = World()
    world.intake.prompt = False
    client, other = world.client(version=version), world.client("d")
    client.publish(FRAMES, b"1", 1, 1)
    client.publish(FRAMES, b"2", 1, 2)
    world.intake.settle(DiskError("the disk is full"))
    world.intake.settle()
    answers = client.read()
    assert [type(each) for each in answers] == ([Disconnect] if version == 5 else [])
    assert client.link.closed
    assert not other.link.closed
    assert world.counters["intake_refusals"] == 1


@VERSIONS
def test_qos_2_goes_through_the_pipeline_once_however_often_it_is_sent(version: int) -> None:
    world = World()
    world.intake.prompt = False
    client = world.client(version=version)
    client.publish(FRAMES, b"x", 2, 5)
    client.publish(FRAMES, b"x", 2, 5, dup=True)
    assert client.read() == []
    world.intake.settle()
    assert client.read() == [Acknowledge(PacketType.PUBREC, 5)]
    client.publish(FRAMES, b"x", 2, 5, dup=True)
    assert client.read() == [Acknowledge(PacketType.PUBREC, 5)]
    client.acknowledge(5, PacketType.PUBREL)
    assert client.read() == [Acknowledge(PacketType.PUBCOMP, 5)]
    assert world.intake.payloads == [b"x"]
    assert world.counters["duplicates"] == 2


def test_qos_2_that_was_on_its_way_to_disk_when_the_client_came_back_is_answered_on_the_new_connection() -> None:
    world = World()
    world.intake.prompt = False
    client = world.client(clean_start=False)
    client.publish(FRAMES, b"x", 2, 5)
    client.vanish()
    again = world.client(clean_start=False)
    again.publish(FRAMES, b"x", 2, 5, dup=True)
    world.intake.settle()
    assert again.read() == [Acknowledge(PacketType.PUBREC, 5)]
    assert world.intake.payloads == [b"x"]


def test_qos_2_that_could_not_be_stored_is_taken_when_it_comes_again() -> None:
    world = World()
    world.intake.prompt = False
    client = world.client(clean_start=False)
    client.publish(FRAMES, b"x", 2, 5)
    world.intake.settle(DiskError("the disk is full"))
    again = world.client(clean_start=False)
    again.publish(FRAMES, b"x", 2, 5, dup=True)
    world.intake.settle()
    assert again.read() == [Acknowledge(PacketType.PUBREC, 5)]


def test_an_acknowledgement_for_a_connection_that_is_gone_goes_nowhere() -> None:
    world = World()
    world.intake.prompt = False
    client = world.client(clean_start=False)
    client.publish(FRAMES, b"x", 1, 5)
    client.vanish()
    again = world.client(clean_start=False)
    world.intake.settle()
    assert again.read() == []
    assert world.broker.undurable_bytes == 0


@VERSIONS
def test_a_topic_of_another_device_is_refused_and_never_acknowledged_as_stored(version: int) -> None:
    world = World()
    client = world.client(version=version)
    client.publish("penstock/v1/other/frames", b"x", 1, 1)
    if version == 5:
        refusal = client.read_one(Acknowledge)
        assert (refusal.kind, refusal.packet_id, refusal.reason) == (PacketType.PUBACK, 1, Reason.NOT_AUTHORIZED)
        assert refusal.properties == {Property.REASON_STRING: "you may not publish to penstock/v1/other/frames"}
    else:
        assert client.read() == []
        assert client.link.closed
    assert world.intake.payloads == []
    assert world.counters["refused_topics"] == 1


def test_reading_stops_while_too_much_waits_for_the_disk_and_nobody_is_called_silent_meanwhile() -> None:
    world = World(undurable_bytes_max=1 << 16)
    world.intake.prompt = False
    client, other = world.client(keepalive_s=2), world.client("d", keepalive_s=2)
    client.publish(FRAMES, bytes(40_000), 1, 1)
    assert client.link.reading
    client.publish(FRAMES, bytes(40_000), 1, 2)
    assert not client.link.reading
    assert not other.link.reading
    late = world.client("late", keepalive_s=2)
    assert not late.link.reading
    world.pass_time(60)
    world.intake.settle()
    assert not client.link.reading, "only when half of it is on disk"
    world.intake.settle()
    assert [each.link.reading for each in (client, other, late)] == [True, True, True]
    assert client.read() == pubacks(1, 2)
    world.pass_time(2.5)
    assert not any(each.link.closed for each in (client, other, late))
    world.pass_time(1.5)
    assert all(each.link.closed for each in (client, other, late))


def test_a_client_of_5_that_sends_more_than_the_receive_maximum_waits_for_what_it_is_owed() -> None:
    world = World(receive_maximum=3)
    world.intake.prompt = False
    client = world.client(version=5)
    client.send(*[Publish(FRAMES, b"%d" % n, 1, n) for n in range(1, 9)], Publish(FRAMES, b"QoS 0"))
    assert world.intake.payloads == [b"1", b"2", b"3"]
    assert not client.link.reading
    client.connection.receive(encode(Publish(FRAMES, b"late", 1, 9), 5))
    world.intake.settle()
    assert client.read() == pubacks(1, 2, 3)
    assert world.intake.payloads == [b"1", b"2", b"3", b"4", b"5", b"6"]
    for _ in range(2):
        world.intake.settle()
        client.read()
    assert world.intake.payloads[6:] == [b"7", b"8", b"QoS 0", b"late"]
    assert client.link.reading
    assert world.counters["receive_maximum_waits"] == 2


def test_messages_of_qos_2_count_against_the_receive_maximum_until_they_are_released() -> None:
    world = World(receive_maximum=2)
    client = world.client(version=5)
    for packet_id in (1, 2):
        client.publish(FRAMES, b"x", 2, packet_id)
    client.acknowledge(1, PacketType.PUBREL)
    client.publish(FRAMES, b"x", 2, 3)
    assert not client.link.closed
    client.publish(FRAMES, b"x", 2, 4)
    assert client.read()[-1].reason == Reason.RECEIVE_MAXIMUM_EXCEEDED  # type: ignore[union-attr]
    assert client.link.closed


def test_a_client_of_3_1_1_with_very_many_unanswered_messages_is_not_read_from() -> None:
    world = World()
    world.intake.prompt = False
    client = world.client()
    packets = [encode(Publish(FRAMES, b"", 1, n % 65_535 + 1)) for n in range(UNANSWERED_MAX + 1)]
    client.send_bytes(b"".join(packets))
    assert not client.link.reading
    world.intake.settle()
    assert client.link.reading
    assert len(client.read()) == UNANSWERED_MAX + 1


def test_what_came_before_the_goodbye_is_taken_before_the_client_is_gone() -> None:
    world = World()
    client = world.client()
    client.send(Publish(FRAMES, b"last"), Disconnect())
    assert world.intake.history == ["connected c", "take c 1", "disconnected c: the client said goodbye"]


def test_what_came_before_a_malformed_packet_is_taken() -> None:
    world = World()
    client = world.client()
    client.send_bytes(encode(Publish(FRAMES, b"good", 1, 1)) + b"\x00\x00")
    assert world.intake.payloads == [b"good"]
    assert client.link.closed


def test_a_will_for_the_pipeline_is_taken_before_the_client_is_gone() -> None:
    world = World()
    client = world.client(will=Will(STATE, b"gone", 1))
    client.vanish()
    assert world.intake.history == ["connected c", "take c 1", "disconnected c: connection reset"]
    assert world.intake.taken[0][1].topic == STATE


def test_a_topic_alias_stands_for_the_topic_it_was_set_to() -> None:
    world = World()
    client = world.client(version=5)
    client.publish(FRAMES, b"1", properties={Property.TOPIC_ALIAS: 2})
    client.publish("", b"2", properties={Property.TOPIC_ALIAS: 2})
    client.publish(STATE, b"3", properties={Property.TOPIC_ALIAS: 2})
    client.publish("", b"4", properties={Property.TOPIC_ALIAS: 2})
    assert [message.topic for _, message in world.intake.taken] == [FRAMES, FRAMES, STATE, STATE]


@pytest.mark.parametrize("alias", [1, 17])
def test_an_alias_that_was_never_set_or_not_granted_ends_the_connection(alias: int) -> None:
    client = World().client(version=5)
    client.publish("", b"x", properties={Property.TOPIC_ALIAS: alias})
    assert client.read_one(Disconnect).reason == Reason.TOPIC_ALIAS_INVALID


def test_very_many_topics_of_one_client_are_all_routed_well() -> None:
    world = World()
    client, reader = world.client(), world.client("reader")
    reader.subscribe("a/#")
    for n in range(300):
        client.publish(f"a/{n}", b"%d" % n)
        client.publish(FRAMES, b"%d" % n)
    assert [message.topic for message in reader.messages()] == [f"a/{n}" for n in range(300)]
    assert len(world.intake.taken) == 300


def test_a_single_message_for_the_pipeline_and_one_for_others_in_one_read_are_both_answered() -> None:
    world = World()
    client = world.client()
    client.send(Publish(FRAMES, b"1", 1, 1), Publish("other/topic", b"2", 1, 2))
    assert client.read() == pubacks(1, 2)
