"""MQTT over WebSocket: paho as a client, a raw one for all that may go wrong, and pages that may not connect."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from hub.gateway_settings import WebSocketSettings
from hub.websocket import Refused, WebSocket
from streams.mqtt import Acknowledge, Connack, Connect, Packet, PacketType, Publish, decode, encode
from tests.hub.conftest import until
from tests.hub.gateway_world import GatewayWorld, gateway

TIMEOUT_S = 10.0


class Browser:
    """A WebSocket client by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.wire = WSConnection(ConnectionType.CLIENT)

    @classmethod
    async def open(cls, world: GatewayWorld, path: str = "/mqtt", **request: Any) -> Browser:
        port = world.gateway.ports["websocket"]
        made = cls(*await asyncio.open_connection("127.0.0.1", port))
        more: dict[str, Any] = {"host": f"127.0.0.1:{port}", "target": path, "subprotocols": ["mqtt"], **request}
        await made.say(Request(**more))
        return made

    async def say(self, *events: Event) -> None:
        self.writer.write(b"".join(self.wire.send(event) for event in events))
        await self.writer.drain()

    async def send(self, *packets: Packet) -> None:
        await self.say(*[BytesMessage(encode(packet)) for packet in packets])

    async def hear(self) -> Event:
        """The next event; EOFError when the connection is closed."""
        while True:
            for event in self.wire.events():
                return event
            data = await asyncio.wait_for(self.reader.read(65536), TIMEOUT_S)
            if not data:
                raise EOFError
            self.wire.receive_data(data)

    async def read(self) -> Packet:
        event = await self.hear()
        assert isinstance(event, BytesMessage), event
        found = decode(bytes(event.data))
        assert found is not None
        return found[0]


@asynccontextmanager
async def browser(world: GatewayWorld, **request: Any) -> AsyncIterator[Browser]:
    made = await Browser.open(world, **request)
    yield made
    made.writer.close()


WEB = {"websocket": WebSocketSettings(port=0)}


@pytest.mark.parametrize("version", [4, 5])
async def test_paho_over_websocket(version: int) -> None:
    async with gateway(**WEB) as world:

        def work() -> list[bytes]:
            heard: list[bytes] = []
            done, ready = threading.Event(), threading.Event()
            client: Any = paho.Client(
                CallbackAPIVersion.VERSION2, "dev", transport="websockets", protocol=MQTTProtocolVersion(version)
            )
            client.on_connect = lambda *_: client.subscribe("x/#", 1)
            client.on_subscribe = lambda *_: ready.set()
            client.on_message = lambda _, __, message: (heard.append(message.payload), len(heard) == 20 and done.set())
            client.connect("127.0.0.1", world.gateway.ports["websocket"])
            client.loop_start()
            assert ready.wait(TIMEOUT_S)
            for n in range(20):
                client.publish("x/y", b"%d" % n, n % 3).wait_for_publish(TIMEOUT_S)
            client.publish("penstock/v1/dev/frames", bytes(300_000), 1).wait_for_publish(TIMEOUT_S)
            assert done.wait(TIMEOUT_S)
            client.disconnect()
            client.loop_stop()
            return heard

        heard = await asyncio.to_thread(work)
        assert sorted(heard) == sorted(b"%d" % n for n in range(20))
        assert world.intake.payloads == [bytes(300_000)]
        await until(lambda: world.counters["connections"] == 0)


async def test_a_packet_in_many_frames_and_many_packets_in_one() -> None:
    async with gateway(**WEB) as world, browser(world) as client:
        assert isinstance(await client.hear(), AcceptConnection)
        data = encode(Connect("dev"))
        await client.say(*[BytesMessage(data[at : at + 1]) for at in range(len(data))])
        assert await client.read() == Connack()
        await client.say(
            BytesMessage(b"".join(encode(Publish("penstock/v1/dev/frames", b"%d" % n, 1, n)) for n in (1, 2, 3)))
        )
        event = await client.hear()
        assert isinstance(event, BytesMessage)
        assert bytes(event.data) == b"".join(encode(Acknowledge(PacketType.PUBACK, n)) for n in (1, 2, 3))


async def test_pings_of_the_websocket_are_answered_and_its_goodbye_ends_the_connection() -> None:
    async with gateway(**WEB) as world, browser(world) as client:
        await client.hear()
        await client.say(Ping(b"x"))
        assert await client.hear() == Pong(bytearray(b"x"))
        await client.send(Connect("dev"))
        await client.read()
        await client.say(CloseConnection(1000))
        assert isinstance(await client.hear(), CloseConnection)
        await until(lambda: world.intake.history[-1] == "disconnected dev: the client closed the WebSocket")


async def test_text_frames_are_not_mqtt() -> None:
    async with gateway(**WEB) as world, browser(world) as client:
        await client.hear()
        await client.say(TextMessage("hello"))
        event = await client.hear()
        assert isinstance(event, CloseConnection) and event.code == 1003


async def test_a_malformed_packet_ends_the_websocket() -> None:
    async with gateway(**WEB) as world, browser(world) as client:
        await client.hear()
        await client.say(BytesMessage(b"\x00\x00"))
        assert isinstance(await client.hear(), CloseConnection)
        assert world.counters["malformed_packets"] == 1


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({"path": "/other"}, 404, "MQTT is at /mqtt"),
        ({"subprotocols": []}, 400, "subprotocol mqtt"),
        ({"subprotocols": ["chat"]}, 400, "subprotocol mqtt"),
        ({"extra_headers": [(b"Origin", b"https://evil.example")]}, 403, "https://evil.example may not connect"),
        ({"extra_headers": [(b"Origin", b"http://evil.example")], "host": "evil.example"}, 403, "may not connect"),
        ({"extra_headers": [(b"Origin", b"null")]}, 403, "may not connect"),
    ],
)
async def test_who_may_not_connect_is_told_why(request_: dict[str, Any], status: int, says: str) -> None:
    async with gateway(**WEB) as world, browser(world, **request_) as client:
        event = await client.hear()
        assert isinstance(event, RejectConnection) and event.status_code == status
        data = await client.hear()
        assert isinstance(data, RejectData) and says in bytes(data.data).decode()


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8080", "https://hall.example"])
async def test_pages_of_this_address_and_those_that_are_named_may_connect(origin: str) -> None:
    web = WebSocketSettings(port=0, origins=("https://hall.example/",))
    async with (
        gateway(websocket=web) as world,
        browser(world, extra_headers=[(b"Origin", origin.encode())]) as client,
    ):
        assert isinstance(await client.hear(), AcceptConnection)


async def test_junk_on_the_websocket_port_is_refused_and_hurts_nobody() -> None:
    async with gateway(**WEB) as world:
        for junk in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00", bytes(200), encode(Connect("x"))):
            reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.ports["websocket"])
            writer.write(junk)
            writer.write_eof()
            await asyncio.wait_for(reader.read(), TIMEOUT_S)
            writer.close()
        client = await world.client("dev")
        await client.close()


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.binary(min_size=1, max_size=200), max_size=6), opened=st.booleans())
def test_any_bytes_are_framing_or_refused(pieces: list[bytes], opened: bool) -> None:
    """Invariant: nothing but Refused is raised, whatever comes."""
    socket = WebSocket(WebSocketSettings(port=0), write=lambda data: None, take=lambda data: None)
    if opened:
        wire = WSConnection(ConnectionType.CLIENT)
        socket.receive(wire.send(Request(host="localhost", target="/mqtt", subprotocols=["mqtt"])))
    try:
        for piece in pieces:
            socket.receive(piece)
    except Refused:
        return
