"""A real gateway on a free port of loopback, with an intake in memory, and raw sockets to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from hub.authority import DefaultAuthority
from hub.gateway import Gateway
from hub.gateway_settings import GatewaySettings
from streams.clock import SystemClock
from streams.mqtt import Connack, Connect, Packet, decode, encode
from tests.hub.mqtt_world import MemoryIntake

TIMEOUT_S = 10.0


class GatewayWorld:
    """A gateway that listens."""

    def __init__(self, **settings: Any) -> None:
        self.intake = MemoryIntake()
        self.settings = GatewaySettings(port=0, **settings)
        self.gateway = Gateway(
            self.settings, intake=self.intake, authority=DefaultAuthority(self.settings), clock=SystemClock()
        )

    @property
    def port(self) -> int:
        return self.gateway.port

    @property
    def counters(self) -> dict[str, int]:
        return self.gateway.counters

    async def client(
        self, client_id: str, version: int = 4, *, receive_bytes: int | None = None, **more: Any
    ) -> RawClient:
        """A raw client that is connected."""
        client = await RawClient.open(self.port, version, receive_bytes=receive_bytes)
        await client.send(Connect(client_id, version, **more))
        assert isinstance(await client.read(), Connack)
        return client


@contextlib.asynccontextmanager
async def gateway(**settings: Any) -> AsyncIterator[GatewayWorld]:
    world = GatewayWorld(**settings)
    await world.gateway.start()
    try:
        yield world
    finally:
        await world.gateway.stop()


class RawClient:
    """A socket and the codec."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int) -> None:
        self.reader, self.writer, self.version = reader, writer, version
        self._buffer = b""

    @classmethod
    async def open(cls, port: int, version: int = 4, *, receive_bytes: int | None = None) -> RawClient:
        """Connect. `receive_bytes`: how much the kernel takes for a client that does not read."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock), version)

    async def send(self, *packets: Packet) -> None:
        await self.send_bytes(b"".join(encode(packet, self.version) for packet in packets))

    async def send_bytes(self, data: bytes) -> None:
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), TIMEOUT_S)

    async def read(self) -> Packet:
        """The next packet. EOFError when the gateway has closed the connection."""
        while (found := decode(self._buffer, version=self.version)) is None:
            data = await asyncio.wait_for(self.reader.read(65536), TIMEOUT_S)
            if not data:
                raise EOFError
            self._buffer += data
        self._buffer = self._buffer[found[1] :]
        return found[0]

    async def until_closed(self) -> bytes:
        """Everything that still comes before the gateway closes the connection."""
        with contextlib.suppress(ConnectionError):
            return self._buffer + await asyncio.wait_for(self.reader.read(), TIMEOUT_S)
        return self._buffer

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
