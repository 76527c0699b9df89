"""Streams of MQTT packets, whole and damaged, and what must hold for any of them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from streams.mqtt import (
    Acknowledge,
    Connect,
    Disconnect,
    MalformedPacket,
    Packet,
    PacketType,
    Pingreq,
    Property,
    Publish,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from tests.hub.mqtt_world import MemoryClient, MemoryDisk, World
from tests.streams.mqtt_samples import SAMPLES

FRAMES = "penstock/v1/bad/frames"


def packets(version: int) -> list[Packet]:
    """One of each that a client sends."""
    five = version == 5
    return [
        Publish(FRAMES, b"x" * 20, 1, 1),
        Publish(FRAMES, b"x" * 200, 1, 2),
        Publish(FRAMES, b"y", 2, 3),
        Publish("a/b", b"z", 0, properties={Property.TOPIC_ALIAS: 1} if five else {}),
        Publish("a", b"to the other", 1, 4, retain=True),
        Subscribe(5, (Subscription("a/+", 2), Subscription("$share/g/#", 1))),
        Unsubscribe(6, ("a/+",)),
        *[
            Acknowledge(kind, 1)
            for kind in (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP)
        ],
        Acknowledge(PacketType.PUBREL, 3),
        Pingreq(),
        Disconnect(4 if five else 0),
    ]


def good_streams() -> Iterator[bytes]:
    """Streams of a client that does everything right: version and whether it is connected, then packets."""
    for version in (4, 5):
        will = Will("w", b"gone", 1)
        greeting = encode(Connect("bad", version, clean_start=False, keepalive_s=9, will=will, username="u"), version)
        said = [encode(packet, version) for packet in packets(version)]
        yield bytes([version]) + greeting + b"".join(said[:-1])
        for each in said:
            yield bytes([version | 8]) + each
        yield from (bytes([version | 8]) + sample.data for sample in SAMPLES if sample.version == version)


_GOOD = list(good_streams())


def damaged_stream(dice: random.Random) -> bytes:
    """Some good packets one after another, with a few bytes changed, cut out, or put in."""
    first = dice.choice(_GOOD)
    data = bytearray(first + b"".join(each[1:] for each in dice.sample(_GOOD, dice.randint(0, 4))))
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        at = dice.randrange(1, len(data))
        match dice.randrange(4):
            case 0:
                data[at] = dice.randrange(256)
            case 1:
                data[at] ^= 1 << dice.randrange(8)
            case 2:
                del data[at : at + dice.randint(1, 4)]
            case _:
                data[at:at] = dice.randbytes(dice.randint(1, 4))
        if len(data) < 2:
            break
    return bytes(data)


def check_stream(data: bytes) -> None:
    """The invariant in the first line of tests/fuzz/mqtt.py; the first byte chooses version and beginning."""
    if not data:
        return
    version, connected = (5 if data[0] & 1 else 4), bool(data[0] & 8)
    check_packets(data[1:], version)
    whole = _answers(data[1:], version, connected, cut=len(data))
    for cut in (1, 7):
        assert _answers(data[1:], version, connected, cut=cut) == whole, f"cut into pieces of {cut}"


def check_packets(data: bytes, version: int) -> None:
    """Every packet that is decoded means the same when it is encoded again."""
    at = 0
    try:
        while (found := decode(data, at, version=version)) is not None:
            packet, end = found
            assert at + 2 <= end <= len(data)
            own = packet.version if isinstance(packet, Connect) else version
            again = encode(packet, own)
            assert decode(again, version=own) == (packet, len(again))
            at = end
    except MalformedPacket as error:
        assert error.reason >= 0x80 and str(error)


def _answers(data: bytes, version: int, connected: bool, *, cut: int) -> tuple[list[str], bool, list[bytes]]:
    """What a client that sends this is answered, whether it is cut off, and what the pipeline got of it."""
    world = World(MemoryDisk())
    other = world.client("other")
    other.subscribe("a", qos=1)
    bad = MemoryClient(world, version)
    if connected:
        bad.send(Connect("bad", version, clean_start=False))
        bad.link.sent.clear()
    for at in range(0, len(data), cut):
        bad.send_bytes(data[at : at + cut])
    bad.version = bad.connection.version  # its CONNECT may have chosen another
    answers, closed = _comparable(bad.read()), bad.link.closed
    other.read()
    other.publish("a", b"still here", 0)
    assert b"still here" in other.payloads()
    return answers, closed, [message.payload for client, message in world.intake.taken if client == "bad"]


def _comparable(answers: list[Packet]) -> list[str]:
    """PUBACKs in order, all else in none: a PINGRESP overtakes what waits for the disk.

    Of QoS 2 nothing is compared: a message that comes again, or is released, before its PUBREC has left, is against the
    rules, and what is answered depends on whether it has.
    """
    pubacks = [str(each) for each in answers if isinstance(each, Acknowledge) and each.kind is PacketType.PUBACK]
    return pubacks + sorted(str(each) for each in answers if not isinstance(each, Acknowledge))
