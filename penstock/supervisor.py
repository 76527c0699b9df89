"""Keeps the processes of `penstock up` alive: starts them, restarts what dies, drains them in the order of the data.

`Restarts` decides, without clocks or processes; `Supervisor` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.parent import SUPERVISOR_VARIABLE
from streams.clock import Clock
from streams.files import Files

_log = logging.getLogger("penstock.up")

BACKOFF_S_FIRST = 0.2
BACKOFF_S_MAX = 30.0
HEALTHY_S = 10.0  # who lived this long starts again from the first back-off
LOG_BYTES_MAX = 16 << 20
LOG_LOOK_S = 5.0
MISUSE = 2


@dataclass(slots=True)
class Restarts:
    """How long to wait before a process that died is started again: 0.2 s, doubled each time it dies young."""

    backoff_s: float = BACKOFF_S_FIRST
    count: int = 0

    def on_exit(self, lived_s: float) -> float:
        """The process ended after `lived_s`; returns the seconds to wait before the next start."""
        if lived_s >= HEALTHY_S:
            self.backoff_s = BACKOFF_S_FIRST
        wait_s = self.backoff_s
        self.backoff_s = min(BACKOFF_S_MAX, self.backoff_s * 2)
        self.count += 1
        return wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One process: its name, its arguments after `python -m penstock`, how long it may take to drain."""

    name: str
    arguments: Sequence[str]
    drain_s: float = 10.0


@dataclass(slots=True)
class _Running:
    job: Job
    process: asyncio.subprocess.Process | None = None
    restarts: Restarts = field(default_factory=Restarts)
    stopping: bool = False


class Supervisor:
    """Runs jobs as child processes, each with its own log file and session (so that Ctrl-C reaches only us)."""

    def __init__(
        self,
        data: Path,
        jobs: Sequence[Job],
        *,
        files: Files,
        clock: Clock,
        tell: Callable[[str], None],
        environment: Mapping[str, str],
    ) -> None:
        self._data = data
        self._running = {job.name: _Running(job) for job in jobs}
        self._files = files
        self._clock = clock
        self._tell = tell
        self._environment = {**environment, SUPERVISOR_VARIABLE: str(os.getpid())}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._housekeeping: asyncio.Task[None] | None = None
        self._forced = False
        self.refused = asyncio.Event()
        """Set when a process refuses at its first start (exit status 2): starting it again would not help."""

    def start(self) -> None:
        """Start every job and keep it running."""
        for name, running in self._running.items():
            self._tasks[name] = asyncio.create_task(self._keep(running), name=f"keep {name}")
        self._housekeeping = asyncio.create_task(self._keep_logs_small(), name="keep logs small")

    def is_up(self, name: str) -> bool:
        process = self._running[name].process
        return process is not None and process.returncode is None

    async def drain(self, order: Sequence[str]) -> None:
        """Stop the jobs one after the other: sources first, so that each can hand on what it holds."""
        for name in order:
            if name in self._running:
                await self._stop(self._running[name])
        if self._housekeeping is not None:
            self._housekeeping.cancel()

    def force(self) -> None:
        """Kill what still runs."""
        self._forced = True
        for running in self._running.values():
            running.stopping = True
            if running.process and running.process.returncode is None:
                running.process.kill()

    async def _stop(self, running: _Running) -> None:
        running.stopping = True
        process = running.process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), running.job.drain_s)
            except TimeoutError:
                self._tell(f"{running.job.name} did not stop within {running.job.drain_s:.0f} s: killed")
                process.kill()
                await process.wait()
        task = self._tasks.pop(running.job.name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self, running: _Running) -> None:
        while not running.stopping:
            started_ns = self._clock.monotonic_ns()
            try:
                status = await self._run_once(running)
                ended = f"ended ({_ending(status)})"
            except OSError as error:
                status, ended = 1, f"cannot be started: {error}"
            if running.stopping:
                return
            if status == MISUSE and running.restarts.count == 0:
                self._tell(f"{running.job.name} refuses to run: {self._last_words(running.job)}")
                self.refused.set()
                return
            wait_s = running.restarts.on_exit((self._clock.monotonic_ns() - started_ns) / 1e9)
            self._tell(
                f"{running.job.name} {ended}, started again in {wait_s:.1f} s; its log: {self._log_path(running.job)}"
            )
            await asyncio.sleep(wait_s)

    async def _run_once(self, running: _Running) -> int:
        log = self._open_log(running.job)
        try:
            running.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "penstock",
                *running.job.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )
        finally:
            os.close(log)
        self._publish()
        return await running.process.wait()

    def _open_log(self, job: Job) -> int:
        try:
            return os.open(self._log_path(job), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._tell(f"{job.name} runs without a log: {error}")
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    async def _keep_logs_small(self) -> None:
        while True:
            for running in self._running.values():
                try:
                    await asyncio.to_thread(_turn_over, self._log_path(running.job))
                except OSError as error:
                    _log.warning("cannot turn over the log of %s: %s", running.job.name, error)
            await asyncio.sleep(LOG_LOOK_S)

    def _publish(self) -> None:
        """Say in the data directory which processes run, for people and tests; a full disk is no reason to stop."""
        pids = {name: each.process.pid for name, each in self._running.items() if each.process}
        with contextlib.suppress(OSError):
            self._files.replace(self._data / "run" / "processes.json", json.dumps(pids).encode())

    def _last_words(self, job: Job) -> str:
        try:
            lines = self._log_path(job).read_text("utf-8", "replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1].removeprefix("penstock: ") if lines else f"see {self._log_path(job)}"

    def _log_path(self, job: Job) -> Path:
        return self._data / "logs" / f"{job.name}.log"


def _ending(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _turn_over(log: Path) -> None:
    """Put a log that has grown large aside as .log.1; its process goes on writing at the beginning (O_APPEND)."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        shutil.copyfile(log, log.with_suffix(".log.1"))
        os.truncate(log, 0)
