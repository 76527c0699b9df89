"""The rules between clients, in virtual time: sessions, take-over, wills, subscriptions, retained messages, limits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.mqtt import (
    Acknowledge,
    Auth,
    Connack,
    Connect,
    Disconnect,
    PacketType,
    Pingreq,
    Pingresp,
    Property,
    Publish,
    Reason,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
)
from tests.hub.mqtt_damage import check_stream, damaged_stream, good_streams
from tests.hub.mqtt_world import MemoryClient, World

VERSIONS = pytest.mark.parametrize("version", [4, 5])
QOS = pytest.mark.parametrize("qos", [0, 1, 2])
EXPIRY = Property.SESSION_EXPIRY_INTERVAL


# -- connecting --------------------------------------------------------------------------------------------------------


def test_a_client_of_5_is_told_what_it_is_granted() -> None:
    _, answer = World().connect("", 5, keepalive_s=0, properties={EXPIRY: 0xFFFFFFFF})
    assert not answer.session_present
    properties = dict(answer.properties)
    assert str(properties.pop(Property.ASSIGNED_CLIENT_IDENTIFIER)).startswith("auto-")
    assert properties == {
        Property.SESSION_EXPIRY_INTERVAL: 86_400,
        Property.SERVER_KEEP_ALIVE: 1200,
        Property.RECEIVE_MAXIMUM: 1000,
        Property.MAXIMUM_PACKET_SIZE: 1 << 20,
        Property.TOPIC_ALIAS_MAXIMUM: 16,
    }


def test_a_nameless_client_of_3_1_1_gets_a_name_only_with_a_clean_session() -> None:
    world = World()
    assert world.connect("", clean_start=True)[1].reason == Reason.SUCCESS
    client, answer = world.connect("", clean_start=False)
    assert answer.reason == Reason.CLIENT_IDENTIFIER_NOT_VALID
    assert client.link.closed


@VERSIONS
def test_a_session_is_there_again_or_not_as_the_client_wants(version: int) -> None:
    world = World()
    kept = {"clean_start": False, "properties": {EXPIRY: 60} if version == 5 else {}}
    assert not world.connect("c", version, **kept)[1].session_present
    assert world.connect("c", version, **kept)[1].session_present
    assert not world.connect("c", version)[1].session_present
    assert not world.connect("c", version, **kept)[1].session_present


@VERSIONS
def test_a_client_takes_over_its_own_older_connection(version: int) -> None:
    world = World()
    older = world.client("c", version)
    world.client("c", version)
    if version == 5:
        assert older.read_one(Disconnect).reason == Reason.SESSION_TAKEN_OVER
    assert older.link.closed
    older.vanish()
    assert world.counters["takeovers"] == 1
    assert [line.partition(":")[0] for line in world.intake.history] == ["connected c", "disconnected c", "connected c"]
    assert [client.client_id for client in world.broker.connected_clients()] == ["c"]


def test_a_second_connect_on_the_same_connection_is_against_the_rules() -> None:
    client = World().client(version=5)
    client.send(Connect("c", 5))
    assert client.read_one(Disconnect).reason == Reason.PROTOCOL_ERROR
    assert client.link.closed


@pytest.mark.parametrize("packet", [Pingreq(), Publish("a", b""), Connack(), Subscribe(1, (Subscription("a"),))])
def test_the_first_packet_must_be_a_connect(packet: object) -> None:
    world = World()
    client = MemoryClient(world, 4)
    client.send(packet)  # type: ignore[arg-type]
    assert client.link.closed
    assert client.link.sent == b""
    assert world.counters["malformed_packets"] == 1


def test_an_authentication_method_is_refused_and_so_is_an_exchange_out_of_the_blue() -> None:
    world = World()
    _, answer = world.connect(version=5, properties={Property.AUTHENTICATION_METHOD: "SCRAM"})
    assert answer.reason == Reason.BAD_AUTHENTICATION_METHOD
    client = world.client(version=5)
    client.send(Auth())
    assert client.read_one(Disconnect).reason == Reason.PROTOCOL_ERROR


@pytest.mark.parametrize("version", [3, 6])
def test_another_version_is_answered_before_the_connection_ends(version: int) -> None:
    client = MemoryClient(World(), 4)
    client.send_bytes(b"\x10\x0d\x00\x04MQTT" + bytes([version]) + b"\x02\x00\x00\x00\x01a")
    assert client.link.sent == b"\x20\x02\x00\x01"
    assert client.link.closed


def test_a_client_id_of_unreasonable_length_is_refused() -> None:
    world = World()
    assert world.connect("x" * 256)[1].reason == Reason.SUCCESS
    assert world.connect("x" * 257)[1].reason == Reason.CLIENT_IDENTIFIER_NOT_VALID


def test_above_the_limit_of_connections_the_next_one_is_closed_and_the_others_stay() -> None:
    world = World(connections_max=2)
    clients = [world.client(f"c{n}") for n in range(2)]
    third = MemoryClient(world, 4)
    assert third.link.closed
    third.vanish()
    assert world.counters["refused_full"] == 1
    assert not any(client.link.closed for client in clients)
    clients[0].vanish()
    assert world.client("c3")
    assert world.counters["connections"] == 2


# -- silence -----------------------------------------------------------------------------------------------------------


def test_a_connection_that_never_says_connect_is_closed() -> None:
    world = World(connect_timeout_s=10)
    client = MemoryClient(world, 4)
    client.send_bytes(encode(Connect("c"))[:5])
    world.pass_time(10)
    assert not client.link.closed
    world.pass_time(1)
    assert client.link.closed
    assert world.counters["connect_timeouts"] == 1
    assert world.intake.history == []


@VERSIONS
def test_a_client_that_is_silent_for_one_and_a_half_keep_alives_is_gone(version: int) -> None:
    world = World()
    client = world.client(version=version, keepalive_s=10)
    for _ in range(5):
        world.pass_time(14)
        client.send(Pingreq())
        assert client.read_one(Pingresp)
    world.pass_time(14)
    assert not client.link.closed
    world.pass_time(2)
    assert client.link.closed
    assert world.intake.history[-1] == "disconnected c: nothing was heard for 1.5 keep-alives of 10 s"
    assert world.counters["keepalive_timeouts"] == 1
    if version == 5:
        assert client.read_one(Disconnect).reason == Reason.KEEP_ALIVE_TIMEOUT


def test_a_client_of_3_1_1_may_have_no_keep_alive() -> None:
    world = World()
    client = world.client(keepalive_s=0)
    world.pass_time(10_000, step_s=100)
    assert not client.link.closed


def test_a_client_that_takes_nothing_is_not_sent_more_and_then_disconnected() -> None:
    world = World(send_timeout_s=30)
    deaf, writer = world.client("deaf", keepalive_s=10), world.client("writer")
    deaf.subscribe("a")
    deaf.connection.on_stalled()
    assert not deaf.link.reading, "what it sends might need an answer"
    writer.publish("a", b"1", 1)
    assert deaf.read() == []
    world.pass_time(29)
    assert not deaf.link.closed
    world.pass_time(2)
    assert deaf.link.closed
    assert world.counters["send_timeouts"] == 1


def test_a_client_that_takes_its_time_gets_everything() -> None:
    world = World()
    slow, writer = world.client("slow"), world.client("writer")
    slow.subscribe("a")
    slow.connection.on_stalled()
    for n in range(5):
        writer.publish("a", b"%d" % n, n % 2, 1)
    assert slow.read() == []
    slow.connection.on_drained()
    assert slow.link.reading
    assert slow.payloads() == [b"0", b"1", b"2", b"3", b"4"]


def test_large_messages_leave_in_portions_however_large_the_window_is() -> None:
    world = World(session_queue_bytes_max=64 << 20)
    reader, writer = world.client("reader"), world.client("writer")
    reader.subscribe("a")
    sizes = []
    write = reader.link.write
    reader.link.write = lambda data: (sizes.append(len(data)), write(data))  # type: ignore[assignment,func-returns-value]
    reader.connection.on_stalled()
    for _ in range(20):
        writer.publish("a", bytes(100_000), 1)
    reader.connection.on_drained()
    assert len(reader.payloads()) == 20
    assert max(sizes) < 400_000


# -- messages ----------------------------------------------------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize("granted", [0, 1, 2])
@QOS
def test_a_message_arrives_with_the_lower_qos(version: int, granted: int, qos: int) -> None:
    world = World()
    reader, writer = world.client("reader", version), world.client("writer", version)
    assert reader.subscribe("a/+", qos=granted) == (granted,)
    writer.publish("a/b", b"hello", qos, 3)
    [message] = reader.messages()
    assert (message.topic, message.payload, message.qos) == ("a/b", b"hello", min(granted, qos))
    assert not message.retain
    assert not message.dup
    answers = [Acknowledge(kind, 3) for kind in [PacketType.PUBACK, PacketType.PUBREC][qos - 1 : qos]]
    assert writer.read() == (answers if qos else [])


def test_the_writer_is_told_that_nobody_listened() -> None:
    client = World().client(version=5)
    client.publish("a", b"x", 1, 4)
    assert client.read() == [Acknowledge(PacketType.PUBACK, 4, Reason.NO_MATCHING_SUBSCRIBERS)]


def test_qos_2_reaches_the_reader_once_when_it_is_sent_twice() -> None:
    world = World()
    reader, writer = world.client("reader"), world.client("writer")
    reader.subscribe("a", qos=2)
    writer.publish("a", b"x", 2, 3)
    writer.publish("a", b"x", 2, 3, dup=True)
    assert len(writer.read()) == 2
    [message] = reader.messages()
    reader.acknowledge(message.packet_id, PacketType.PUBREC)
    assert reader.read() == [Acknowledge(PacketType.PUBREL, message.packet_id)]
    reader.acknowledge(message.packet_id, PacketType.PUBCOMP)
    writer.acknowledge(3, PacketType.PUBREL)
    assert writer.read() == [Acknowledge(PacketType.PUBCOMP, 3)]
    writer.publish("a", b"y", 2, 3)
    assert reader.payloads() == [b"y"]


def test_properties_travel_with_the_message() -> None:
    world = World()
    reader, writer = world.client("reader", 5), world.client("writer", 5)
    reader.send(Subscribe(1, (Subscription("a", 1),), {Property.SUBSCRIPTION_IDENTIFIER: [77]}))
    reader.read()
    given = {Property.CONTENT_TYPE: "x", Property.RESPONSE_TOPIC: "r", Property.USER_PROPERTY: [("a", "1"), ("a", "2")]}
    writer.publish("a", properties={**given, Property.MESSAGE_EXPIRY_INTERVAL: 10, Property.TOPIC_ALIAS: 1})
    [message] = reader.messages()
    assert message.properties == {
        **given, Property.MESSAGE_EXPIRY_INTERVAL: 10, Property.SUBSCRIPTION_IDENTIFIER: [77],
    }  # fmt: skip


def test_a_client_is_not_sent_what_is_larger_than_it_takes() -> None:
    world = World()
    reader = world.client("reader", 5, properties={Property.MAXIMUM_PACKET_SIZE: 100})
    writer = world.client("writer")
    reader.subscribe("a")
    writer.publish("a", bytes(200), 1)
    writer.publish("a", b"small", 1)
    assert reader.payloads() == [b"small"]
    assert world.counters["too_large_for_client"] == 1


def test_no_more_are_on_the_way_than_the_client_takes() -> None:
    world = World()
    reader = world.client("reader", 5, properties={Property.RECEIVE_MAXIMUM: 2})
    writer = world.client("writer")
    reader.subscribe("a")
    for n in range(4):
        writer.publish("a", b"%d" % n, 1)
    first = reader.messages()
    assert [message.payload for message in first] == [b"0", b"1"]
    reader.acknowledge(first[0].packet_id)
    assert reader.payloads() == [b"2"]


def test_the_queue_of_a_slow_client_is_bounded_and_what_is_dropped_is_counted() -> None:
    world = World(inflight_max=1, session_queue_messages_max=3)
    reader, writer = world.client("reader"), world.client("writer")
    reader.subscribe("a")
    for n in range(10):
        writer.publish("a", b"%d" % n, 1)
    assert reader.payloads() == [b"0"]
    assert world.counters["queue_drops"] == 6


@VERSIONS
def test_an_absent_client_finds_its_messages_when_it_returns(version: int) -> None:
    world = World()
    kept = {"clean_start": False, "properties": {EXPIRY: 60} if version == 5 else {}}
    reader, writer = world.client("reader", version, **kept), world.client("writer")
    reader.subscribe("a")
    writer.publish("a", b"1", 1)
    [unacknowledged] = reader.messages()
    reader.vanish()
    writer.publish("a", b"2", 1)
    writer.publish("a", b"QoS 0 is not kept", 0)
    again = world.client("reader", version, **kept)
    assert [(each.payload, each.dup) for each in again.later] == [(b"1", True), (b"2", False)]  # type: ignore[union-attr]
    assert again.later[0].packet_id == unacknowledged.packet_id  # type: ignore[union-attr]


def test_a_session_ends_when_its_time_is_over() -> None:
    world = World()
    told: list[bool] = []
    world.client("c", 5, properties={EXPIRY: 60}).subscribe("a")
    client = world.client("c", 5, clean_start=False, properties={EXPIRY: 60})
    assert world.broker.publish_to("c", "a", b"x", 1, told.append)
    client.vanish()
    world.pass_time(59)
    assert told == []
    world.pass_time(2)
    assert told == [False]
    assert not world.connect("c", 5, clean_start=False)[1].session_present


def test_a_client_may_change_its_mind_about_its_session_at_the_goodbye() -> None:
    world = World()
    client = world.client("c", 5, properties={EXPIRY: 60})
    client.send(Disconnect(0, {EXPIRY: 0}))
    assert not world.connect("c", 5, clean_start=False)[1].session_present
    client.send(Disconnect(0, {EXPIRY: 60}))
    assert not world.connect("c", 5, clean_start=False)[1].session_present, "but not to keep what was to end"


def test_when_there_are_too_many_sessions_the_longest_absent_one_makes_room() -> None:
    world = World(sessions_max=2)
    for name in ("a", "b"):
        world.client(name, clean_start=False).vanish()
    world.client("c", clean_start=False)
    assert world.counters["sessions_evicted"] == 1
    assert world.connect("b", clean_start=False)[1].session_present
    assert world.connect("d", 5)[1].reason == Reason.SERVER_BUSY


def test_the_hub_publishes_to_one_client_that_listens() -> None:
    world = World()
    told: list[bool] = []
    client = world.client("c")
    assert not world.broker.publish_to("c", "penstock/v1/c/commands", b"x", 1, told.append), "it does not listen"
    client.subscribe("penstock/v1/c/#")
    assert not world.broker.publish_to("d", "penstock/v1/c/commands", b"x", 1, told.append), "nobody is there"
    assert world.broker.publish_to("c", "penstock/v1/c/commands", b"x", 1, told.append)
    [message] = client.messages()
    assert told == []
    client.acknowledge(message.packet_id)
    assert told == [True]


# -- subscriptions -----------------------------------------------------------------------------------------------------


def test_unsubscribing_ends_it() -> None:
    world = World()
    reader, writer = world.client("reader", 5), world.client("writer")
    reader.subscribe("a", "b")
    reader.send(Unsubscribe(2, ("a", "x")))
    assert reader.read() == [Unsuback(2, (Reason.SUCCESS, Reason.NO_SUBSCRIPTION_EXISTED))]
    writer.publish("a")
    writer.publish("b")
    assert [message.topic for message in reader.messages()] == ["b"]


def test_the_subscriptions_of_one_client_are_bounded() -> None:
    client = World(subscriptions_max=2).client(version=5)
    assert client.subscribe("a", "b", "c") == (1, 1, Reason.QUOTA_EXCEEDED)
    assert client.subscribe("a") == (1,)


def test_a_client_need_not_hear_itself() -> None:
    world = World()
    client, other = world.client("c", 5), world.client("d")
    client.subscribe("a", no_local=True)
    client.publish("a", b"mine")
    other.publish("a", b"other")
    assert client.payloads() == [b"other"]


def test_a_shared_subscription_shares() -> None:
    world = World()
    readers = [world.client(f"r{n}", 5) for n in range(2)]
    writer = world.client("writer")
    for reader in readers:
        reader.subscribe("$share/g/a/#")
    for n in range(6):
        writer.publish("a/b", b"%d" % n)
    assert [reader.payloads() for reader in readers] == [[b"0", b"2", b"4"], [b"1", b"3", b"5"]]


def test_a_filter_that_is_none_ends_the_connection() -> None:
    client = World().client(version=5)
    client.send(Subscribe(1, (Subscription("a/#/b"),)))
    assert client.read_one(Disconnect).reason == Reason.TOPIC_FILTER_INVALID


def test_a_topic_of_too_many_levels_ends_the_connection() -> None:
    client = World().client(version=5)
    client.publish("a/" * 127 + "a")
    assert not client.link.closed
    client.publish("a/" * 128 + "a")
    assert client.read_one(Disconnect).reason == Reason.TOPIC_NAME_INVALID


# -- who may what ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_id", "topic_filter", "allowed"),
    [
        ("c", "penstock/v1/c/commands", True),
        ("c", "penstock/v1/c/#", True),
        ("c", "penstock/v1/d/commands", False),
        ("c", "penstock/v1/+/commands", False),
        ("c", "penstock/#", False),
        ("c", "penstock/v1/c", False),
        ("c", "penstock", False),
        ("+", "penstock/v1/+/commands", False),
        ("d/x", "penstock/v1/d/x/commands", False),
        ("c", "anything/else", True),
        ("c", "#", True),
        ("c", "+/v1/d/commands", True),
        ("c", "$SYS/#", True),
        ("c", "$other/#", False),
        ("c", "$share/g/penstock/v1/d/#", False),
        ("c", "$share/g/a", True),
    ],
)
def test_who_may_subscribe_to_what(client_id: str, topic_filter: str, allowed: bool) -> None:
    client = World().client(client_id, 5)
    assert client.subscribe(topic_filter, qos=0) == ((0,) if allowed else (Reason.NOT_AUTHORIZED,))


@pytest.mark.parametrize("topic_filter", ["#", "+/#", "+/v1/d/secret", "+/+/d/#"])
def test_nobody_reads_the_topics_of_a_device_by_a_wildcard(topic_filter: str) -> None:
    world = World()
    spy, device = world.client("spy"), world.client("d")
    spy.subscribe(topic_filter)
    device.publish("penstock/v1/d/secret", b"x", retain=True)
    assert spy.messages() == []
    spy.subscribe(topic_filter)
    assert spy.later == [], "nor when it is retained"


def test_a_will_on_a_topic_of_another_device_is_refused() -> None:
    _, answer = World().connect("c", 5, will=Will("penstock/v1/d/state", b""))
    assert answer.reason == Reason.NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("username", "password", "reason"),
    [
        ("ann", b"secret", Reason.SUCCESS),
        ("ann", b"wrong", Reason.NOT_AUTHORIZED),
        ("ann", None, Reason.NOT_AUTHORIZED),
        ("bob", b"secret", Reason.NOT_AUTHORIZED),
        ("", b"", Reason.NOT_AUTHORIZED),
        (None, None, Reason.NOT_AUTHORIZED),
    ],
)
def test_when_there_are_users_only_they_come_in(username: str | None, password: bytes | None, reason: Reason) -> None:
    world = World(users=("ann:secret", "eve:a:b"))
    client, answer = world.connect("c", 5, username=username, password=password)
    assert answer.reason == reason
    assert client.link.closed == (reason != Reason.SUCCESS)
    assert world.connect("d", 5, username="eve", password=b"a:b")[1].reason == Reason.SUCCESS


def test_nobody_comes_in_without_users_when_anonymous_clients_are_not_allowed() -> None:
    assert World(allow_anonymous=False).connect("c")[1].reason == Reason.NOT_AUTHORIZED


# -- retained ----------------------------------------------------------------------------------------------------------


@VERSIONS
def test_a_retained_message_is_sent_to_who_comes_later_until_it_is_removed(version: int) -> None:
    world = World()
    writer = world.client("writer", version)
    writer.publish("a/b", b"1", 1, retain=True)
    writer.publish("a/b", b"2", 1, retain=True)
    reader = world.client("reader", version)
    reader.subscribe("a/#", qos=0)
    [message] = reader.later
    assert message == Publish("a/b", b"2", 0, 0, True)
    writer.publish("a/b", b"", 1, retain=True)
    assert [each.payload for each in reader.messages()] == [b""]
    reader.subscribe("a/#", qos=0)
    assert reader.later == []


def test_the_retain_flag_is_kept_only_where_the_subscription_says_so() -> None:
    world = World()
    reader, writer = world.client("reader", 5), world.client("writer")
    reader.subscribe("a")
    reader.subscribe("b", retain_as_published=True)
    writer.publish("a", retain=True)
    writer.publish("b", retain=True)
    assert [message.retain for message in reader.messages()] == [False, True]


@pytest.mark.parametrize(("handling", "expected"), [(0, [1, 1]), (1, [1, 0]), (2, [0, 0])])
def test_a_client_of_5_chooses_when_it_is_sent_retained_messages(handling: int, expected: list[int]) -> None:
    world = World()
    world.client("writer").publish("a", retain=True)
    reader = world.client("reader", 5)
    counts = []
    for _ in range(2):
        reader.subscribe("a", retain_handling=handling)
        counts.append(len(reader.later))
    assert counts == expected


def test_a_retained_message_ages() -> None:
    world = World()
    world.client("writer", 5).publish("a", retain=True, properties={Property.MESSAGE_EXPIRY_INTERVAL: 10})
    world.pass_time(4)
    reader = world.client("reader", 5)
    reader.subscribe("a")
    assert [message.properties for message in reader.later] == [{Property.MESSAGE_EXPIRY_INTERVAL: 6}]  # type: ignore[union-attr]
    world.pass_time(6)
    reader.subscribe("a")
    assert reader.later == []


def test_more_retained_messages_than_a_queue_holds_are_all_sent() -> None:
    world = World(session_queue_messages_max=10)
    writer = world.client("writer")
    for n in range(50):
        writer.publish(f"a/{n}", retain=True)
    reader = world.client("reader")
    reader.subscribe("a/+")
    assert len(reader.later) == 50


def test_there_is_no_room_for_any_number_of_retained_messages() -> None:
    world = World(retained_messages_max=1)
    writer = world.client("writer")
    writer.publish("a", retain=True)
    writer.publish("b", retain=True)
    assert world.counters["refused_retained"] == 1


# -- wills -------------------------------------------------------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize("end", ["vanish", "silence", "malformed", "takeover", "goodbye"])
def test_a_will_is_published_when_the_client_goes_without_a_goodbye(version: int, end: str) -> None:
    world = World()
    reader = world.client("reader")
    reader.subscribe("w", qos=2)
    client = world.client("c", version, keepalive_s=10, will=Will("w", b"gone", 1, True))
    if end == "vanish":
        client.vanish()
    elif end == "silence":
        world.pass_time(16)
    elif end == "malformed":
        client.send_bytes(b"\x00\x00")
    elif end == "takeover":
        world.client("c", version)
    else:
        client.send(Disconnect())
    expected = [] if end == "goodbye" else [(b"gone", 1)]
    assert [(message.payload, message.qos) for message in reader.messages()] == expected
    reader.subscribe("w")
    assert len(reader.later) == len(expected), "it was to be retained"


def test_a_goodbye_of_5_may_ask_for_the_will() -> None:
    world = World()
    reader = world.client("reader")
    reader.subscribe("w")
    world.client("c", 5, will=Will("w", b"gone")).send(Disconnect(Reason.DISCONNECT_WITH_WILL))
    assert reader.payloads() == [b"gone"]


def test_a_will_may_wait_whether_the_client_returns() -> None:
    world = World()
    reader = world.client("reader")
    reader.subscribe("w")
    later = {"will": Will("w", b"gone", properties={Property.WILL_DELAY_INTERVAL: 10}), "properties": {EXPIRY: 60}}
    world.client("c", 5, **later).vanish()
    world.pass_time(9)
    returned = world.client("c", 5, clean_start=False, **later)
    world.pass_time(20)
    assert reader.messages() == []
    returned.vanish()
    world.pass_time(9)
    assert reader.messages() == []
    world.pass_time(2)
    assert reader.payloads() == [b"gone"]


def test_a_will_waits_no_longer_than_the_session() -> None:
    world = World()
    reader = world.client("reader")
    reader.subscribe("w")
    later = {"will": Will("w", b"gone", properties={Property.WILL_DELAY_INTERVAL: 100}), "properties": {EXPIRY: 5}}
    world.client("c", 5, **later).vanish()
    world.pass_time(6)
    assert reader.payloads() == [b"gone"]
    world.client("c", 5, **later).vanish()
    world.client("c", 5, clean_start=True)
    assert reader.payloads() == [b"gone"], "the old session ended when the client began anew"


# -- anything ----------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(version=st.sampled_from([4, 5]), connected=st.booleans(), pieces=st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_end_at_most_the_connection_they_came_on(version: int, connected: bool, pieces: list[bytes]) -> None:
    """Invariant: no exception, no word to a client that was not accepted, and another client's message goes through."""
    world = World()
    reader, writer = world.client("reader"), world.client("writer")
    reader.subscribe("a")
    bad = world.client("bad", version) if connected else MemoryClient(world, version)
    for piece in pieces:
        bad.send_bytes(piece)
    if not connected and not bad.connection.client:
        assert bad.link.sent in (b"", b"\x20\x02\x00\x01")
    writer.publish("a", b"still here", 1)
    assert reader.payloads() == [b"still here"]
    assert world.broker.undurable_bytes == 0


# -- $SYS --------------------------------------------------------------------------------------------------------------


def test_the_broker_says_how_it_is_below_sys() -> None:
    world = World(sys_interval_s=10)
    world.pass_time(1)
    reader = world.client("reader")
    reader.subscribe("$SYS/broker/#", qos=0)
    first = {
        each.topic.removeprefix("$SYS/broker/"): each.payload for each in reader.later if isinstance(each, Publish)
    }
    assert first["clients/connected"] == b"0", "as it was when it was last said"
    assert first["version"].startswith(b"penstock ") and first["uptime"] == b"0 seconds"
    world.client("other").publish("a", b"x", 1)
    world.pass_time(10)
    later = {each.topic.removeprefix("$SYS/broker/"): each.payload for each in reader.messages()}
    assert (later["clients/connected"], later["messages/received"], later["subscriptions/count"]) == (b"2", b"1", b"1")
    everything = world.client("everything")
    everything.subscribe("#", qos=0)
    assert everything.later == [], "a wildcard does not see them"


def test_nobody_publishes_below_sys() -> None:
    client = World().client(version=5)
    client.publish("$SYS/broker/uptime", b"0", 1)
    assert client.read_one(Acknowledge).reason == Reason.NOT_AUTHORIZED


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_packets_are_answered_alike_however_they_are_cut(seed: int) -> None:
    """The invariant of tests/fuzz/mqtt.py."""
    check_stream(damaged_stream(random.Random(seed)))


@pytest.mark.parametrize("number", range(len(list(good_streams()))))
def test_good_packets_are_answered_alike_however_they_are_cut(number: int) -> None:
    check_stream(list(good_streams())[number])


# -- limits ------------------------------------------------------------------------------------------------------------


def test_of_too_many_connections_that_say_nothing_the_oldest_is_closed() -> None:
    world = World(half_open_max=3)
    welcome = world.client("welcome")
    silent = [MemoryClient(world, 4) for _ in range(5)]
    assert [each.closed for each in silent] == [True, True, False, False, False]
    assert world.counters["refused_half_open"] == 2
    assert not welcome.closed
    silent[4].send(Connect("late"))
    assert isinstance(silent[4].read_one(Connack), Connack)


def test_a_client_that_sends_more_than_it_may_is_read_from_more_slowly_and_loses_nothing() -> None:
    world = World(client_messages_per_s_max=10)
    client, other = world.client("c"), world.client("d")
    for n in range(1, 31):
        client.publish("penstock/v1/c/frames", b"%d" % n, 1, n)
    assert len(world.intake.taken) == 30, "what was read is taken"
    assert not client.link.reading
    assert other.link.reading
    world.pass_time(1.5)
    assert not client.link.reading, "30 messages are 3 s of it, one of them free"
    world.pass_time(1.5)
    assert client.link.reading
    assert world.counters["rate_pauses"] == 1


def test_a_packet_above_the_limit_is_refused_before_it_is_there_and_counted() -> None:
    world = World(packet_bytes_max=1024)
    client = world.client(version=5)
    client.send_bytes(encode(Publish("a", bytes(1000), 1, 1), 5))
    assert not client.closed
    client.send_bytes(encode(Publish("a", bytes(2000), 1, 2), 5)[:5])
    assert client.read()[-1].reason == Reason.PACKET_TOO_LARGE  # type: ignore[union-attr]
    assert world.counters["oversized_packets"] == 1


def test_a_hub_that_is_behind_lets_its_clients_send_less_at_once() -> None:
    world = World(undurable_bytes_max=1 << 16, receive_maximum=100)
    assert world.connect("a", 5)[1].properties[Property.RECEIVE_MAXIMUM] == 100
    world.intake.prompt = False
    world.client("w").publish("penstock/v1/w/frames", bytes(1 << 15), 1, 1)
    assert world.connect("b", 5)[1].properties[Property.RECEIVE_MAXIMUM] == 50
    world.broker.add_undurable(1 << 20)
    assert world.connect("c", 5)[1].properties[Property.RECEIVE_MAXIMUM] == 1


def test_what_only_explains_is_left_out_where_it_does_not_fit() -> None:
    client = World().client("c", 5, properties={Property.MAXIMUM_PACKET_SIZE: 30})
    client.publish("penstock/v1/somebody-else/frames", b"x", 1, 1)
    assert client.read() == [Acknowledge(PacketType.PUBACK, 1, Reason.NOT_AUTHORIZED)]
    client.send_bytes(b"\x00\x00")
    assert client.read() == [Disconnect(Reason.MALFORMED_PACKET)]


def test_a_client_that_wants_no_reasons_gets_none_with_its_acknowledgements() -> None:
    client = World().client("c", 5, properties={Property.REQUEST_PROBLEM_INFORMATION: 0})
    client.publish("penstock/v1/d/frames", b"x", 1, 1)
    assert client.read() == [Acknowledge(PacketType.PUBACK, 1, Reason.NOT_AUTHORIZED)]


def test_topics_are_sent_once_to_a_client_that_takes_aliases() -> None:
    world = World()
    reader, writer = world.client("reader", 5, properties={Property.TOPIC_ALIAS_MAXIMUM: 2}), world.client("writer")
    reader.subscribe("#", qos=1)
    for topic in ("a", "b", "a", "c", "c"):
        writer.publish(topic, b"x", 1)
    found = [(each.topic, each.properties.get(Property.TOPIC_ALIAS)) for each in reader.messages()]
    assert found == [("a", 1), ("b", 2), ("", 1), ("c", None), ("c", None)]


def test_a_question_and_its_answer_find_each_other() -> None:
    world = World()
    asker, answerer = world.client("asker", 5), world.client("answerer", 5)
    asker.subscribe("answers/asker")
    answerer.subscribe("questions")
    given = {Property.RESPONSE_TOPIC: "answers/asker", Property.CORRELATION_DATA: b"\x00\x01"}
    asker.publish("questions", b"?", properties=given)
    [question] = answerer.messages()
    assert question.properties == given
    answerer.publish(
        str(question.properties[Property.RESPONSE_TOPIC]),
        b"!",
        properties={Property.CORRELATION_DATA: question.properties[Property.CORRELATION_DATA]},
    )
    [answer] = asker.messages()
    assert (answer.payload, answer.properties) == (b"!", {Property.CORRELATION_DATA: b"\x00\x01"})


def test_what_is_shared_goes_to_another_when_its_holder_is_gone_for_good() -> None:
    world = World()
    kept = {"version": 5, "clean_start": False, "properties": {EXPIRY: 60}}
    first, second = world.client("first", **kept), world.client("second", **kept)
    for each in (first, second):
        each.subscribe("$share/g/a", qos=2)
    writer = world.client("writer")
    for n, qos in enumerate((1, 1, 2, 2), 1):
        writer.publish("a", b"%d" % n, qos, n)
    assert len(first.messages()) == 2
    [one, two] = second.messages()
    first.vanish()
    assert second.messages() == [], "its holder may come back"
    world.pass_time(61)
    assert second.payloads() == [b"1"], "of QoS 1; of QoS 2 it might be there already (5.0, 4.8.2)"
    assert (one.payload, two.payload) == (b"2", b"4")
