"""The MQTT codec against one table of packets, against paho-mqtt's own bytes, and against any bytes at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from streams.mqtt import (
    Acknowledge,
    Connack,
    Connect,
    Disconnect,
    MalformedPacket,
    Packet,
    PacketType,
    Property,
    Publish,
    Reason,
    Suback,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from streams.mqtt.reasons import connack_return_code
from tests.streams.mqtt_samples import MALFORMED, SAMPLES, Malformed, Sample

by_name = {"ids": lambda each: each.name}


@pytest.mark.parametrize("sample", SAMPLES, **by_name)
def test_a_packet_has_these_bytes(sample: Sample) -> None:
    assert encode(sample.packet, sample.version).hex(" ") == sample.data.hex(" ")


@pytest.mark.parametrize("sample", SAMPLES, **by_name)
def test_these_bytes_are_the_packet_also_in_the_middle_of_others(sample: Sample) -> None:
    assert decode(sample.data, version=sample.version) == (sample.packet, len(sample.data))
    around = b"\xc0\x00" + sample.data + b"\xc0"
    assert decode(around, 2, version=sample.version) == (sample.packet, len(sample.data) + 2)


@pytest.mark.parametrize("sample", SAMPLES, **by_name)
def test_any_part_of_a_packet_needs_more_bytes(sample: Sample) -> None:
    for size in range(len(sample.data)):
        assert decode(sample.data[:size], version=sample.version) is None


@pytest.mark.parametrize("sample", MALFORMED, **by_name)
def test_a_malformed_packet_says_what_is_wrong(sample: Malformed) -> None:
    with pytest.raises(MalformedPacket, match=sample.says) as caught:
        decode(sample.data, version=sample.version)
    assert caught.value.reason == sample.reason


@pytest.mark.parametrize("sample", MALFORMED, **by_name)
def test_a_part_of_a_malformed_packet_is_malformed_or_needs_more(sample: Malformed) -> None:
    for size in range(len(sample.data)):
        try:
            assert decode(sample.data[:size], version=sample.version) is None
        except MalformedPacket:
            assert size >= 2


def test_a_packet_above_the_limit_is_refused_as_soon_as_its_length_is_known() -> None:
    data = encode(Publish("a", bytes(1000)))
    assert decode(data, packet_bytes_max=len(data)) is not None
    with pytest.raises(MalformedPacket, match="above the limit") as caught:
        decode(data[:3], packet_bytes_max=len(data) - 1)
    assert caught.value.reason == Reason.PACKET_TOO_LARGE


def test_the_longest_length_can_be_read() -> None:
    assert decode(b"\x30\xff\xff\xff\x7f") is None


@pytest.mark.parametrize("reason", [*Reason, 0x8A, 0xFF])
def test_every_reason_has_a_return_code_of_3_1_1(reason: int) -> None:
    assert connack_return_code(reason) == 0 if reason < 0x80 and reason == 0 else 1 <= connack_return_code(reason) <= 5


# -- round trips -------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)
topics = texts.filter(lambda text: text != "" and "+" not in text and "#" not in text)
binaries = st.binary(max_size=300)
identifiers = st.integers(1, 65_535)
user_properties = st.lists(st.tuples(texts, texts), min_size=1, max_size=3)
seconds = st.integers(0, 2**32 - 1)
publish_properties = st.fixed_dictionaries(
    {},
    optional={
        Property.PAYLOAD_FORMAT_INDICATOR: st.integers(0, 1),
        Property.MESSAGE_EXPIRY_INTERVAL: seconds,
        Property.CONTENT_TYPE: texts,
        Property.RESPONSE_TOPIC: topics,
        Property.CORRELATION_DATA: binaries,
        Property.USER_PROPERTY: user_properties,
        Property.SUBSCRIPTION_IDENTIFIER: st.lists(st.integers(1, 268_435_455), min_size=1, max_size=3),
        Property.TOPIC_ALIAS: st.integers(1, 65_535),
    },
)
connect_properties = st.fixed_dictionaries(
    {},
    optional={
        Property.SESSION_EXPIRY_INTERVAL: seconds,
        Property.RECEIVE_MAXIMUM: st.integers(1, 65_535),
        Property.MAXIMUM_PACKET_SIZE: st.integers(1, 2**32 - 1),
        Property.USER_PROPERTY: user_properties,
    },
)


@st.composite
def publishes(draw: st.DrawFn, version: int) -> Publish:
    qos = draw(st.integers(0, 2))
    return Publish(
        draw(topics),
        draw(st.binary(max_size=20_000)),
        qos,
        draw(identifiers) if qos else 0,
        draw(st.booleans()),
        draw(st.booleans()) if qos else False,
        draw(publish_properties) if version == 5 else {},
    )


@st.composite
def connects(draw: st.DrawFn, version: int) -> Connect:
    username = draw(st.none() | texts)
    password = draw(st.none() | binaries) if username is not None or version == 5 else None
    properties = draw(connect_properties) if version == 5 else {}
    will_properties = draw(st.just({}) | st.just({Property.WILL_DELAY_INTERVAL: 9})) if version == 5 else {}
    will = draw(
        st.none() | st.builds(Will, topics, binaries, st.integers(0, 2), st.booleans(), st.just(will_properties))
    )
    keepalive_s = draw(st.integers(0, 65_535))
    return Connect(draw(texts), version, draw(st.booleans()), keepalive_s, username, password, will, properties)


def packets(version: int) -> st.SearchStrategy[Packet]:
    reasons = st.sampled_from(Reason) if version == 5 else st.just(0)
    kinds = st.sampled_from([PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP])
    options = [st.integers(0, 2)]
    if version == 5:
        options += [st.booleans(), st.booleans(), st.integers(0, 2)]
    subscriptions = st.lists(st.builds(Subscription, texts, *options), min_size=1, max_size=5).map(tuple)
    return st.one_of(
        publishes(version),
        connects(version),
        st.builds(Acknowledge, kinds, identifiers, reasons),
        st.builds(Subscribe, identifiers, subscriptions),
        st.builds(Unsubscribe, identifiers, st.lists(texts, min_size=1, max_size=5).map(tuple)),
        st.builds(Suback, identifiers, st.lists(st.sampled_from([0, 1, 2, 0x80]), max_size=5).map(tuple)),
        st.builds(Connack, st.booleans(), st.sampled_from([0, Reason.NOT_AUTHORIZED])),
        st.builds(Disconnect, reasons),
    )


@pytest.mark.parametrize("version", [4, 5])
@given(data=st.data())
def test_every_packet_comes_back(version: int, data: st.DataObject) -> None:
    packet = data.draw(packets(version))
    encoded = encode(packet, version)
    assert decode(encoded, version=version) == (packet, len(encoded))
    assert decode(encoded[:-1], version=version) is None


@pytest.mark.parametrize("version", [4, 5])
@settings(max_examples=1000)
@given(data=st.binary(max_size=100))
def test_any_bytes_are_a_packet_or_malformed_or_too_few(version: int, data: bytes) -> None:
    """Invariant: decode returns None, raises MalformedPacket, or returns a packet that encodes to the same meaning."""
    _check_any_bytes(data, version)


@pytest.mark.parametrize("version", [4, 5])
@settings(max_examples=1000)
@given(sample=st.sampled_from(SAMPLES), place=st.integers(0, 2**16), value=st.integers(0, 255), cut=st.integers(0, 2))
def test_a_damaged_packet_is_a_packet_or_malformed_or_too_short(
    version: int, sample: Sample, place: int, value: int, cut: int
) -> None:
    """The same invariant as above, nearer to what is accepted."""
    damaged = bytearray(sample.data)
    damaged[place % len(damaged)] = value
    _check_any_bytes(bytes(damaged[: len(damaged) - cut]), version)


def _check_any_bytes(data: bytes, version: int) -> None:
    try:
        found = decode(data, version=version)
    except MalformedPacket as error:
        assert error.reason >= 0x80
        assert str(error)
        return
    if found is None:
        return
    packet, end = found
    assert 2 <= end <= len(data)
    version = packet.version if isinstance(packet, Connect) else version
    again = encode(packet, version)
    assert decode(again, version=version) == (packet, len(again))


# -- the same bytes as paho-mqtt ---------------------------------------------------------------------------------------


class PahoBytes:
    """paho-mqtt's client, asked for the packets that it would send."""

    def __init__(self, version: int) -> None:
        self.client: Any = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="dev", protocol=MQTTProtocolVersion(version)
        )
        self.client.on_socket_register_write = lambda *_: None  # it only queues what it would write
        self.client._sock = socket.socket()  # connected to nobody

    def last(self) -> bytes:
        return bytes(self.client._out_packet.pop()["packet"])

    def __enter__(self) -> PahoBytes:
        return self

    def __exit__(self, *_: object) -> None:
        self.client._sock.close()


def paho_properties(kind: int, **values: Any) -> Any:
    properties: Any = PahoProperties(kind)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


@pytest.fixture
def peer(version: int) -> Iterator[PahoBytes]:
    with PahoBytes(version) as made:
        yield made


@pytest.mark.parametrize("version", [4, 5])
def test_connect_has_the_bytes_of_paho(version: int, peer: PahoBytes) -> None:
    peer.client.username_pw_set("me", "secret")
    peer.client.will_set("penstock/v1/dev/state", b"{}", qos=1, retain=True)
    ours = Connect("dev", version, True, 60, "me", b"secret", Will("penstock/v1/dev/state", b"{}", 1, True))
    if version == 5:
        properties = paho_properties(PacketTypes.CONNECT, SessionExpiryInterval=3600, ReceiveMaximum=10)
        peer.client._connect_properties = properties
        peer.client._clean_start = True
        given = {Property.SESSION_EXPIRY_INTERVAL: 3600, Property.RECEIVE_MAXIMUM: 10}
        ours = Connect(ours.client_id, 5, True, 60, "me", b"secret", ours.will, given)
    peer.client._send_connect(60)
    theirs = peer.last()
    assert decode(theirs, version=version) == (ours, len(theirs))
    assert encode(ours, version).hex() == theirs.hex()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, 120, 127, 128, 16_383, 16_384, 70_000])
def test_publish_has_the_bytes_of_paho(version: int, qos: int, size: int, peer: PahoBytes) -> None:
    given = {}
    properties = None
    if version == 5:
        properties = paho_properties(
            PacketTypes.PUBLISH, MessageExpiryInterval=5, ContentType="x", UserProperty=[("a", "b"), ("a", "c")]
        )
        given = {
            Property.MESSAGE_EXPIRY_INTERVAL: 5,
            Property.CONTENT_TYPE: "x",
            Property.USER_PROPERTY: [("a", "b"), ("a", "c")],
        }
    peer.client._send_publish(77, b"a/b", bytes(size), qos, retain=True, dup=bool(qos), properties=properties)
    ours = Publish("a/b", bytes(size), qos, 77 if qos else 0, True, bool(qos), given)
    theirs = peer.last()
    assert decode(theirs, version=version) == (ours, len(theirs))
    assert encode(ours, version).hex() == theirs.hex()


@pytest.mark.parametrize("version", [4, 5])
def test_subscribe_and_unsubscribe_have_the_bytes_of_paho(version: int, peer: PahoBytes) -> None:
    if version == 5:
        options = SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True, retainHandling=2)
        properties = paho_properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=200)
        _, number = peer.client._send_subscribe(False, [(b"a/+", options)], properties)
        ours = Subscribe(number, (Subscription("a/+", 1, True, True, 2),), {Property.SUBSCRIPTION_IDENTIFIER: [200]})
    else:
        _, number = peer.client._send_subscribe(False, [(b"a/+", 1)], None)
        ours = Subscribe(number, (Subscription("a/+", 1),))
    assert encode(ours, version).hex() == peer.last().hex()
    _, number = peer.client._send_unsubscribe(False, [b"a/+", b"b"], None)
    assert encode(Unsubscribe(number, ("a/+", "b")), version).hex() == peer.last().hex()


@pytest.mark.parametrize("version", [4, 5])
def test_acknowledgements_have_the_bytes_of_paho(version: int, peer: PahoBytes) -> None:
    for kind in (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP):
        getattr(peer.client, f"_send_{kind.name.lower()}")(300)
        assert encode(Acknowledge(kind, 300), version).hex() == peer.last().hex()


@pytest.mark.parametrize("version", [4, 5])
def test_goodbye_and_ping_have_the_bytes_of_paho(version: int, peer: PahoBytes) -> None:
    peer.client._send_disconnect()
    assert decode(peer.last(), version=version) == (Disconnect(), 2)
    peer.client._send_pingreq()
    assert peer.last() == b"\xc0\x00"
