"""The hub process: wires the gateway, the log, the projections and the control API, and keeps them going."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hub.accounts import Accounts
from hub.admission import Admission
from hub.authority import DefaultAuthority
from hub.bridge import Bridge
from hub.commands import Commands
from hub.control import ControlApi
from hub.dispatch import Dispatcher
from hub.epochs import Epochs
from hub.events import Event, FrameEvent
from hub.fast_loop import fast_loop, tune
from hub.gateway import Gateway
from hub.ingest import Ingest
from hub.journal import Journal
from hub.keys import Keys
from hub.projections import Projection, Projections
from hub.registry import Registry
from hub.session_log import SEGMENT_BYTES as SESSION_SEGMENT_BYTES
from hub.session_log import SessionLog
from hub.settings import HubSettings
from hub.translations import Translations
from hub.translator import Translator
from streams import names
from streams.clock import Clock, SystemClock
from streams.control import serving
from streams.files import DirectoryLock, DiskFiles, Files
from streams.log import EventLog, LogSettings
from streams.metrics import Metrics

_log = logging.getLogger("penstock.hub")

OWNER = "penstock hub"
RETENTION_S = 60.0
SESSIONS_S = 2.0
MARKS_S = 30.0
DAY_S = 86_400.0


def run(settings: HubSettings, data: Path) -> int:
    """Run the hub on the data directory `data` until SIGTERM or SIGINT; returns the exit status.

    Raises MisuseError when another hub uses the directory, or the MQTT port is taken.
    """
    lock = DirectoryLock(data / "hub", owner=OWNER)
    try:
        with asyncio.Runner(loop_factory=fast_loop()) as runner:
            return runner.run(_run(settings, data))
    finally:
        lock.release()


async def _run(settings: HubSettings, data: Path) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    hub = Hub(settings, data, clock=SystemClock(), files=DiskFiles())
    tune()
    return await hub.run(stop)


class Hub:
    """All parts of the hub."""

    def __init__(self, settings: HubSettings, data: Path, *, clock: Clock, files: Files) -> None:
        self._settings = settings
        self._data = data
        self._clock = clock
        self._files = files
        self._started_ns = clock.monotonic_ns()
        self.metrics = Metrics()
        self.registry = Registry()
        self.accounts = Accounts()
        self.commands = Commands(kept_max=settings.commands.kept_max)
        translations = Translations()
        projections: list[Projection] = [self.registry, self.accounts, self.commands, translations]
        self._projections = Projections(data / "hub", files, projections)
        self._journal = Journal(self._projections, clock=clock, react=self._react)
        self.dispatcher = Dispatcher(
            self.commands,
            self.registry,
            self._journal,
            publish=self._publish,
            keys=Keys(clock, os.urandom),
            clock=clock,
            settings=settings.commands,
            metrics=self.metrics,
        )
        self._translator = Translator(
            self._journal, translations, clock=clock, series_max=settings.devices.learnt_series_max
        )
        self._ingest = Ingest(
            self._journal,
            self.registry,
            publish=self._publish,
            translator=self._translator,
            watch=self.dispatcher,
            clock=clock,
            metrics=self.metrics,
        )
        self.admission = Admission(
            DefaultAuthority(settings.mqtt), settings.devices, self.registry, clock=clock, metrics=self.metrics
        )
        self._sessions = SessionLog(self._journal, clock)
        self.gateway = Gateway(
            settings.mqtt, intake=self._ingest, authority=self.admission, clock=clock, memory=self._sessions
        )
        self._epochs = Epochs(self.accounts, self._publish)
        self.bridge: Bridge | None = None
        if settings.broker.host:
            self.bridge = Bridge(settings.broker, intake=self._ingest, received=self.accounts.received_of, clock=clock)
        self._log: EventLog | None = None
        self._show_counters("mqtt", self.gateway.counters, "the gateway")
        if self.bridge is not None:
            self._show_counters("broker", self.bridge.counters, "the connection to the broker")

    async def run(self, stop: asyncio.Event) -> int:
        """Open the log, serve until `stop` is set or a part dies, close in the order of the data; the exit status."""
        log = await asyncio.to_thread(self._open_log)
        try:
            folded = await asyncio.to_thread(self._start_projections, log)
            self._log = log
            self._journal.attach(log, {name: each.partitions for name, each in self._streams().items()})
            self._ingest.correct("the hub was restarted")
            self._sessions.restore(log, self.gateway.broker, self._folded())
            self.gateway.broker.restored()
            await self._note_positions()
            await self.gateway.start()
            if self.bridge is not None:
                self.bridge.start()
            try:
                async with serving(ControlApi(self).application(), self._data / "run" / "hub.sock"):
                    where = f"{self._settings.mqtt.host}:{self.gateway.port}"
                    _log.info("ready: MQTT on %s, %d devices, %d events folded", where, len(self.registry), folded)
                    return await self._serve(stop)
            finally:
                if self.bridge is not None:
                    await self.bridge.stop()
                await self.gateway.stop()
                await self._translator.idle()
        finally:
            self._journal.hand_over()
            await asyncio.to_thread(log.close)
            await asyncio.sleep(0)  # what the last commits were waited for with
            await self._save()
            _log.info("stopped; everything acknowledged is on disk")

    def health(self) -> dict[str, Any]:
        """How the hub is, for the control API."""
        problems = self._problems()
        counters = self.gateway.counters
        return {
            "status": "degraded" if problems else "ok",
            "problems": problems,
            "uptime_s": (self._clock.monotonic_ns() - self._started_ns) / 1e9,
            "mqtt": {
                "host": self._settings.mqtt.host,
                "port": self.gateway.port,
                "connections": len(self.gateway.connected_clients()),
                "messages_in": counters.get("messages_in", 0),
                "messages_out": counters.get("messages_out", 0),
            },
            "log": {stream: self._stream_health(stream) for stream in self._streams()},
        }

    def positions(self) -> list[dict[str, int]]:
        """Up to which offset of each partition of telemetry the accounts stand."""
        return [
            {"partition": partition, "offset": self._projections.position(names.TELEMETRY, partition)}
            for partition in range(self._settings.log.partitions)
        ]

    async def _serve(self, stop: asyncio.Event) -> int:
        """Wait for `stop`; a task that dies is loud and ends the process with status 1."""
        waiting = asyncio.create_task(stop.wait(), name="wait for a signal")
        tasks = {waiting, *(asyncio.create_task(each, name=name) for name, each in self._periodic().items())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if stop.is_set():
            return 0
        for task in done:
            _log.critical("the task %r died; the hub stops", task.get_name(), exc_info=task.exception())
        return 1

    def _periodic(self) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "commands": _every(1.0, self._look_after_commands),
            "snapshots": _every(self._settings.snapshot_interval_s, self._save),
            "retention": _every(RETENTION_S, self._delete_old),
            "sessions": _every(SESSIONS_S, self._shorten_sessions),
            "marks": _every(MARKS_S, self._note_positions),
        }

    async def _look_after_commands(self) -> None:
        self._ingest.correct("its connection ended while the log could not be written")
        self.dispatcher.tick()

    async def _save(self) -> None:
        snapshots = self._projections.changed()
        try:
            await asyncio.to_thread(self._projections.write, snapshots)
        except OSError as error:  # they only save time: the log has everything
            _log.error("cannot save snapshots in %s: %s; free some space", self._data / "hub", error)

    def _show_counters(self, what: str, counters: Counter[str], whose: str) -> None:
        for name in counters.keys() - {"connections"}:
            shown = self.metrics.counter(f"penstock_hub_{what}_{name}_total", f"What {whose} counts as {name}.")
            shown.follow(partial(counters.__getitem__, name))
        if "connections" in counters:
            connections = self.metrics.gauge("penstock_hub_mqtt_connections", "Connections of the gateway now.")
            connections.follow(lambda: counters["connections"])

    def _problems(self) -> list[str]:
        log = self._opened()
        found = [*log.health(), *([self._journal.problem] if self._journal.problem else [])]
        stuck = [f"the event log takes nothing, devices keep their readings: {each}" for each in dict.fromkeys(found)]
        return [*stuck, *self._broker_problems(), *self.accounts.problems(self._clock.time_ns() // 1_000_000)]

    def _broker_problems(self) -> list[str]:
        if self.bridge is None or self.bridge.problem is None:
            return []
        where = f"{self._settings.broker.host}:{self._settings.broker.port}"
        return [f"the broker at {where} is not read from, it keeps what devices send: {self.bridge.problem}"]

    def _stream_health(self, stream: str) -> dict[str, Any]:
        log = self._opened()
        partitions = range(self._streams()[stream].partitions)
        return {"end": [log.end_offset(stream, each) for each in partitions], "bytes": log.size_bytes(stream)}

    def _streams(self) -> dict[str, LogSettings]:
        """The streams that the hub writes. What it knows of devices is never deleted, what they measured is."""
        log = self._settings.log
        few = LogSettings(segment_bytes=log.segment_bytes, commit_interval_ms=log.commit_interval_ms)
        telemetry = replace(
            few,
            partitions=log.partitions,
            retention_s=log.retention_days * DAY_S or None,
            retention_bytes=log.retention_bytes // log.partitions or None,
        )
        sessions = replace(few, segment_bytes=SESSION_SEGMENT_BYTES)
        return {names.TELEMETRY: telemetry, names.DEVICES: few, names.COMMANDS: few, names.SESSIONS: sessions}

    def _open_log(self) -> EventLog:
        return EventLog.open(
            self._data / "log",
            self._streams(),
            files=self._files,
            clock=self._clock,
            on_commit=self._journal.on_commit,
            owner=OWNER,
        )

    def _opened(self) -> EventLog:
        assert self._log is not None
        return self._log

    def _start_projections(self, log: EventLog) -> int:
        return self._projections.start({place: log.reader(*place) for place in self._folded()})

    def _folded(self) -> list[tuple[str, int]]:
        """The partitions that projections are folded from."""
        return [
            (name, number)
            for name, each in self._streams().items()
            if name != names.SESSIONS
            for number in range(each.partitions)
        ]

    async def _note_positions(self) -> None:
        self._sessions.note_positions({place: self._projections.position(*place) for place in self._folded()})

    async def _shorten_sessions(self) -> None:
        await self._sessions.shorten(self._opened(), self.gateway.broker)

    async def _delete_old(self) -> None:
        removed = await asyncio.to_thread(self._opened().enforce_retention)
        if removed:
            _log.info("%d old segments of the log were deleted", removed)

    def _publish(self, device: str, topic: str, payload: bytes) -> bool:
        if self.gateway.publish_to(device, topic, payload, qos=1):
            return True
        return self.bridge is not None and self.bridge.publish(device, topic, payload)

    def _react(self, event: Event) -> None:
        self._ingest.react(event)
        if self.bridge is not None and isinstance(event, FrameEvent):
            self.bridge.on_frame(event.device)
        self._epochs.react(event)
        self.dispatcher.react(event)


async def _every(interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(interval_s)
        await work()
