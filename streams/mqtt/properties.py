"""MQTT 5 properties (5.0, 2.2.2.2): a table of kinds, a reader and a writer. A packet keeps them as a plain dict."""

from __future__ import annotations

from enum import IntEnum

from streams.mqtt.malformed import MalformedPacket
from streams.mqtt.wire import Cursor, put_binary, put_text, put_varint

Properties = dict[int, object]
"""Property to value; USER_PROPERTY to a list of (name, value), SUBSCRIPTION_IDENTIFIER to a list of numbers."""


class Property(IntEnum):
    """Identifiers of properties."""

    PAYLOAD_FORMAT_INDICATOR = 1
    MESSAGE_EXPIRY_INTERVAL = 2
    CONTENT_TYPE = 3
    RESPONSE_TOPIC = 8
    CORRELATION_DATA = 9
    SUBSCRIPTION_IDENTIFIER = 11
    SESSION_EXPIRY_INTERVAL = 17
    ASSIGNED_CLIENT_IDENTIFIER = 18
    SERVER_KEEP_ALIVE = 19
    AUTHENTICATION_METHOD = 21
    AUTHENTICATION_DATA = 22
    REQUEST_PROBLEM_INFORMATION = 23
    WILL_DELAY_INTERVAL = 24
    REQUEST_RESPONSE_INFORMATION = 25
    RESPONSE_INFORMATION = 26
    SERVER_REFERENCE = 28
    REASON_STRING = 31
    RECEIVE_MAXIMUM = 33
    TOPIC_ALIAS_MAXIMUM = 34
    TOPIC_ALIAS = 35
    MAXIMUM_QOS = 36
    RETAIN_AVAILABLE = 37
    USER_PROPERTY = 38
    MAXIMUM_PACKET_SIZE = 39
    WILDCARD_SUBSCRIPTION_AVAILABLE = 40
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 41
    SHARED_SUBSCRIPTION_AVAILABLE = 42


P = Property
_BYTES = {P.PAYLOAD_FORMAT_INDICATOR, P.REQUEST_PROBLEM_INFORMATION, P.REQUEST_RESPONSE_INFORMATION, P.MAXIMUM_QOS}
_BYTES |= {P.RETAIN_AVAILABLE, P.WILDCARD_SUBSCRIPTION_AVAILABLE, P.SUBSCRIPTION_IDENTIFIER_AVAILABLE}
_BYTES |= {P.SHARED_SUBSCRIPTION_AVAILABLE}
_TWO_BYTES = {P.SERVER_KEEP_ALIVE, P.RECEIVE_MAXIMUM, P.TOPIC_ALIAS_MAXIMUM, P.TOPIC_ALIAS}
_FOUR_BYTES = {P.MESSAGE_EXPIRY_INTERVAL, P.SESSION_EXPIRY_INTERVAL, P.WILL_DELAY_INTERVAL, P.MAXIMUM_PACKET_SIZE}
_TEXTS = {P.CONTENT_TYPE, P.RESPONSE_TOPIC, P.ASSIGNED_CLIENT_IDENTIFIER, P.AUTHENTICATION_METHOD, P.REASON_STRING}
_TEXTS |= {P.RESPONSE_INFORMATION, P.SERVER_REFERENCE}
_BINARIES = {P.CORRELATION_DATA, P.AUTHENTICATION_DATA}
_NOT_ZERO = {P.RECEIVE_MAXIMUM, P.TOPIC_ALIAS, P.MAXIMUM_PACKET_SIZE}

OF_CONNECT = frozenset({P.SESSION_EXPIRY_INTERVAL, P.RECEIVE_MAXIMUM, P.MAXIMUM_PACKET_SIZE, P.TOPIC_ALIAS_MAXIMUM,
    P.REQUEST_RESPONSE_INFORMATION, P.REQUEST_PROBLEM_INFORMATION, P.USER_PROPERTY, P.AUTHENTICATION_METHOD,
    P.AUTHENTICATION_DATA})  # fmt: skip
OF_CONNACK = frozenset({P.SESSION_EXPIRY_INTERVAL, P.RECEIVE_MAXIMUM, P.MAXIMUM_QOS, P.RETAIN_AVAILABLE,
    P.MAXIMUM_PACKET_SIZE, P.ASSIGNED_CLIENT_IDENTIFIER, P.TOPIC_ALIAS_MAXIMUM, P.REASON_STRING, P.USER_PROPERTY,
    P.WILDCARD_SUBSCRIPTION_AVAILABLE, P.SUBSCRIPTION_IDENTIFIER_AVAILABLE, P.SHARED_SUBSCRIPTION_AVAILABLE,
    P.SERVER_KEEP_ALIVE, P.RESPONSE_INFORMATION, P.SERVER_REFERENCE, P.AUTHENTICATION_METHOD,
    P.AUTHENTICATION_DATA})  # fmt: skip
OF_PUBLISH = frozenset({P.PAYLOAD_FORMAT_INDICATOR, P.MESSAGE_EXPIRY_INTERVAL, P.TOPIC_ALIAS, P.RESPONSE_TOPIC,
    P.CORRELATION_DATA, P.USER_PROPERTY, P.SUBSCRIPTION_IDENTIFIER, P.CONTENT_TYPE})  # fmt: skip
OF_WILL = frozenset({P.WILL_DELAY_INTERVAL, P.PAYLOAD_FORMAT_INDICATOR, P.MESSAGE_EXPIRY_INTERVAL, P.CONTENT_TYPE,
    P.RESPONSE_TOPIC, P.CORRELATION_DATA, P.USER_PROPERTY})  # fmt: skip
OF_ACKNOWLEDGE = frozenset({P.REASON_STRING, P.USER_PROPERTY})
OF_SUBSCRIBE = frozenset({P.SUBSCRIPTION_IDENTIFIER, P.USER_PROPERTY})
OF_UNSUBSCRIBE = frozenset({P.USER_PROPERTY})
OF_DISCONNECT = frozenset({P.SESSION_EXPIRY_INTERVAL, P.REASON_STRING, P.USER_PROPERTY, P.SERVER_REFERENCE})
OF_AUTH = frozenset({P.AUTHENTICATION_METHOD, P.AUTHENTICATION_DATA, P.REASON_STRING, P.USER_PROPERTY})


def read_properties(cursor: Cursor, allowed: frozenset[Property]) -> Properties:
    """The properties at the cursor. MalformedPacket for one that is unknown, not allowed here, or there twice."""
    length = cursor.varint()
    part = cursor.part(length)
    found: Properties = {}
    while part.left:
        number = part.varint()
        try:
            name = Property(number)
        except ValueError:
            raise MalformedPacket(f"there is no property {number}") from None
        if name not in allowed:
            raise MalformedPacket(f"the property {name.name} does not belong into this packet", reason=0x82)
        value = _read_value(part, name)
        if name is P.USER_PROPERTY or (name is P.SUBSCRIPTION_IDENTIFIER and allowed is OF_PUBLISH):
            values = found.setdefault(name, [])
            assert isinstance(values, list)
            values.append(value)
        elif name in found:
            raise MalformedPacket(f"the property {name.name} is there twice", reason=0x82)
        else:
            found[name] = [value] if name is P.SUBSCRIPTION_IDENTIFIER else value
    return found


def _read_value(part: Cursor, name: Property) -> object:
    if name in _BYTES:
        value = part.byte()
        if value > 1:
            raise MalformedPacket(f"the property {name.name} must be 0 or 1, not {value}", reason=0x82)
        return value
    if name in _TWO_BYTES or name in _FOUR_BYTES:
        number = part.uint16() if name in _TWO_BYTES else part.uint32()
        if number == 0 and name in _NOT_ZERO:
            raise MalformedPacket(f"the property {name.name} must not be 0", reason=0x82)
        return number
    if name is P.RESPONSE_TOPIC:
        return _topic(part.text())
    if name in _TEXTS:
        return part.text()
    if name in _BINARIES:
        return part.binary()
    if name is P.USER_PROPERTY:
        return part.text(), part.text()
    number = part.varint()  # SUBSCRIPTION_IDENTIFIER
    if number == 0:
        raise MalformedPacket("a subscription identifier must not be 0", reason=0x82)
    return number


def _topic(topic: str) -> str:
    if not topic or "+" in topic or "#" in topic:
        raise MalformedPacket(f"{topic[:80]!r} is not a topic to respond to", reason=0x82)
    return topic


def put_properties(out: bytearray, properties: Properties) -> None:
    """Write them, their length first."""
    body = bytearray()
    for name, value in properties.items():
        many = isinstance(value, list)
        for each in value if many else [value]:  # type: ignore[attr-defined]
            put_varint(body, int(name))
            _put_value(body, Property(name), each)
    put_varint(out, len(body))
    out += body


def _put_value(out: bytearray, name: Property, value: object) -> None:
    if isinstance(value, tuple):
        put_text(out, value[0])
        put_text(out, value[1])
    elif isinstance(value, str):
        put_text(out, value)
    elif isinstance(value, bytes):
        put_binary(out, value)
    elif isinstance(value, int):
        if name in _BYTES:
            out.append(value)
        elif name in _TWO_BYTES:
            out += value.to_bytes(2, "big")
        elif name in _FOUR_BYTES:
            out += value.to_bytes(4, "big")
        else:
            put_varint(out, value)
    else:
        raise TypeError(f"the property {name.name} cannot hold {value!r}")
