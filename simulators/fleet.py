"""The simulated fleet: as many real edge agents as there are devices, in one process and one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edge.agent import Agent
from edge.settings import EdgeSettings, LinkSettings
from simulators.devices import MODELS, Model
from simulators.dice import Dice
from simulators.faults import Schedule
from simulators.label import LabelFile, labels_path
from simulators.sensor import SimulatedSensor
from simulators.settings import FleetSettings
from simulators.truth import TruthFile, truth_path
from streams.clock import Clock, SystemClock
from streams.files import DirectoryLock, DiskFiles, Files

_log = logging.getLogger(__name__)

RESTART_PAUSE_S = 5.0
DISK_THREADS = 4  # they wait for the disk together; more would not make it faster


@dataclass(frozen=True, slots=True)
class Device:
    """One simulated device: its id, what it is, and how it behaves."""

    device: str
    kind: str
    model: Model


def devices(settings: FleetSettings) -> list[Device]:
    """The devices of a fleet. The same index is always the same device, whatever the size of the fleet."""
    made = []
    for index in range(settings.devices):
        kind = settings.models[index % len(settings.models)]
        device = f"{settings.prefix}{kind}-{index // len(settings.models) + 1:03d}"
        made.append(Device(device, kind, MODELS[kind](Dice(settings.seed, device))))
    return made


def schedule(settings: FleetSettings, fleet: list[Device]) -> Schedule | None:
    """The faults of a fleet; None when nothing may go wrong."""
    if not settings.faults:
        return None
    quantities = {each.device: each.model.quantities for each in fleet}
    return Schedule(settings.seed, quantities, every_s=settings.fault_every_s, interval_s=settings.interval_s)


def run(settings: FleetSettings, data: Path) -> int:
    """Run the fleet until SIGTERM or SIGINT, which drains; a second signal ends it at once. Returns the exit status."""
    home = data / "fleet"
    lock = DirectoryLock(home, owner="a simulated fleet")
    try:
        return asyncio.run(_run_until_signal(settings, home))
    finally:
        lock.release()


async def _run_until_signal(settings: FleetSettings, home: Path) -> int:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            _log.warning("ended by a second signal; what the devices hold is on their disks")
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, on_signal)
    return await run_fleet(settings, home, stop)


async def run_fleet(
    settings: FleetSettings, home: Path, stop: asyncio.Event, *, files: Files | None = None, clock: Clock | None = None
) -> int:
    """Run the fleet with its state in `home` until `stop` is set. Returns 1 when a device ended before, else 0."""
    fleet = Fleet(settings, home, files=files or DiskFiles(), clock=clock or SystemClock())
    try:
        never_failed = await asyncio.gather(*[fleet.run_device(each, stop) for each in fleet.devices])
    finally:
        fleet.close()
    return 0 if all(never_failed) else 1


class Fleet:
    """What the devices of a fleet share: the fault schedule, the label file, the threads that wait for the disk."""

    def __init__(self, settings: FleetSettings, home: Path, *, files: Files, clock: Clock) -> None:
        self.devices = devices(settings)
        self._settings, self._home = settings, home
        self._files, self._clock = files, clock
        self._schedule = schedule(settings, self.devices)
        self._labels = LabelFile(labels_path(home)) if self._schedule else None
        self._threads = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="fleet disk")
        faults = f"faults every {settings.fault_every_s:g} s" if self._schedule else "no faults"
        _log.info(
            "%d simulated devices, a reading each %g s, seed %d, %s",
            len(self.devices),
            settings.interval_s,
            settings.seed,
            faults,
        )

    async def run_device(self, each: Device, stop: asyncio.Event) -> bool:
        """Run one agent, and again if it fails, as a supervisor does with a real one. Returns whether it never did."""
        never_failed = True
        truth = self._truth(each)
        try:
            while not stop.is_set():
                try:
                    await self._agent(each, truth).run(stop)
                except Exception:  # one device must not end the others
                    never_failed = False
                    _log.exception("simulated device %s ended; it starts again in %g s", each.device, RESTART_PAUSE_S)
                    await _pause(stop, RESTART_PAUSE_S)
        finally:
            if truth is not None:
                truth.close()
        return never_failed

    def close(self) -> None:
        """Let go of what the devices share; they have ended before."""
        self._threads.shutdown()
        if self._labels is not None:
            self._labels.close()

    def _truth(self, each: Device) -> TruthFile | None:
        if not self._settings.truth:
            return None
        return TruthFile(truth_path(self._home, each.device), bytes_max=self._settings.truth_bytes_max)

    def _agent(self, each: Device, truth: TruthFile | None) -> Agent:
        sensor = SimulatedSensor(
            each.device,
            each.model,
            seed=self._settings.seed,
            interval_s=self._settings.interval_s,
            schedule=self._schedule,
            truth=truth,
            labels=self._labels,
        )
        return Agent(
            _edge_settings(self._settings, each),
            self._home / each.device,
            sensors=[sensor],
            files=self._files,
            clock=self._clock,
            executor=self._threads,
        )


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _edge_settings(settings: FleetSettings, each: Device) -> EdgeSettings:
    return EdgeSettings(
        device=each.device,
        model=f"simulated {each.kind}",
        hub_host=settings.hub_host,
        hub_port=settings.hub_port,
        link=LinkSettings(retry_s_max=5.0),
        labels={"simulated": "true", "kind": each.kind},
        spool_bytes_max=settings.spool_bytes_max,
        health_interval_s=0,  # all share one process: its health is not a device's
    )
