"""The sockets of the gateway's clients: plain and TLS, and WebSocket, each around a Connection that does no I/O."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from hub.certificates import common_name
from hub.connection import Connection
from hub.gateway_settings import WebSocketSettings
from hub.websocket import Refused, WebSocket

if TYPE_CHECKING:
    from hub.gateway import Gateway

CLOSE_TIMEOUT_S = 5.0
WRITE_BUFFER_BYTES = 256 << 10


class Link:
    """What all of them share."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        self.write: Callable[[bytes], None] = self._transport.write
        self.pause_reading = self._transport.pause_reading
        self.resume_reading = self._transport.resume_reading
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        _set_keepalive(transport.get_extra_info("socket"))
        host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
        certificate = common_name(transport.get_extra_info("peercert"))
        self._connection = Connection(self._gateway.broker, self, f"{host}:{port}", certificate=certificate)
        self._gateway.links.add(self)
        self._gateway.broker.open(self._connection)

    def pause_writing(self) -> None:
        self._connection.on_stalled()

    def resume_writing(self) -> None:
        self._connection.on_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gateway.broker.closed(self._connection, str(exc) if exc else "the client closed the connection")
        self._gateway.gone(self)

    def close(self) -> None:
        """Send what was written, then end."""
        self._gateway.closing(self)
        self._transport.close()

    def check_time(self, now_ns: int) -> None:
        """A peer that does not read its goodbye is cut off."""
        connection = self._connection
        if connection.ended and now_ns - connection.ended_ns > CLOSE_TIMEOUT_S * 1e9:
            self.abort()

    def abort(self) -> None:
        self._transport.abort()


class SocketLink(Link, asyncio.BufferedProtocol):
    """MQTT as it is, with or without TLS."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self._buffer = gateway.buffer

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.receive(bytes(self._buffer[:nbytes]))


class WebSocketLink(Link, asyncio.Protocol):
    """MQTT in the frames of a WebSocket."""

    def __init__(self, gateway: Gateway, settings: WebSocketSettings) -> None:
        super().__init__(gateway)
        self._settings = settings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        write = cast(asyncio.Transport, transport).write
        self._socket = WebSocket(self._settings, write=write, take=lambda data: self._connection.receive(data))
        super().connection_made(transport)
        self.write = self._socket.send

    def data_received(self, data: bytes) -> None:
        try:
            self._socket.receive(data)
        except Refused as reason:
            self._gateway.broker.closed(self._connection, str(reason))

    def close(self) -> None:
        self._socket.close()
        super().close()


def _set_keepalive(sock: socket.socket | None) -> None:
    """A client of 3.1.1 may have no keep-alive: then the kernel finds out that its machine is gone."""
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 120), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
