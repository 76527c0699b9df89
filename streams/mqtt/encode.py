"""Packets to bytes."""

from __future__ import annotations

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
    Unsuback,
    Unsubscribe,
)
from streams.mqtt.properties import Properties, put_properties
from streams.mqtt.reasons import connack_return_code
from streams.mqtt.wire import put_binary, put_text, put_varint


def encode(packet: Packet, version: int = 4) -> bytes:
    """The bytes of a packet on a connection of `version` (a CONNECT has its own)."""
    match packet:
        case Publish():
            return encode_publish(packet, version)
        case Acknowledge(kind, packet_id, reason, properties):
            return _framed(
                kind << 4 | (2 if kind is PacketType.PUBREL else 0),
                _acknowledge(packet_id, reason, properties, version),
            )
        case Connect():
            return _framed(0x10, _connect(packet))
        case Connack(session_present, reason, properties):
            body = bytearray((session_present, reason if version >= 5 else connack_return_code(reason)))
            return _framed(0x20, _with_properties(body, properties, version))
        case Subscribe(packet_id, subscriptions, properties):
            body = _with_properties(bytearray(packet_id.to_bytes(2, "big")), properties, version)
            for each in subscriptions:
                put_text(body, each.topic_filter)
                options = each.qos
                if version >= 5:
                    options |= each.no_local << 2 | each.retain_as_published << 3 | each.retain_handling << 4
                body.append(options)
            return _framed(0x82, body)
        case Suback(packet_id, reasons, properties):
            body = _with_properties(bytearray(packet_id.to_bytes(2, "big")), properties, version)
            return _framed(0x90, body + bytes(r if version >= 5 or r < 3 else 0x80 for r in reasons))
        case Unsubscribe(packet_id, topic_filters, properties):
            body = _with_properties(bytearray(packet_id.to_bytes(2, "big")), properties, version)
            for topic_filter in topic_filters:
                put_text(body, topic_filter)
            return _framed(0xA2, body)
        case Unsuback(packet_id, reasons, properties):
            body = _with_properties(bytearray(packet_id.to_bytes(2, "big")), properties, version)
            return _framed(0xB0, body + (bytes(reasons) if version >= 5 else b""))
        case Pingreq():
            return b"\xc0\x00"
        case Pingresp():
            return b"\xd0\x00"
        case Disconnect(reason, properties):
            return _framed(0xE0, _reason(reason, properties) if version >= 5 else bytearray())
        case Auth(reason, properties):
            return _framed(0xF0, _reason(reason, properties))


def encode_publish(packet: Publish, version: int) -> bytes:
    """The hot one of them."""
    body = bytearray()
    put_text(body, packet.topic)
    if packet.qos:
        body += packet.packet_id.to_bytes(2, "big")
    if version >= 5:
        put_properties(body, packet.properties)
    body += packet.payload
    return _framed(0x30 | packet.dup << 3 | packet.qos << 1 | packet.retain, body)


def puback(packet_id: int) -> bytes:
    """A PUBACK of success: the same bytes in both versions."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def _framed(first: int, body: bytearray) -> bytes:
    out = bytearray((first,))
    put_varint(out, len(body))
    return bytes(out + body)


def _connect(packet: Connect) -> bytearray:
    will = packet.will
    flags = packet.clean_start << 1 | (packet.username is not None) << 7 | (packet.password is not None) << 6
    if will:
        flags |= 4 | will.qos << 3 | will.retain << 5
    body = bytearray(b"\x00\x04MQTT") + bytes((packet.version, flags)) + packet.keepalive_s.to_bytes(2, "big")
    _with_properties(body, packet.properties, packet.version)
    put_text(body, packet.client_id)
    if will:
        _with_properties(body, will.properties, packet.version)
        put_text(body, will.topic)
        put_binary(body, will.payload)
    if packet.username is not None:
        put_text(body, packet.username)
    if packet.password is not None:
        put_binary(body, packet.password)
    return body


def _acknowledge(packet_id: int, reason: int, properties: Properties, version: int) -> bytearray:
    body = bytearray(packet_id.to_bytes(2, "big"))
    if version >= 5 and (reason or properties):
        body += _reason(reason, properties)
    return body


def _reason(reason: int, properties: Properties) -> bytearray:
    """Left out where the specification lets it: nothing for success, no length for no properties."""
    if not reason and not properties:
        return bytearray()
    body = bytearray((reason,))
    if properties:
        put_properties(body, properties)
    return body


def _with_properties(body: bytearray, properties: Properties, version: int) -> bytearray:
    if version >= 5:
        put_properties(body, properties)
    return body
