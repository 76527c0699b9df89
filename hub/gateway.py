"""The hub's MQTT server, as the rest of the hub sees it: sockets and timers around broker.py."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
from collections import Counter
from collections.abc import Callable
from typing import cast

from hub.broker import TICK_NS, Broker, Memory
from hub.connection import Connection, Hold
from hub.gateway_settings import GatewaySettings
from hub.intake import Authority, Client, Intake
from hub.session import OnDelivered
from streams.clock import Clock
from streams.errors import MisuseError
from streams.mqtt import Properties, Property, Publish, Reason

_log = logging.getLogger("penstock.hub.gateway")

TICK_S = TICK_NS / 1e9
STOP_TIMEOUT_S = 5.0
GOODBYE_TIMEOUT_S = 1.0
CLOSE_TIMEOUT_S = 5.0
RECEIVE_BYTES = 64 << 10
"""One read; with more, one client's tiny packets would keep the others waiting."""
WRITE_BUFFER_BYTES = 256 << 10
FILES_BESIDE_CONNECTIONS = 256


class Gateway:
    """An MQTT 3.1.1 and 5.0 server. All methods are called in the event loop."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        intake: Intake,
        authority: Authority,
        clock: Clock,
        memory: Memory | None = None,
    ) -> None:
        self.settings = settings
        self.buffer = memoryview(bytearray(RECEIVE_BYTES))
        """What every socket is read into: a read is over before the next one begins."""
        self.broker = Broker(settings, intake=intake, authority=authority, clock=clock, wake=self._wake, memory=memory)
        self.protocols: set[_Protocol] = set()
        self._closing: set[_Protocol] = set()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settled = asyncio.Event()

    # -- starting and stopping ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. MisuseError, with the remedy, when the port is taken or not ours to take."""
        self._loop = asyncio.get_running_loop()
        _allow_files(self.settings.connections_max + FILES_BESIDE_CONNECTIONS)
        host, port = self.settings.host, self.settings.port
        try:
            self._server = await self._loop.create_server(lambda: _Protocol(self), host, port, backlog=4096)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "is taken by another process; stop that one" if taken else f"cannot be used: {error}; mend that"
            raise MisuseError(
                f"port {port} on {host} {why}, or choose another with hub.mqtt.port (--mqtt-port)"
            ) from None
        self._ticker = asyncio.create_task(self._tick(), name="gateway timeouts")

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Take no more, let what was taken be acknowledged within a bound, say goodbye."""
        broker = self.broker
        broker.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in broker.connections:
            connection.hold(Hold.DISK)
        if not await self._until_settled(lambda: not broker.undurable_bytes, STOP_TIMEOUT_S):
            _log.warning("%d bytes of messages are not on disk and not acknowledged", broker.undurable_bytes)
        for connection in list(broker.connections):
            connection.end(Reason.SERVER_SHUTTING_DOWN, "the hub stops")
        await self._until_settled(lambda: not self.protocols, GOODBYE_TIMEOUT_S)
        for protocol in self.protocols:
            protocol.abort()
        if self._ticker is not None:
            self._ticker.cancel()

    # -- what the hub may do -----------------------------------------------------------------------------------------

    @property
    def counters(self) -> Counter[str]:
        """What happened so far; "connections" is how many there are now."""
        return self.broker.counters

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> int:
        """Publish to all subscribers; returns how many sessions took it."""
        properties: Properties = {} if expiry_s is None else {Property.MESSAGE_EXPIRY_INTERVAL: expiry_s}
        packet = Publish(topic, payload, qos, 0, retain, False, properties)
        return self.broker.route(topic, packet, sender=None).reached

    def publish_to(
        self, client_id: str, topic: str, payload: bytes, *, qos: int = 1, on_delivered: OnDelivered | None = None
    ) -> bool:
        """Publish to one client that is connected and subscribed to the topic; False when it is not, or has no room.

        `on_delivered(True)` after its acknowledgement (QoS 0: when it is sent), `on_delivered(False)` when it refused
        the message or its session ended before. After False nothing is called.
        """
        return self.broker.publish_to(client_id, topic, payload, qos, on_delivered)

    def connected_clients(self) -> list[Client]:
        """Everybody whose CONNECT was accepted and who is still there."""
        return self.broker.connected_clients()

    # -- inside ------------------------------------------------------------------------------------------------------

    def gone(self, protocol: _Protocol) -> None:
        """Its socket is closed."""
        self.protocols.discard(protocol)
        self._closing.discard(protocol)
        self._settled.set()

    def closing(self, protocol: _Protocol) -> None:
        """It was said goodbye to, and has to go."""
        self._closing.add(protocol)

    def _wake(self) -> None:
        if self._loop is None:
            return
        self._loop.call_soon(self.broker.flush)
        if self.broker.stopping:
            self._settled.set()

    async def _until_settled(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `done`, but not for ever; returns whether it is."""
        try:
            async with asyncio.timeout(timeout_s):
                while not done():
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return False
        return True

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.broker.tick()
                for protocol in list(self._closing):
                    protocol.check_time(self.broker.now_ns())
            except Exception:  # one bad session must not stop the clock of all others
                _log.exception("the timeouts of the gateway failed")


class _Protocol(asyncio.BufferedProtocol):
    """One socket."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._buffer = gateway.buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        self.write = self._transport.write
        self.pause_reading = self._transport.pause_reading
        self.resume_reading = self._transport.resume_reading
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        _set_keepalive(transport.get_extra_info("socket"))
        host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
        self._connection = Connection(self._gateway.broker, self, f"{host}:{port}")
        self._gateway.protocols.add(self)
        self._gateway.broker.open(self._connection)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._connection.receive(bytes(self._buffer[:nbytes]))

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


def _set_keepalive(sock: socket.socket | None) -> None:
    """A client of 3.1.1 may have no keep-alive: then the kernel finds out that its machine is gone."""
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 120), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _allow_files(wanted: int) -> None:
    """A connection is an open file: raise this process' limit as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _log.warning(
            "only %d open files are allowed, hub.mqtt.connections_max needs %d: raise ulimit -n", allowed, wanted
        )
