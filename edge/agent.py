"""The agent, wired: sensors -> sampler -> recorder (journal, spool) -> uplink -> hub, and commands back.

Sources start last and stop first. An `Agent` has no global state and handles no signals: many may live in one process.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import random
import signal
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from edge.backoff import Backoff
from edge.clock_quality import system_clock_quality
from edge.command_runner import CommandRunner
from edge.commands.command import CommandContext
from edge.commands.registry import make_commands
from edge.inbox import Inbox
from edge.inspection import check, read_once, spool_status
from edge.manifest import Manifest, make_manifest
from edge.opening import open_sensors
from edge.readings import latest_readings
from edge.recorder import Recorder
from edge.sampler import SampledSensor, Sampler
from edge.sensors.health import Health, HealthSensor
from edge.sensors.registry import make_sensors
from edge.sensors.sensor import Sensor
from edge.settings import EdgeSettings
from edge.storage import Storage, open_storage
from edge.uplink import Uplink
from edge.version import agent_name
from edge.waiting import wait_at_most
from streams.clock import Clock, SystemClock
from streams.errors import MisuseError, PenstockError
from streams.files import DirectoryLock, DiskFiles, Files

__all__ = ["Agent", "check", "read_once", "run", "spool_status"]

_log = logging.getLogger(__name__)

_SAVE_INTERVAL_S = 30.0
_SAVE_AT_ONCE_S = 1.0
_UNSAVED_FRAMES_MAX = 16
"""When so many frames are freed it is saved within a second: a life shorter than the interval sends few of them again.
Saving costs the flash about three small writes, so a sixteenth of that a frame at most."""


class Agent:
    """One device: its sensors, its state directory, its connection to the hub."""

    def __init__(
        self,
        settings: EdgeSettings,
        state: Path,
        *,
        sensors: Sequence[Sensor] | None = None,
        files: Files | None = None,
        clock: Clock | None = None,
        executor: Executor | None = None,
        randomness: random.Random | None = None,
    ) -> None:
        """`sensors` replace those of the settings; `executor` (disk work) may be shared by many agents."""
        self._settings = settings
        self._state = state
        self._files = files or DiskFiles()
        self._clock = clock or SystemClock()
        self._executor = executor
        self._randomness = randomness or random.Random()
        self._given = sensors
        self._sampled: list[SampledSensor] = []
        self._sampler: Sampler | None = None
        self._storage: Storage | None = None
        self._oldest_ms: int | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then seal, send what can be sent within the stop time-out, and say goodbye.

        MisuseError when the state directory is in use or belongs to another device.
        """
        lock = DirectoryLock(self._state, owner=f"the edge agent of {self._settings.device_id}")
        own = ThreadPoolExecutor(1, thread_name_prefix="edge disk") if self._executor is None else None
        try:
            await self._run(stop, self._executor or own)
        finally:
            if own is not None:
                own.shutdown(wait=False)
            lock.release()

    async def _run(self, stop: asyncio.Event, executor: Executor | None) -> None:
        self._sampled = await open_sensors(self._sensors(), self._settings, self._clock)
        recorder = Recorder(self._settings, clock=self._clock, executor=executor, clock_quality=system_clock_quality)
        self._sampler = Sampler(
            self._sampled,
            clock=self._clock,
            record=recorder.record,
            read_timeout_s=self._settings.read_timeout_s,
            time_step_us=self._settings.time_step_us,
        )
        sampling = asyncio.create_task(self._sampler.run(stop), name="sampler")
        try:
            if (storage := await self._open_storage(recorder, stop)) is None:
                return
            self._storage = storage
            try:
                await self._serve(storage, recorder, sampling, executor, stop)
            finally:
                await _end(sampling)  # sources stop first, whatever it was that ended us
                await recorder.in_disk_order(storage.close)
        finally:
            await _end(sampling)

    async def _serve(
        self,
        storage: Storage,
        recorder: Recorder,
        sampling: asyncio.Task[None],
        executor: Executor | None,
        stop: asyncio.Event,
    ) -> None:
        uplink = Uplink(self._settings, storage, recorder, clock=self._clock, randomness=self._randomness)
        commands = self._commands(uplink, executor)
        uplink.commands = commands
        recorder.on_sealed = uplink.on_sealed
        recorder.start(storage)
        sealed = asyncio.Event()
        recording = asyncio.create_task(recorder.run(stop), name="recorder")
        sending = asyncio.create_task(uplink.run(sealed), name="uplink")
        others = [
            asyncio.create_task(commands.open(), name="command inbox"),
            asyncio.create_task(self._keep_house(storage, recorder), name="housekeeping"),
            asyncio.create_task(self._save_freed(storage, recorder), name="saving what is freed"),
        ]
        try:
            await _first_failure([sampling, recording, sending, *others], stop)
            await sampling
            await recording
            sealed.set()
            await asyncio.wait([sending], timeout=self._settings.stop_timeout_s + 2.0)
        finally:
            await _end(sampling, recording, sending, *others)
            await commands.close()

    # -- parts -------------------------------------------------------------------------------------------------------

    def _sensors(self) -> list[Sensor]:
        sensors = list(self._given) if self._given is not None else make_sensors(self._settings.sensors)
        if self._settings.health_interval_s > 0:
            sensors.append(HealthSensor(self._settings.health_interval_s, self._health))
        return sensors

    def _manifest(self) -> Manifest:
        numbered = [pair for each in self._sampled for pair in zip(each.numbers, each.series)]
        return make_manifest(numbered, model=self._model(), agent=agent_name(), labels=self._settings.labels)

    def _model(self) -> str:
        if self._settings.model:
            return self._settings.model
        try:
            return Path("/proc/device-tree/model").read_text("utf-8").strip("\0\n ")
        except (OSError, UnicodeDecodeError):
            return f"{platform.system()} {platform.machine()}"

    def _commands(self, uplink: Uplink, executor: Executor | None) -> CommandRunner:
        started_ns = self._clock.monotonic_ns()
        context = CommandContext(
            device=self._settings.device_id,
            agent=agent_name(),
            model=self._model(),
            uptime_s=lambda: (self._clock.monotonic_ns() - started_ns) / 1e9,
            readings=lambda: latest_readings(self._sampled),
        )
        inbox = Inbox(
            self._state / "inbox", files=self._files, clock=self._clock, kept_max=self._settings.commands_kept_max
        )
        return CommandRunner(
            self._settings,
            inbox,
            make_commands(),
            context,
            clock=self._clock,
            executor=executor,
            send=uplink.send_result,
        )

    async def _open_storage(self, recorder: Recorder, stop: asyncio.Event) -> Storage | None:
        """Open the state; while the disk does not let it, readings wait in memory. None when stopped before."""
        manifest = self._manifest()
        backoff = Backoff(first_s=1.0, longest_s=60.0, randomness=self._randomness)
        while True:
            try:
                return await recorder.in_disk_order(
                    lambda: open_storage(self._settings, self._state, manifest, files=self._files, clock=self._clock)
                )
            except MisuseError:
                raise
            except (OSError, PenstockError) as error:
                pause_s = backoff.next_s()
                _log.error("the state in %s cannot be opened: %s; trying again in %.0f s", self._state, error, pause_s)
            await wait_at_most(stop, pause_s)
            if stop.is_set():
                return None

    async def _keep_house(self, storage: Storage, recorder: Recorder) -> None:
        """Know how old the oldest frame is."""
        while True:
            await asyncio.sleep(self._settings.account_interval_s)
            try:
                self._oldest_ms = await recorder.in_disk_order(storage.spool.oldest_time_ms)
            except (OSError, PenstockError) as error:
                _log.error("the spool cannot be read: %s", error)

    async def _save_freed(self, storage: Storage, recorder: Recorder) -> None:
        """Free on disk what was acknowledged: soon when it is much, else now and then."""
        saved_ns = self._clock.monotonic_ns()
        while True:
            await asyncio.sleep(_SAVE_AT_ONCE_S)
            is_old = self._clock.monotonic_ns() - saved_ns >= _SAVE_INTERVAL_S * 1e9
            if not is_old and storage.spool.unsaved < _UNSAVED_FRAMES_MAX:
                continue
            saved_ns = self._clock.monotonic_ns()
            try:
                await recorder.in_disk_order(storage.spool.save)
            except (OSError, PenstockError) as error:
                _log.error("the spool cannot be written: %s; what was sent is freed later", error)

    def _health(self) -> Health | None:
        if self._storage is None or self._sampler is None:
            return None
        now_ms = self._clock.time_ns() // 1_000_000
        spool = self._storage.spool
        return Health(
            spool_bytes=spool.bytes,
            queue_age_s=max(0, now_ms - self._oldest_ms) / 1000 if self._oldest_ms is not None else 0.0,
            dropped=spool.dropped(self._storage.identity.epoch),
            missed_ticks=self._sampler.missed,
        )


async def _first_failure(tasks: Sequence[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait for `stop`; raise what a task died of, so that no part of the agent stops in silence."""
    stopped = asyncio.create_task(stop.wait())
    running: set[asyncio.Task[Any]] = set(tasks)
    try:
        while not stopped.done():
            done, _ = await asyncio.wait({*running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                running.discard(task)
                task.result()
    finally:
        stopped.cancel()


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run(settings: EdgeSettings, state: Path) -> int:
    """Run one agent until a signal: the first drains, the second forces. Returns the exit status."""
    return asyncio.run(_run_until_signal(Agent(settings, state)))


async def _run_until_signal(agent: Agent) -> int:
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop), name="agent")

    def on_signal() -> None:
        if stop.is_set():
            _log.warning("second signal: stopping at once; what is not sent stays in the spool")
            task.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        await task
    except asyncio.CancelledError:
        return 1
    return 0
