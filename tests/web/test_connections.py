"""Connections: half a request is not waited for, and who comes when all places are taken is told so, quietly."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from hub.web.connections import SAY_EVERY_NS, Door
from hub.web.server import listen, uvicorn_config
from streams.clock import ManualClock

REQUEST_S = 0.3
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body that it got; a WebSocket says hello when it is spoken to."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "hello"})
    elif scope["type"] == "http":
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(door: Door) -> AsyncIterator[int]:
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn_config(echo, door))
    server.config.lifespan = "off"
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = server.force_exit = True
        await task


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := await asyncio.wait_for(reader.read(65536), 10):
            said += data
    return said


def door(connections_max: int = 50) -> Door:
    return Door(ManualClock(), connections_max=connections_max, request_s=REQUEST_S)


@pytest.mark.parametrize("sent", [HEAD, b"G"])
async def test_half_a_head_is_timed_out(sent: bytes) -> None:
    async with serving(door()) as port, connected(port) as (reader, writer):
        writer.write(sent)
        assert (await rest(reader)).startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving(door()) as port, connected(port) as (reader, _):
        assert await rest(reader) == b""


async def test_half_a_body_is_timed_out() -> None:
    async with serving(door()) as port, connected(port) as (reader, writer):
        writer.write(HEAD.replace(b"GET", b"POST") + b"Content-Length: 10\r\n\r\nhalf")
        assert await rest(reader) == b""


async def test_half_a_second_request_is_timed_out() -> None:
    async with serving(door()) as port, connected(port) as (reader, writer):
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(HEAD)
        assert b"HTTP/1.1 408 " in await rest(reader)


async def test_a_head_without_end_is_refused() -> None:
    async with serving(Door(ManualClock(), connections_max=5)) as port, connected(port) as (reader, writer):
        writer.write(HEAD + b"X: " + b"x" * 200_000)
        assert (await rest(reader)).startswith(b"HTTP/1.1 400 ")


async def test_a_websocket_stays_for_as_long_as_it_likes() -> None:
    async with serving(door()) as port, connected(port) as (reader, writer):
        writer.write(
            HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 3 * REQUEST_S)
        writer.write(b"\x81\x81\0\0\0\0x")
        assert b"hello" in await asyncio.wait_for(reader.readuntil(b"hello"), 10)


async def test_who_comes_when_all_places_are_taken_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    full = Door(ManualClock(), connections_max=2)
    async with serving(full) as port, contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            reader, writer = await stack.enter_async_context(connected(port))
            writer.write(HEAD + b"\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        for _ in range(3):
            async with connected(port) as (reader, writer):
                writer.write(HEAD + b"\r\n")
                said = await rest(reader)
                assert said.startswith(b"HTTP/1.1 503 ") and b"retry-after" in said
    assert [each.message for each in caplog.records if each.name == "penstock.web"] == [
        "all 2 places for connections are taken (setting web.connections_max); turned away: 1"
    ]


def test_it_is_said_once_a_minute_and_counts_all(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    full = Door(clock, connections_max=2)
    with caplog.at_level(logging.WARNING, "penstock.web"):
        for _ in range(1000):
            full.refuse()
        clock.advance(SAY_EVERY_NS / 1e9)
        full.refuse()
    assert [each.message.split()[-1] for each in caplog.records] == ["1", "1000"]
