"""The gateway on real sockets: starting, stopping, and all that may come in at an open port."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import struct

import pytest

from hub.gateway_settings import GatewaySettings
from streams.errors import MisuseError
from streams.mqtt import (
    Acknowledge,
    Connect,
    Disconnect,
    PacketType,
    Pingreq,
    Pingresp,
    Publish,
    Reason,
    Subscribe,
    Subscription,
    Will,
    encode,
)
from streams.settings import SettingsError, build
from tests.hub.conftest import until
from tests.hub.gateway_world import GatewayWorld, RawClient, gateway

FRAMES = "penstock/v1/dev/frames"
JUNK = {
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
    "a TLS hello": bytes.fromhex("16030100ab010000a70303") + bytes(200),
    "random bytes": random.Random(4).randbytes(4096),
    "zeros": bytes(4096),
    "a length that never ends": b"\x10\xff\xff\xff\xff\xff",
    "a packet of 200 MiB": b"\x10\xff\xff\xff\x64" + bytes(100),
    "a CONNECT of 100 KiB": encode(Connect("x", will=Will("a", bytes(60_000)), username="u", password=bytes(60_000))),
    "MQTT 3.1": bytes.fromhex("101100064d514973647003020000") + b"\x00\x03abc",
    "a message before the CONNECT": encode(Publish("a", b"x", 1, 1)),
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
}  # fmt: skip


async def works(world: GatewayWorld) -> None:
    """A device comes, publishes, is acknowledged."""
    client = await world.client("dev")
    await client.send(Publish(FRAMES, b"good", 1, 1))
    assert await client.read() == Acknowledge(PacketType.PUBACK, 1)
    await client.close()


@pytest.mark.parametrize("name", JUNK)
async def test_junk_on_the_port_hurts_nobody_else(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with gateway() as world:
        other = await world.client("other")
        bad = await RawClient.open(world.port)
        await bad.send_bytes(JUNK[name])
        answer = await bad.until_closed()
        assert answer in (b"", b"\x20\x02\x00\x01")
        await bad.close()
        assert world.counters["malformed_packets"] == 1
        assert "closed 127.0.0.1:" in caplog.text
        await other.send(Pingreq())
        assert await other.read() == Pingresp()
        await works(world)


async def test_a_flood_of_junk_is_logged_a_few_times_and_counted_every_time(caplog: pytest.LogCaptureFixture) -> None:
    async with gateway() as world:
        for _ in range(30):
            bad = await RawClient.open(world.port)
            await bad.send_bytes(b"GET / HTTP/1.0\r\n\r\n")
            await bad.until_closed()
            await bad.close()
        assert world.counters["malformed_packets"] == 30
        assert sum("closed" in record.message for record in caplog.records) <= 2
        assert "it speaks HTTP" in caplog.text


async def test_connections_that_say_nothing_are_closed_in_time_and_others_come_in_meanwhile() -> None:
    async with gateway(connect_timeout_s=0.5) as world:
        idle = [await RawClient.open(world.port) for _ in range(100)]
        await works(world)
        for each in idle:
            assert await each.until_closed() == b""
            await each.close()
        assert world.counters["connect_timeouts"] == 100
        await until(lambda: world.counters["connections"] == 0)


async def test_a_connection_that_is_reset_leaves_its_will() -> None:
    async with gateway() as world:
        reader = await world.client("reader")
        await reader.send(Subscribe(1, (Subscription("w", 0),)))
        await reader.read()
        dying = await world.client("dying", will=Will("w", b"gone"))
        sock = dying.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        dying.writer.transport.abort()
        assert await reader.read() == Publish("w", b"gone")
        assert world.intake.history[-1].startswith("disconnected dying: ")


async def test_a_client_that_reads_nothing_is_disconnected_and_the_others_are_served() -> None:
    async with gateway(send_timeout_s=0.5, session_queue_bytes_max=64 << 20) as world:
        deaf, reader = await world.client("deaf"), await world.client("reader")
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for client in (deaf, reader):
            await client.send(Subscribe(1, (Subscription("big", 0),)))
        await reader.read()
        await until(lambda: world.gateway.broker._tree.qos_of("deaf", "big") is not None)
        for n in range(60):
            world.gateway.publish("big", bytes([n]) + bytes(500_000), qos=0)
            message = await reader.read()
            assert isinstance(message, Publish)
            assert message.payload[0] == n
        await until(lambda: world.counters["send_timeouts"] == 1)
        assert [client.client_id for client in world.gateway.connected_clients()] == ["reader"]
        deaf.writer.transport.abort()


async def test_asking_for_a_large_retained_message_again_and_again_fills_no_memory() -> None:
    async with gateway(send_timeout_s=0.5) as world:
        world.gateway.publish("big", bytes(500_000), qos=0, retain=True)
        bad = await world.client("bad", receive_bytes=4096)
        bad.writer.transport.pause_reading()  # type: ignore[attr-defined]
        ask = encode(Subscribe(1, (Subscription("big", 0),)))
        await bad.send_bytes(ask * 1000)
        await until(lambda: world.counters["queue_drops"] > 900)
        await until(lambda: world.counters["send_timeouts"] == 1)
        await works(world)
        bad.writer.transport.abort()


async def test_a_flood_of_pings_whose_answers_nobody_reads_fills_no_memory() -> None:
    async with gateway(send_timeout_s=0.5) as world:
        bad = await world.client("bad", receive_bytes=4096)
        bad.writer.transport.pause_reading()  # type: ignore[attr-defined]
        [protocol] = world.gateway.links
        protocol._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        flood = b"\xc0\x00" * 100_000

        async def pour() -> None:
            while True:
                bad.writer.write(flood)
                await bad.writer.drain()

        pouring = asyncio.create_task(pour())
        await until(lambda: world.counters["send_timeouts"] == 1)
        pouring.cancel()
        bad.writer.transport.abort()
        assert all(each._transport.get_write_buffer_size() < 2 << 20 for each in world.gateway.links)
        await works(world)


async def test_disk_too_slow_stops_reading_and_nothing_is_lost() -> None:
    async with gateway(undurable_bytes_max=1 << 16) as world:
        world.intake.prompt = False
        client = await world.client("dev")
        payloads = [bytes([n]) * 20_000 for n in range(100)]

        async def send() -> None:
            for n, payload in enumerate(payloads, 1):
                await client.send(Publish(FRAMES, payload, 1, n))

        sending = asyncio.create_task(send())
        await until(lambda: world.counters["reading_pauses"])
        taken = len(world.intake.taken)
        assert taken < 60, "what the kernel holds is not ours"
        answers = []
        while len(answers) < 100:
            await until(lambda: world.intake.waiting)
            world.intake.settle()
            while len(answers) < len(world.intake.taken) and not world.intake.waiting:
                answers.append(await client.read())
        await sending
        assert [each.packet_id for each in answers if isinstance(each, Acknowledge)] == list(range(1, 101))
        assert world.intake.payloads == payloads


async def test_stopping_waits_for_what_was_taken_and_says_goodbye() -> None:
    async with gateway() as world:
        world.intake.prompt = False
        port = world.port
        client, other = await world.client("dev", 5), await world.client("other", 4)
        await client.send(Publish(FRAMES, b"x", 1, 1))
        await until(lambda: world.intake.waiting)
        stopping = asyncio.create_task(world.gateway.stop())
        await until(lambda: world.gateway.broker.stopping)
        world.intake.settle()
        assert await client.read() == Acknowledge(PacketType.PUBACK, 1)
        goodbye = await client.read()
        assert isinstance(goodbye, Disconnect)
        assert goodbye.reason == Reason.SERVER_SHUTTING_DOWN
        assert await other.until_closed() == b""
        await stopping
        assert sorted(world.intake.history[-2:]) == [
            "disconnected dev: the hub stops",
            "disconnected other: the hub stops",
        ]
        with pytest.raises(ConnectionRefusedError):
            await RawClient.open(port)


async def test_a_taken_port_is_named_with_the_remedy() -> None:
    async with gateway() as world:
        second = GatewayWorld()
        settings = GatewaySettings(port=world.port)
        second.gateway.settings = settings
        with pytest.raises(MisuseError, match=rf"port {world.port} on 127\.0\.0\.1 is taken .*hub\.mqtt\.port"):
            await second.gateway.start()


async def test_small_answers_are_not_held_back() -> None:
    async with gateway() as world:
        client = await world.client("dev")
        [protocol] = world.gateway.links
        sock = protocol._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await client.close()


async def test_hundreds_of_clients_at_once_are_served() -> None:
    async with gateway() as world:

        async def one(n: int) -> None:
            device = f"dev{n}"
            client = await world.client(device, 4 + n % 2)
            for packet_id in range(1, 11):
                await client.send(Publish(f"penstock/v1/{device}/frames", b"%d" % packet_id, 1, packet_id))
                assert await client.read() == Acknowledge(PacketType.PUBACK, packet_id)
            await client.close()

        await asyncio.gather(*[one(n) for n in range(200)])
        assert len(world.intake.taken) == 2000
        await until(lambda: world.counters["connections"] == 0)


async def test_a_defect_that_one_client_brings_to_light_ends_its_connection_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway() as world:
        client, other = await world.client("dev"), await world.client("other")

        def broken(topic: str) -> bool:
            raise ZeroDivisionError

        monkeypatch.setattr(world.intake, "wants", broken)
        with caplog.at_level(logging.CRITICAL, "asyncio"):
            await client.send(Publish("a", b"x", 1, 1))
            await client.until_closed()
        await other.send(Pingreq())
        assert await other.read() == Pingresp()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "hub.example"])
def test_an_address_that_others_can_reach_needs_users(host: str) -> None:
    with pytest.raises(SettingsError, match=r"can be reached from other machines.*hub\.mqtt\.users"):
        build(GatewaySettings, {"host": host})
    assert build(GatewaySettings, {"host": host, "users": ["a:b"]}).host == host
    assert build(GatewaySettings, {"host": host, "allow_anonymous": False}).host == host
    assert build(GatewaySettings, {"host": host, "anonymous_anywhere": True}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback_needs_none(host: str) -> None:
    assert build(GatewaySettings, {"host": host}).allow_anonymous


def test_users_are_not_shown() -> None:
    settings = build(GatewaySettings, {"users": ["ann:secret"]})
    assert "secret" not in repr(settings)
    with pytest.raises(SettingsError, match=r"hub\.mqtt\.users: entry 2") as caught:
        build(GatewaySettings, {"users": ["ann:secret", "evewithoutany"]})
    assert "evewithout" not in str(caught.value)
