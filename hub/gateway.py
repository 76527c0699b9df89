"""The hub's MQTT server, as the rest of the hub sees it: sockets and timers around broker.py."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from hub.broker import TICK_NS, Broker, Memory
from hub.certificates import Certificates
from hub.connection import Hold
from hub.gateway_settings import GatewaySettings
from hub.intake import Authority, Client, Intake
from hub.links import Link, SocketLink, WebSocketLink
from hub.session import OnDelivered
from streams.clock import Clock
from streams.errors import MisuseError
from streams.mqtt import Properties, Property, Publish, Reason
from streams.open_files import allow_files

_log = logging.getLogger("penstock.hub.gateway")

TICK_S = TICK_NS / 1e9
STOP_TIMEOUT_S = 5.0
GOODBYE_TIMEOUT_S = 1.0
RENEW_TICKS = 60
RECEIVE_BYTES = 64 << 10
"""One read; with more, one client's tiny packets would keep the others waiting."""
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
        self.links: set[Link] = set()
        self._closing: set[Link] = set()
        self.ports: dict[str, int] = {}
        """Where it listens, by the kind of link: plain, tls, websocket."""
        self._servers: list[asyncio.Server] = []
        self._certificates: Certificates | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._settled = asyncio.Event()

    # -- starting and stopping ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. MisuseError, with the remedy, when a port is taken or not ours to take, or a file cannot be read."""
        self._loop = asyncio.get_running_loop()
        settings = self.settings
        if settings.tls.certificate is not None:
            self._certificates = Certificates(settings.tls)
        context = self._certificates.context if self._certificates is not None else None
        allow_files(settings.connections_max + FILES_BESIDE_CONNECTIONS, setting="hub.mqtt.connections_max")
        if settings.plain:
            await self._listen("plain", "port", settings.port, lambda: SocketLink(self), None)
        if settings.tls.port is not None:
            await self._listen("tls", "tls.port", settings.tls.port, lambda: SocketLink(self), context)
        web = settings.websocket
        if web.port is not None:
            secure = context if web.tls else None
            await self._listen("websocket", "websocket.port", web.port, lambda: WebSocketLink(self, web), secure)
        self._ticker = asyncio.create_task(self._tick(), name="gateway timeouts")

    async def _listen(
        self, name: str, key: str, port: int, factory: Callable[[], Link], context: ssl.SSLContext | None
    ) -> None:
        assert self._loop is not None
        host = self.settings.host
        more: dict[str, Any] = {}
        if context is not None:
            more = {"ssl": context, "ssl_handshake_timeout": self.settings.connect_timeout_s}
        try:
            server = await self._loop.create_server(cast(Any, factory), host, port, backlog=4096, **more)
        except OSError as error:
            await self._stop_listening()
            taken = error.errno == errno.EADDRINUSE
            why = "is taken by another process; stop that one" if taken else f"cannot be used: {error}; mend that"
            flag = f"--mqtt-{key.replace('.', '-')}"
            raise MisuseError(f"port {port} on {host} {why}, or choose another with hub.mqtt.{key} ({flag})") from None
        self._servers.append(server)
        self.ports[name] = int(server.sockets[0].getsockname()[1])

    @property
    def port(self) -> int:
        """Where it listens: without TLS, if it does so at all."""
        return next(iter(self.ports.values()))

    async def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()

    async def stop(self) -> None:
        """Take no more, let what was taken be acknowledged within a bound, say goodbye."""
        broker = self.broker
        broker.stopping = True
        await self._stop_listening()
        for connection in broker.connections:
            connection.hold(Hold.DISK)
        if not await self._until_settled(lambda: not broker.undurable_bytes, STOP_TIMEOUT_S):
            _log.warning("%d bytes of messages are not on disk and not acknowledged", broker.undurable_bytes)
        for connection in list(broker.connections):
            connection.end(Reason.SERVER_SHUTTING_DOWN, "the hub stops")
        await self._until_settled(lambda: not self.links, GOODBYE_TIMEOUT_S)
        for link in self.links:
            link.abort()
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

    def gone(self, link: Link) -> None:
        """Its socket is closed."""
        self.links.discard(link)
        self._closing.discard(link)
        self._settled.set()

    def closing(self, link: Link) -> None:
        """It was said goodbye to, and has to go."""
        self._closing.add(link)

    def _wake(self) -> None:
        if self._loop is None:
            return
        self._loop.call_soon(self.broker.flush)
        if self.broker.stopping:
            self._settled.set()

    def _renew_certificates(self) -> None:
        try:
            if self._certificates is not None and self._certificates.renew():
                _log.info("the certificate was renewed")
        except MisuseError as error:
            _log.error("the certificate on disk cannot be used, the old one stays in use: %s", error)

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
        for number in itertools.count(1):
            await asyncio.sleep(TICK_S)
            try:
                self.broker.tick()
                if number % RENEW_TICKS == 0:
                    self._renew_certificates()
                for link in list(self._closing):
                    link.check_time(self.broker.now_ns())
            except Exception:  # one bad session must not stop the clock of all others
                _log.exception("the timeouts of the gateway failed")
