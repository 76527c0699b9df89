"""A broker of somebody else in front of the hub: stays connected to it, and tells devices how far they are on disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any

from hub.bridge_session import BridgeSession, Lost, State
from hub.bridge_settings import BridgeSettings
from hub.events import dump
from hub.intake import Intake
from hub.quiet import Quiet
from streams import names
from streams.clock import Clock
from streams.errors import MisuseError

_log = logging.getLogger("penstock.hub.bridge")

TICK_S = 0.5
RETRY_FIRST = 0.1
STOP_TIMEOUT_S = 5.0
SPANS_MAX = 100
"""Of one epoch; what is left out is told when it has become one span with its neighbours."""

Received = Callable[[str], list[tuple[int, list[tuple[int, int]]]]]
"""What the hub has of a device on disk: epochs, each with the ranges of its numbers, half open."""


class Bridge:
    """The hub as a client of a broker. All methods are called in the event loop."""

    def __init__(self, settings: BridgeSettings, *, intake: Intake, received: Received, clock: Clock) -> None:
        self.settings = settings
        self.session = BridgeSession(settings, intake=intake, now_ns=clock.monotonic_ns)
        self._received = received
        self._clock = clock
        self._quiet = Quiet(clock)
        self._dirty: dict[str, None] = {}
        self._context: ssl.SSLContext | None = _context(settings) if settings.tls else None
        self._stopping = self._losing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._gone, self._wrote = asyncio.Event(), asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self.problem: str | None = "it has not been reached yet"
        """Why the broker is not read from; None when it is."""

    @property
    def counters(self) -> Counter[str]:
        return self.session.counters

    @property
    def is_open(self) -> bool:
        return self.session.state is State.OPEN

    def start(self) -> None:
        """Connect, and stay connected."""
        self._tasks = [
            asyncio.create_task(self._stay_connected(), name="broker"),
            asyncio.create_task(self._look_after(), name="broker timeouts"),
            asyncio.create_task(self._tell_devices(), name="committed"),
        ]

    async def stop(self) -> None:
        """Let what was taken be acknowledged within a bound, say goodbye."""
        self._stopping = True
        if self._transport is not None:
            self._transport.pause_reading()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                while self.session.unacknowledged:
                    self._wrote.clear()
                    await self._wrote.wait()
        self.session.say_goodbye()
        if self._transport is not None:
            self._transport.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def publish(self, device: str, topic: str, payload: bytes) -> bool:
        """Send a device a command or a request. False when it was not heard since it left."""
        return self.session.publish(device, topic, payload)

    def on_frame(self, device: str) -> None:
        """A frame of a device is on disk."""
        self._dirty[device] = None

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        pause_s = self.settings.retry_s_max * RETRY_FIRST
        while not self._stopping:
            self._gone.clear()
            connects = self.session.counters["connects"]
            try:
                await self._connect()
            except (OSError, TimeoutError, ssl.SSLError) as error:
                self._lost(f"it cannot be reached: {str(error) or 'no answer in time'}")
            else:
                await self._gone.wait()
                if self.session.counters["connects"] > connects:
                    pause_s = self.settings.retry_s_max * RETRY_FIRST
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self.settings.retry_s_max)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        more: dict[str, Any] = {}
        if self._context is not None:
            more = {"ssl": self._context, "server_hostname": self.settings.host}
        async with asyncio.timeout(self.settings.connect_timeout_s):
            await loop.create_connection(lambda: _Link(self), self.settings.host, self.settings.port, **more)

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.session.tick()
            except Lost as lost:
                self.lose(str(lost))

    async def _tell_devices(self) -> None:
        """Publish, for each device that sent something, how far it is on disk (docs/protocol.md, "Committed")."""
        while True:
            await asyncio.sleep(self.settings.committed_interval_s)
            if not self.is_open:
                continue
            for device in list(self._dirty):
                if not self.session.publish(
                    device, names.topic(device, names.COMMITTED), self._committed(device), retain=True
                ):
                    break  # the broker is behind; the next time
                self._dirty.pop(device, None)

    def _committed(self, device: str) -> bytes:
        epochs = [
            {"epoch": epoch, "received": [list(span) for span in spans[:SPANS_MAX]]}
            for epoch, spans in self._received(device)
        ]
        return dump({"committed": epochs, "time_ms": self._clock.time_ns() // 1_000_000})

    # -- the link ----------------------------------------------------------------------------------------------------

    def on_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

        def write(data: bytes) -> None:
            transport.write(data)
            self._wrote.set()

        self.session.begin(write, self.lose)

    def on_data(self, data: bytes) -> None:
        try:
            self.session.receive(data)
        except Lost as lost:
            self.lose(str(lost))
            return
        if self.is_open and self.problem is not None:
            self.problem = None
            _log.info("reads from the broker at %s:%d", self.settings.host, self.settings.port)

    def on_gone(self, error: Exception | None) -> None:
        self._transport = None
        self.session.end()
        self._wrote.set()
        if not self._losing:
            self._lost(f"the connection broke: {error}" if error else "it closed the connection")
        self._losing = False
        self._gone.set()

    def lose(self, reason: str) -> None:
        """End the connection, and begin another one later."""
        self._lost(reason)
        if self._transport is not None:
            self._losing = True
            self._transport.abort()

    def _lost(self, reason: str) -> None:
        if self._stopping:
            return
        self.problem = reason
        held_back = self._quiet.due("lost")
        if held_back is not None:
            _log.warning("the broker at %s:%d: %s", self.settings.host, self.settings.port, reason)


class _Link(asyncio.Protocol):
    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._bridge.on_made(transport)  # type: ignore[arg-type]  # uvloop's is one by its methods alone

    def data_received(self, data: bytes) -> None:
        self._bridge.on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._bridge.on_gone(exc)


def _context(settings: BridgeSettings) -> ssl.SSLContext:
    for name, path in (("ca", settings.ca), ("certificate", settings.certificate), ("key", settings.key)):
        if path is not None and not path.is_file():
            raise MisuseError(f"hub.broker.{name}: there is no file {path}; name one, or leave it out")
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.key)
    except (ssl.SSLError, OSError) as error:
        raise MisuseError(f"hub.broker: its certificate files cannot be used: {error}; mend them") from None
    return context
