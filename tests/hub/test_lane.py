"""The short way of a PUBLISH does what the long way does: the same messages are taken, the same answers given."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.mqtt import (
    Acknowledge,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    Property,
    Publish,
    decode,
    encode,
)
from streams.mqtt.encode import encode_publish
from streams.names import FRAMES, JSON, topic
from tests.hub.gateway_world import GatewayWorld, RawClient, gateway

OURS = topic("dev", FRAMES)
OTHER = topic("dev", JSON)
NOT_OURS = topic("else", FRAMES)
PUBACK, PUBREC = PacketType.PUBACK, PacketType.PUBREC
MARK = 65_000
"""Packet id of what comes behind all else, so that it is known when all is answered."""


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def in_lane(world: GatewayWorld, client: RawClient, *, packet_id: int = 60_000) -> None:
    """The client's first message goes the long way; behind it, the lane reads."""
    await client.send(Publish(OURS, b"first", 1, packet_id))
    if not world.intake.prompt:
        await until(lambda: world.intake.waiting)
        world.intake.settle()
    assert await client.read() == Acknowledge(PacketType.PUBACK, packet_id)


@pytest.mark.parametrize("version", [4, 5])
async def test_what_is_plain_comes_by_the_lane_and_is_acknowledged_when_it_is_taken(version: int) -> None:
    async with gateway() as world:
        client = await world.client("dev", version)
        world.intake.prompt = False
        await in_lane(world, client)
        await client.send(*(Publish(OURS, bytes([n]) * n, 1, n) for n in range(1, 200)))
        await until(lambda: len(world.intake.taken) == 200)
        assert world.intake.runs
        while world.intake.waiting:
            world.intake.settle()
        for n in range(1, 200):
            assert await client.read() == Acknowledge(PacketType.PUBACK, n)
        assert world.intake.payloads[1:] == [bytes([n]) * n for n in range(1, 200)]
        assert world.counters["messages_in"] == 200
        await client.close()


async def test_what_cannot_be_taken_is_not_acknowledged_and_ends_those_connections_alone() -> None:
    async with gateway() as world:
        client, other = await world.client("dev"), await world.client("other")
        world.intake.prompt = False
        await in_lane(world, client)
        await client.send(Publish(OURS, b"x", 1, 1), Publish(OURS, b"y", 1, 2))
        await until(lambda: world.intake.waiting)
        world.intake.settle(OSError("the disk is full"))
        assert await client.until_closed() == b""
        assert world.counters["intake_refusals"] == 2
        await other.send(Pingreq())
        assert isinstance(await other.read(), Pingresp)


async def test_what_comes_behind_waits_until_all_before_is_answered_and_no_more_is_read() -> None:
    async with gateway() as world:
        client = await world.client("dev")
        world.intake.prompt = False
        await in_lane(world, client)
        await client.send(Publish(OURS, b"x", 1, 1), Pingreq(), Publish(OTHER, b"{}", 1, 2), Publish(OURS, b"z", 1, 3))
        await until(lambda: world.intake.waiting)
        await client.send(Publish(OURS, b"later", 1, 4))
        await asyncio.sleep(0.05)
        assert world.intake.payloads == [b"first", b"x"]
        assert isinstance(await client.read(), Pingresp)
        world.intake.settle()
        assert await client.read() == Acknowledge(PacketType.PUBACK, 1)
        for packet_id in (2, 3, 4):
            while world.intake.waiting:
                world.intake.settle()
            assert await client.read() == Acknowledge(PacketType.PUBACK, packet_id)
            await asyncio.sleep(0.01)
        assert world.intake.payloads == [b"first", b"x", b"{}", b"z", b"later"]


async def test_a_ping_is_answered_while_the_disk_is_slow() -> None:
    async with gateway() as world:
        client = await world.client("dev")
        world.intake.prompt = False
        await in_lane(world, client)
        await client.send(Publish(OURS, b"x", 1, 1))
        await until(lambda: world.intake.waiting)
        await client.send(Pingreq(), Pingreq())
        assert isinstance(await client.read(), Pingresp)
        assert isinstance(await client.read(), Pingresp)
        await client.send(Publish(OURS, b"y", 1, 2))
        await until(lambda: len(world.intake.waiting) == 2)
        world.intake.settle()
        world.intake.settle()
        assert await client.read() == Acknowledge(PacketType.PUBACK, 1)
        assert await client.read() == Acknowledge(PacketType.PUBACK, 2)


async def test_more_than_the_receive_maximum_waits() -> None:
    async with gateway(receive_maximum=5) as world:
        client = await world.client("dev", 5)
        world.intake.prompt = False
        await in_lane(world, client)
        await client.send(*(Publish(OURS, b"%d" % n, 1, n) for n in range(1, 21)))
        await until(lambda: len(world.intake.taken) == 6)
        await asyncio.sleep(0.05)
        assert len(world.intake.taken) == 6, "the client may have 5 unacknowledged"
        answers = []
        while len(answers) < 20:
            await until(lambda: world.intake.waiting)
            before = len(world.intake.taken)
            assert before - 1 - len(answers) <= 5
            world.intake.settle()
            while len(answers) < before - 1:
                answers.append(await client.read())
        assert [each.packet_id for each in answers if isinstance(each, Acknowledge)] == list(range(1, 21))
        assert world.intake.payloads[1:] == [b"%d" % n for n in range(1, 21)]


async def test_a_client_that_is_replaced_gets_no_answer_on_a_descriptor_that_is_used_again() -> None:
    async with gateway() as world:
        old = await world.client("dev")
        world.intake.prompt = False
        await in_lane(world, old)
        await old.send(Publish(OURS, b"old", 1, 7))
        await until(lambda: world.intake.waiting)
        old.writer.transport.abort()
        await until(lambda: not world.gateway.links)
        new = await world.client("dev")
        await new.send(Publish(OURS, b"new", 1, 9))
        await until(lambda: len(world.intake.waiting) == 2)
        world.intake.settle()
        await asyncio.sleep(0.05)
        world.intake.settle()
        assert await new.read() == Acknowledge(PacketType.PUBACK, 9)


async def test_a_client_that_leaves_at_once_after_its_messages_is_answered_before() -> None:
    async with gateway() as world:
        client = await world.client("dev")
        world.intake.prompt = False
        await in_lane(world, client)
        await client.send(Publish(OURS, b"x", 1, 1), Disconnect())
        await until(lambda: world.intake.waiting)
        assert world.gateway.connected_clients()
        world.intake.settle()
        assert await client.until_closed() == encode(Acknowledge(PacketType.PUBACK, 1), 4)


async def test_commands_and_acknowledgements_that_its_client_does_not_read_are_neither_mixed_nor_lost() -> None:
    async with gateway() as world:
        client = await world.client("dev", receive_bytes=2048)
        await in_lane(world, client)
        connection = next(iter(world.gateway.links)).connection
        note = encode_publish(Publish("note", bytes(3000)), 4)
        count = 40_000

        async def publish() -> None:
            for start in range(0, count, 1000):
                data = [encode_publish(Publish(OURS, b"", 1, n % 60_000 + 1), 4) for n in range(start, start + 1000)]
                connection.send_bytes(note)
                await client.send_bytes(b"".join(data))

        publishing = asyncio.create_task(publish())
        await asyncio.sleep(0.3)
        ids, notes, buffer = [], 0, b""
        while len(ids) < count:
            buffer += await asyncio.wait_for(client.reader.read(1 << 16), 10)
            while (found := decode(buffer, version=4)) is not None:
                buffer = buffer[found[1] :]
                if isinstance(found[0], Publish):
                    assert found[0] == Publish("note", bytes(3000))
                    notes += 1
                else:
                    assert isinstance(found[0], Acknowledge)
                    ids.append(found[0].packet_id)
        await publishing
        assert ids == [n % 60_000 + 1 for n in range(count)]
        assert notes == count // 1000


async def test_an_acknowledgement_does_not_overtake_what_its_transport_still_sends() -> None:
    async with gateway() as world:
        loop, sock = asyncio.get_running_loop(), socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", world.port))
        await loop.sock_sendall(sock, encode(Connect("dev", 4), 4))
        assert len(await loop.sock_recv(sock, 100)) == 4
        await loop.sock_sendall(sock, encode_publish(Publish(OURS, b"", 1, 1), 4))
        assert await loop.sock_recv(sock, 100) == encode(Acknowledge(PacketType.PUBACK, 1), 4)
        world.intake.prompt = False
        await loop.sock_sendall(sock, encode_publish(Publish(OURS, b"", 1, 2), 4))
        await until(lambda: world.intake.waiting)
        note = encode_publish(Publish("note", bytes(12 << 20)), 4)
        link = next(iter(world.gateway.links))
        link.connection.send_bytes(note)
        await until(lambda: link._transport.get_write_buffer_size())
        received = sock.recv(1 << 20)  # now there is room in the socket, and its transport does not know yet
        world.intake.settle()
        expected = note + encode(Acknowledge(PacketType.PUBACK, 2), 4)
        while len(received) < len(expected):
            received += await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), 10)
        assert received == expected
        sock.close()


async def test_the_clock_hears_who_speaks_by_the_lane() -> None:
    async with gateway() as world:
        client = await world.client("dev", keepalive_s=1)
        await in_lane(world, client)
        for n in range(1, 5):
            await asyncio.sleep(0.7)
            await client.send(Publish(OURS, b"x", 1, n))
            assert await client.read() == Acknowledge(PacketType.PUBACK, n)
        assert world.intake.runs
        assert await client.until_closed() == b""
        assert world.counters["keepalive_timeouts"] == 1


class _Outcome(NamedTuple):
    """What a client sees, and what the pipeline gets."""

    acks: Sequence[Packet]
    others: Sequence[str]
    taken: Sequence[tuple[str, str, bytes]]
    was_closed: bool


_payloads = st.binary(max_size=300)
_ids = st.integers(1, 40)
_odd_properties = {Property.USER_PROPERTY: [("a", "b")]}
_packets = st.one_of(
    st.builds(lambda payload, number: Publish(OURS, payload, 1, number), _payloads, _ids),
    st.builds(lambda payload, number: Publish(OURS, payload, 1, number), _payloads, _ids),
    st.builds(lambda payload: Publish(OURS, payload), _payloads),
    st.builds(lambda payload, number: Publish(OURS, payload, 2, number), _payloads, st.integers(50, 60)),
    st.builds(lambda payload, number: Publish(OURS, payload, 1, number, True, True), _payloads, _ids),
    st.builds(lambda payload, number: Publish(OTHER, payload, 1, number), _payloads, _ids),
    st.builds(lambda number: Publish("elsewhere", b"x", 1, number), _ids),
    st.builds(lambda payload, number: Publish(OURS, payload, 1, number, properties=_odd_properties), _payloads, _ids),
    st.builds(lambda number: Acknowledge(PacketType.PUBREL, number), st.integers(50, 60)),
    st.just(Pingreq()),
)
_randoms = st.randoms(use_true_random=False)
_last = st.one_of(
    st.just(b""),
    st.just(encode(Disconnect(), 4)),
    st.builds(lambda number: encode_publish(Publish(NOT_OURS, b"x", 1, number), 4), _ids),
    st.binary(min_size=1, max_size=12),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([4, 5]), st.lists(_packets, max_size=30), _last, st.randoms(use_true_random=False), st.booleans()
)
def test_both_ways_do_the_same(version: int, packets: list[Packet], last: bytes, random: object, slow: bool) -> None:
    data = b"".join(encode(_fitting(packet, version), version) for packet in packets)
    cuts = sorted(random.sample(range(len(data) + 1), min(len(data), random.randrange(6))))  # type: ignore[attr-defined]
    pieces = [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)])]

    async def both() -> tuple[_Outcome, _Outcome]:
        ways = [await _outcome(version, pieces, last, slow, lane=lane) for lane in (True, False)]
        return ways[0], ways[1]

    ours, theirs = asyncio.run(both())
    assert ours == theirs


def _fitting(packet: Packet, version: int) -> Packet:
    """MQTT 3.1.1 has no properties."""
    if isinstance(packet, Publish) and version < 5:
        return Publish(packet.topic, packet.payload, packet.qos, packet.packet_id, packet.retain, packet.dup)
    return packet


async def _outcome(version: int, pieces: Sequence[bytes], last: bytes, slow: bool, *, lane: bool) -> _Outcome:
    async with gateway(lane=lane) as world:
        client = await world.client("dev", version)
        await in_lane(world, client)
        world.intake.prompt = not slow
        received: list[Packet] = []
        for piece in pieces:
            await client.send_bytes(piece)
            await asyncio.sleep(0.002)
            if slow and world.intake.waiting:
                world.intake.settle()
        await client.send(Publish(OTHER, b"", 1, MARK))
        while not received or received[-1] != Acknowledge(PacketType.PUBACK, MARK):
            reading = asyncio.ensure_future(client.read())
            while not reading.done():
                await asyncio.sleep(0.001)
                if world.intake.waiting:
                    world.intake.settle()
            received.append(await reading)
        await client.send_bytes(last)
        client.writer.write_eof()
        with contextlib.suppress(EOFError):
            while True:
                received.append(await client.read())
        acks = [each for each in received if isinstance(each, Acknowledge) and each.kind in (PUBACK, PUBREC)]
        others = [type(each).__name__ for each in received if each not in acks]
        taken = [(client_id, each.topic, each.payload) for client_id, each in world.intake.taken]
        return _Outcome(acks, others, taken, bool(world.counters["malformed_packets"]))
