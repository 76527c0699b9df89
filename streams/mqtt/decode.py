"""Bytes to packets: a value and where it ends, or None for "need more bytes", or MalformedPacket."""

from __future__ import annotations

from streams.mqtt import properties as props
from streams.mqtt.malformed import MalformedPacket
from streams.mqtt.packets import (
    Acknowledge,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from streams.mqtt.properties import Properties, Property, read_properties
from streams.mqtt.wire import Cursor

UNSUPPORTED_VERSION = 0x84
_RETURN_CODES = (0x00, 0x84, 0x85, 0x88, 0x86, 0x87)  # 3.1.1 CONNACK to reason codes
_FLAGS_OF = {PacketType.PUBREL: 2, PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2}


def decode(
    data: bytes | bytearray, at: int = 0, *, version: int = 4, packet_bytes_max: int = 268_435_460
) -> tuple[Packet, int] | None:
    """The packet that begins at `at` and the position after it; None when it is not all there yet.

    `version` is that of the connection (a CONNECT tells its own). MalformedPacket also when it is larger than
    `packet_bytes_max`, which is known before it is there.
    """
    header = read_length(data, at)
    if header is None:
        return None
    start, length = header
    if start - at + length > packet_bytes_max:
        size = start - at + length
        raise MalformedPacket(f"a packet of {size} bytes is above the limit of {packet_bytes_max}", reason=0x95)
    end = start + length
    if end > len(data):
        return None
    return decode_body(data[at], bytes(data[start:end]), version), end


def read_length(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Where the body of a packet begins, and how long it is; None when the length is not all there yet."""
    length = shift = 0
    position = at + 1
    while position < len(data):
        byte = data[position]
        position += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise MalformedPacket("the length of a packet takes more bytes than it must")
            return position, length
        shift += 7
        if shift > 21:
            raise MalformedPacket("the length of a packet is longer than four bytes")
    return None


def decode_body(first: int, body: bytes, version: int) -> Packet:
    """The packet of this first byte and this body. MalformedPacket when it is none."""
    kind, flags = first >> 4, first & 15
    if kind == PacketType.PUBLISH:
        return _publish(flags, body, version)
    if kind == 0:
        raise MalformedPacket("there is no packet type 0")
    if flags != _FLAGS_OF.get(PacketType(kind), 0):
        raise MalformedPacket(f"the flags {flags:#x} are not those of {PacketType(kind).name}")
    cursor = Cursor(body, 0, len(body))
    packet = _decode_kind(PacketType(kind), cursor, version)
    cursor.finish()
    return packet


def _decode_kind(kind: PacketType, cursor: Cursor, version: int) -> Packet:
    match kind:
        case PacketType.CONNECT:
            return _connect(cursor)
        case PacketType.CONNACK:
            return _connack(cursor, version)
        case PacketType.PUBACK | PacketType.PUBREC | PacketType.PUBREL | PacketType.PUBCOMP:
            return _acknowledge(kind, cursor, version)
        case PacketType.SUBSCRIBE:
            return _subscribe(cursor, version)
        case PacketType.SUBACK:
            return _suback(cursor, version)
        case PacketType.UNSUBSCRIBE:
            return _unsubscribe(cursor, version)
        case PacketType.UNSUBACK:
            packet_id = _packet_id(cursor)
            properties = _properties(cursor, version, props.OF_ACKNOWLEDGE)
            return Unsuback(packet_id, tuple(cursor.rest()) if version >= 5 else (), properties)
        case PacketType.PINGREQ:
            return Pingreq()
        case PacketType.PINGRESP:
            return Pingresp()
        case PacketType.DISCONNECT:
            if version < 5:
                return Disconnect()
            reason, properties = _reason_and_properties(cursor, props.OF_DISCONNECT)
            return Disconnect(reason, properties)
        case _:
            if version < 5:
                raise MalformedPacket("AUTH belongs to MQTT 5", reason=0x82)
            reason, properties = _reason_and_properties(cursor, props.OF_AUTH)
            return Auth(reason, properties)


def _connect(cursor: Cursor) -> Connect:
    name, version = cursor.binary(), cursor.byte()
    if (name, version) not in ((b"MQTT", 4), (b"MQTT", 5)):
        raise MalformedPacket(
            f"protocol {name[:10]!r} version {version} is not spoken here; use MQTT 3.1.1 or 5",
            reason=UNSUPPORTED_VERSION,
        )
    flags = cursor.byte()
    has_will, will_qos = bool(flags & 4), flags >> 3 & 3
    if flags & 1 or will_qos > 2 or (not has_will and flags & 0x38):
        raise MalformedPacket(f"the connect flags {flags:#x} contradict each other")
    if version == 4 and flags & 0x40 and not flags & 0x80:
        raise MalformedPacket("a password without a user name")
    keepalive_s = cursor.uint16()
    properties = _properties(cursor, version, props.OF_CONNECT)
    if Property.AUTHENTICATION_DATA in properties and Property.AUTHENTICATION_METHOD not in properties:
        raise MalformedPacket("authentication data without a method", reason=0x82)
    client_id = cursor.text()
    will = None
    if has_will:
        will_properties = _properties(cursor, version, props.OF_WILL)
        topic = _topic(cursor.text())
        will = Will(topic, cursor.binary(), will_qos, bool(flags & 0x20), will_properties)
    username = cursor.text() if flags & 0x80 else None
    password = cursor.binary() if flags & 0x40 else None
    return Connect(client_id, version, bool(flags & 2), keepalive_s, username, password, will, properties)


def _connack(cursor: Cursor, version: int) -> Connack:
    flags, code = cursor.byte(), cursor.byte()
    if flags > 1:
        raise MalformedPacket(f"the flags {flags:#x} are not those of CONNACK")
    if version < 5:
        if code >= len(_RETURN_CODES):
            raise MalformedPacket(f"there is no return code {code}")
        return Connack(bool(flags), _RETURN_CODES[code])
    return Connack(bool(flags), code, read_properties(cursor, props.OF_CONNACK))


def _publish(flags: int, body: bytes, version: int) -> Publish:
    qos = flags >> 1 & 3
    if qos == 3:
        raise MalformedPacket("there is no QoS 3")
    if qos == 0 and flags & 8:
        raise MalformedPacket("a message of QoS 0 cannot be a duplicate")
    cursor = Cursor(body, 0, len(body))
    topic = cursor.text()
    packet_id = _packet_id(cursor) if qos else 0
    properties = _properties(cursor, version, props.OF_PUBLISH)
    if topic or Property.TOPIC_ALIAS not in properties:
        _topic(topic)
    return Publish(topic, cursor.rest(), qos, packet_id, bool(flags & 1), bool(flags & 8), properties)


def _acknowledge(kind: PacketType, cursor: Cursor, version: int) -> Acknowledge:
    packet_id = _packet_id(cursor)
    if version < 5:
        return Acknowledge(kind, packet_id)
    reason, properties = _reason_and_properties(cursor, props.OF_ACKNOWLEDGE)
    return Acknowledge(kind, packet_id, reason, properties)


def _subscribe(cursor: Cursor, version: int) -> Subscribe:
    packet_id = _packet_id(cursor)
    properties = _properties(cursor, version, props.OF_SUBSCRIBE)
    found = []
    while cursor.left:
        topic_filter, options = cursor.text(), cursor.byte()
        if options & 3 == 3 or options & (0xC0 if version >= 5 else 0xFC) or options >> 4 & 3 == 3:
            raise MalformedPacket(f"the options {options:#x} of a subscription do not exist")
        found.append(Subscription(topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3))
    if not found:
        raise MalformedPacket("a SUBSCRIBE without a topic filter", reason=0x82)
    return Subscribe(packet_id, tuple(found), properties)


def _suback(cursor: Cursor, version: int) -> Suback:
    packet_id = _packet_id(cursor)
    properties = _properties(cursor, version, props.OF_ACKNOWLEDGE)
    reasons = tuple(cursor.rest())
    for reason in reasons:
        if 2 < reason < 0x80 or (version < 5 and reason > 0x80):
            raise MalformedPacket(f"no subscription is granted by {reason:#x}")
    return Suback(packet_id, reasons, properties)


def _unsubscribe(cursor: Cursor, version: int) -> Unsubscribe:
    packet_id = _packet_id(cursor)
    properties = _properties(cursor, version, props.OF_UNSUBSCRIBE)
    found = []
    while cursor.left:
        found.append(cursor.text())
    if not found:
        raise MalformedPacket("an UNSUBSCRIBE without a topic filter", reason=0x82)
    return Unsubscribe(packet_id, tuple(found), properties)


def _packet_id(cursor: Cursor) -> int:
    packet_id = cursor.uint16()
    if packet_id == 0:
        raise MalformedPacket("the packet identifier must not be 0")
    return packet_id


def _properties(cursor: Cursor, version: int, allowed: frozenset[Property]) -> Properties:
    return read_properties(cursor, allowed) if version >= 5 else {}


def _reason_and_properties(cursor: Cursor, allowed: frozenset[Property]) -> tuple[int, Properties]:
    """Both may be left out at the end of a packet."""
    if not cursor.left:
        return 0, {}
    reason = cursor.byte()
    return reason, read_properties(cursor, allowed) if cursor.left else {}


def _topic(topic: str) -> str:
    if not topic or "+" in topic or "#" in topic:
        raise MalformedPacket(f"{topic[:80]!r} is not a topic to publish to", reason=0x90)
    return topic
