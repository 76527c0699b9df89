"""One table of MQTT packets as values and as bytes, for all tests of the codec. The bytes are written out by hand."""

from __future__ import annotations

from typing import NamedTuple

from streams.mqtt import (
    Acknowledge,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
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

P = Property


class Sample(NamedTuple):
    name: str
    version: int
    packet: Packet
    data: bytes


class Malformed(NamedTuple):
    name: str
    version: int
    data: bytes
    says: str
    """A part of the message."""
    reason: int = Reason.MALFORMED_PACKET


def _hex(text: str) -> bytes:
    return bytes.fromhex(text)


SAMPLES = [
    Sample("connect, least", 4, Connect("a"), _hex("10 0d 0004 4d515454 04 02 0000 0001 61")),
    Sample(
        "connect, everything of 3.1.1",
        4,
        Connect("dev", 4, False, 60, "me", b"pw", Will("w/t", b"gone", 1, True)),
        _hex("10 22 0004 4d515454 04 ec 003c 0003 646576 0003 772f74 0004 676f6e65 0002 6d65 0002 7077"),
    ),
    Sample("connect, least of 5", 5, Connect("", 5), _hex("10 0d 0004 4d515454 05 02 0000 00 0000")),
    Sample(
        "connect, everything of 5",
        5,
        Connect(
            "d", 5, False, 10, "u", b"\x00", Will("t", b"", 2, False, {P.WILL_DELAY_INTERVAL: 5, P.CONTENT_TYPE: "x"}),
            {P.SESSION_EXPIRY_INTERVAL: 0xFFFFFFFF, P.RECEIVE_MAXIMUM: 20, P.MAXIMUM_PACKET_SIZE: 1000,
             P.TOPIC_ALIAS_MAXIMUM: 7, P.REQUEST_RESPONSE_INFORMATION: 1, P.REQUEST_PROBLEM_INFORMATION: 0,
             P.USER_PROPERTY: [("k", "v"), ("k", "")]},
        ),
        _hex(
            "10 44 0004 4d515454 05 d4 000a"
            "21 11ffffffff 210014 27000003e8 220007 1901 1700 26 0001 6b 0001 76 26 0001 6b 0000"
            "0001 64 09 1800000005 030001 78 0001 74 0000 0001 75 0001 00"
        ),
    ),
    Sample("connack, accepted", 4, Connack(), _hex("20 02 00 00")),
    Sample("connack, session present", 4, Connack(True), _hex("20 02 01 00")),
    Sample("connack, not authorized", 4, Connack(False, Reason.NOT_AUTHORIZED), _hex("20 02 00 05")),
    Sample("connack of 5", 5, Connack(), _hex("20 03 00 00 00")),
    Sample(
        "connack of 5, with properties", 5,
        Connack(True, 0, {P.RECEIVE_MAXIMUM: 64, P.ASSIGNED_CLIENT_IDENTIFIER: "me", P.SERVER_KEEP_ALIVE: 9,
                          P.MAXIMUM_QOS: 1}),
        _hex("20 10 01 00 0d 210040 12 0002 6d65 130009 2401"),
    ),
    Sample("publish, QoS 0", 4, Publish("a/b", b"hi"), _hex("30 07 0003 612f62 6869")),
    Sample("publish, empty", 4, Publish("a", b""), _hex("30 03 0001 61")),
    Sample("publish, QoS 1", 4, Publish("a/b", b"hi", 1, 258), _hex("32 09 0003 612f62 0102 6869")),
    Sample(
        "publish, QoS 2, retained, duplicate", 4, Publish("a", b"\x00", 2, 1, True, True), _hex("3d 06 0001 61 0001 00")
    ),
    Sample("publish, other letters", 4, Publish("ä/水", b""), _hex("30 08 0006 c3a42fe6b0b4")),
    Sample("publish, two bytes of length", 4, Publish("a", b"x" * 200), _hex("30 cb01 0001 61") + b"x" * 200),
    Sample("publish of 5", 5, Publish("a", b"hi", 1, 7), _hex("32 08 0001 61 0007 00 6869")),
    Sample(
        "publish of 5, with properties", 5,
        Publish("a", b"!", 0, 0, False, False,
                {P.PAYLOAD_FORMAT_INDICATOR: 1, P.MESSAGE_EXPIRY_INTERVAL: 60, P.RESPONSE_TOPIC: "r",
                 P.CORRELATION_DATA: b"\x01\x02", P.SUBSCRIPTION_IDENTIFIER: [1, 300]}),
        _hex("30 1a 0001 61 15 0101 020000003c 080001 72 090002 0102 0b01 0bac02 21"),
    ),
    Sample("publish of 5, by alias", 5, Publish("", b"!", 0, 0, False, False, {P.TOPIC_ALIAS: 3}),
           _hex("30 07 0000 03 230003 21")),
    Sample("puback", 4, Acknowledge(PacketType.PUBACK, 1), _hex("40 02 0001")),
    Sample("pubrec", 4, Acknowledge(PacketType.PUBREC, 65535), _hex("50 02 ffff")),
    Sample("pubrel", 4, Acknowledge(PacketType.PUBREL, 2), _hex("62 02 0002")),
    Sample("pubcomp", 4, Acknowledge(PacketType.PUBCOMP, 3), _hex("70 02 0003")),
    Sample("puback of 5", 5, Acknowledge(PacketType.PUBACK, 1), _hex("40 02 0001")),
    Sample(
        "puback of 5, refused", 5, Acknowledge(PacketType.PUBACK, 1, Reason.NOT_AUTHORIZED, {P.REASON_STRING: "no"}),
        _hex("40 09 0001 87 05 1f0002 6e6f"),
    ),
    Sample(
        "subscribe", 4, Subscribe(10, (Subscription("a/#", 1), Subscription("+", 2))),
        _hex("82 0c 000a 0003 612f23 01 0001 2b 02"),
    ),
    Sample(
        "subscribe of 5", 5,
        Subscribe(1, (Subscription("$share/g/a", 2, False, True, 2), Subscription("b", 0, True)),
                  {P.SUBSCRIPTION_IDENTIFIER: [5]}),
        _hex("82 16 0001 02 0b05 000a 2473686172652f672f61 2a 0001 62 04"),
    ),
    Sample("suback", 4, Suback(10, (1, 2, 0x80)), _hex("90 05 000a 01 02 80")),
    Sample("suback of 5", 5, Suback(1, (0, Reason.NOT_AUTHORIZED)), _hex("90 05 0001 00 00 87")),
    Sample("unsubscribe", 4, Unsubscribe(3, ("a", "b/c")), _hex("a2 0a 0003 0001 61 0003 622f63")),
    Sample("unsubscribe of 5", 5, Unsubscribe(3, ("a",)), _hex("a2 06 0003 00 0001 61")),
    Sample("unsuback", 4, Unsuback(3), _hex("b0 02 0003")),
    Sample("unsuback of 5", 5, Unsuback(3, (0, 0x11)), _hex("b0 05 0003 00 00 11")),
    Sample("pingreq", 4, Pingreq(), _hex("c0 00")),
    Sample("pingresp", 4, Pingresp(), _hex("d0 00")),
    Sample("disconnect", 4, Disconnect(), _hex("e0 00")),
    Sample("disconnect of 5", 5, Disconnect(), _hex("e0 00")),
    Sample(
        "disconnect of 5, taken over", 5, Disconnect(Reason.SESSION_TAKEN_OVER, {P.REASON_STRING: "x"}),
        _hex("e0 06 8e 04 1f0001 78"),
    ),
    Sample("auth", 5, Auth(0x18, {P.AUTHENTICATION_METHOD: "m", P.AUTHENTICATION_DATA: b"d"}),
           _hex("f0 0a 18 08 150001 6d 160001 64")),
]  # fmt: skip

MALFORMED = [
    Malformed("type 0", 4, _hex("00 00"), "no packet type 0"),
    Malformed("a length of five bytes", 4, _hex("30 ff ff ff ff 01"), "longer than four bytes"),
    Malformed("a length longer than it must be", 4, _hex("c0 80 00"), "more bytes than it must"),
    Malformed("HTTP", 4, b"GET / HTTP/1.1\r\n\r\n" + bytes(64), "flags"),
    Malformed("a TLS hello", 4, _hex("16 03 01 02 00"), "flags"),
    Malformed("MQTT 3.1", 4, _hex("10 11 0006 4d5149736470 03 02 0000 0003 646576"), "version 3",
              Reason.UNSUPPORTED_PROTOCOL_VERSION),
    Malformed("MQTT 6", 4, _hex("10 0d 0004 4d515454 06 02 0000 0001 61"), "version 6",
              Reason.UNSUPPORTED_PROTOCOL_VERSION),
    Malformed("connect, reserved flag", 4, _hex("10 0d 0004 4d515454 04 03 0000 0001 61"), "connect flags"),
    Malformed("connect, QoS of no will", 4, _hex("10 0d 0004 4d515454 04 0a 0000 0001 61"), "connect flags"),
    Malformed("connect, will of QoS 3", 4, _hex("10 12 0004 4d515454 04 1e 0000 0001 61 0001 77 0000"),
              "connect flags"),
    Malformed("connect, password without name", 4, _hex("10 10 0004 4d515454 04 42 0000 0001 61 0001 70"), "password"),
    Malformed("connect, cut", 4, _hex("10 0c 0004 4d515454 04 02 0000 0001"), "too early"),
    Malformed("connect, more behind", 4, _hex("10 0e 0004 4d515454 04 02 0000 0001 61 00"), "after the end"),
    Malformed("connect, will to a wildcard", 4, _hex("10 12 0004 4d515454 04 06 0000 0001 61 0001 2b 0000"), "topic",
              Reason.TOPIC_NAME_INVALID),
    Malformed("publish of QoS 3", 4, _hex("36 05 0001 61 0001"), "QoS 3"),
    Malformed("publish, duplicate of QoS 0", 4, _hex("38 03 0001 61"), "duplicate"),
    Malformed("publish to nothing", 4, _hex("30 02 0000"), "topic", Reason.TOPIC_NAME_INVALID),
    Malformed("publish to a wildcard", 4, _hex("30 05 0003 612f23"), "topic", Reason.TOPIC_NAME_INVALID),
    Malformed("publish, not UTF-8", 4, _hex("30 04 0002 c328"), "UTF-8"),
    Malformed("publish, a surrogate", 4, _hex("30 05 0003 eda080"), "UTF-8"),
    Malformed("publish, a NUL", 4, _hex("30 04 0002 6100"), "NUL"),
    Malformed("publish, topic longer than the packet", 4, _hex("30 03 0005 61"), "too early"),
    Malformed("publish, identifier 0", 4, _hex("32 05 0001 61 0000"), "must not be 0"),
    Malformed("publish, no identifier", 4, _hex("32 03 0001 61"), "too early"),
    Malformed("publish, property twice", 5, _hex("30 08 0001 61 04 0101 0101"), "twice", Reason.PROTOCOL_ERROR),
    Malformed("publish, property of another packet", 5, _hex("30 07 0001 61 03 210001"), "belong",
              Reason.PROTOCOL_ERROR),
    Malformed("publish, unknown property", 5, _hex("30 06 0001 61 02 7f01"), "no property 127"),
    Malformed("publish, properties longer than the packet", 5, _hex("30 04 0001 61 09"), "too early"),
    Malformed("publish, alias 0", 5, _hex("30 07 0001 61 03 230000"), "must not be 0", Reason.PROTOCOL_ERROR),
    Malformed("publish, format 2", 5, _hex("30 06 0001 61 02 0102"), "0 or 1", Reason.PROTOCOL_ERROR),
    Malformed("publish, response to a wildcard", 5, _hex("30 08 0001 61 04 080001 2b"), "topic",
              Reason.PROTOCOL_ERROR),
    Malformed("connect, receive maximum 0", 5, _hex("10 11 0004 4d515454 05 02 0000 03 210000 0001 61"),
              "must not be 0", Reason.PROTOCOL_ERROR),
    Malformed("connect, data without a method", 5, _hex("10 12 0004 4d515454 05 02 0000 04 16000161 0001 61"),
              "without a method", Reason.PROTOCOL_ERROR),
    Malformed("puback, too long", 4, _hex("40 03 0001 00"), "after the end"),
    Malformed("puback, flags", 4, _hex("42 02 0001"), "flags"),
    Malformed("pubrel, flags", 4, _hex("60 02 0001"), "flags"),
    Malformed("subscribe, flags", 4, _hex("80 06 0001 0001 61 00"), "flags"),
    Malformed("subscribe to nothing", 4, _hex("82 02 0001"), "without a topic filter", Reason.PROTOCOL_ERROR),
    Malformed("subscribe, QoS 3", 4, _hex("82 06 0001 0001 61 03"), "options"),
    Malformed("subscribe, options of 5 in 3.1.1", 4, _hex("82 06 0001 0001 61 04"), "options"),
    Malformed("subscribe, retain handling 3", 5, _hex("82 07 0001 00 0001 61 30"), "options"),
    Malformed("subscribe, identifier 0", 5, _hex("82 09 0001 02 0b00 0001 61 00"), "must not be 0",
              Reason.PROTOCOL_ERROR),
    Malformed("subscribe, no options", 4, _hex("82 05 0001 0001 61"), "too early"),
    Malformed("unsubscribe from nothing", 4, _hex("a2 02 0001"), "without a topic filter", Reason.PROTOCOL_ERROR),
    Malformed("pingreq with a body", 4, _hex("c0 01 00"), "after the end"),
    Malformed("disconnect of 3.1.1 with a reason", 4, _hex("e0 01 00"), "after the end"),
    Malformed("auth in 3.1.1", 4, _hex("f0 00"), "MQTT 5", Reason.PROTOCOL_ERROR),
    Malformed("suback, QoS 3", 4, _hex("90 03 0001 03"), "no subscription is granted"),
    Malformed("suback, a reason in 3.1.1", 4, _hex("90 03 0001 87"), "no subscription is granted"),
    Malformed("connack, flags", 4, _hex("20 02 02 00"), "flags"),
    Malformed("connack, code", 4, _hex("20 02 00 06"), "return code"),
]  # fmt: skip
