"""Reads every sampled sensor at its own ticks and hands the readings on; no sensor can delay another.

A sensor that fails is reported once, gives one BAD reading a series, and is tried again after a growing pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from edge.channels import Channels
from edge.schedule import Schedule
from edge.sensors.sensor import Sensor
from edge.tick import Tick
from edge.waiting import wait_at_most
from edge.worker_thread import WorkerThread
from streams.clock import Clock

_log = logging.getLogger(__name__)


class SampledSensor:
    """A sensor that has been opened, its series, and when it is next due."""

    def __init__(
        self, sensor: Sensor, channels: Channels, schedule: Schedule, thread: WorkerThread | None, *, timeout_s: float
    ) -> None:
        self.sensor = sensor
        self.channels = channels
        self.schedule = schedule
        self.thread = thread
        self.timeout_s = timeout_s
        self.busy = False

    def close(self) -> None:
        """Close the sensor in the thread that reads it; does not wait for one that is stuck."""
        if self.thread is None:
            self.sensor.close()
            return
        if not self.busy:
            self.thread.submit(self.sensor.close).add_done_callback(_look_away)
        self.thread.close()


class Sampler:
    """Runs the sensors until told to stop. `record` is called on the event loop and must not block."""

    def __init__(
        self,
        sensors: Sequence[SampledSensor],
        *,
        clock: Clock,
        record: Callable[[Tick], None],
        time_step_us: int,
    ) -> None:
        self.sensors = list(sensors)
        self._clock = clock
        self._record = record
        self._time_step_ns = time_step_us * 1000
        self._reads: set[asyncio.Task[None]] = set()

    @property
    def missed(self) -> int:
        """Ticks that were not read because the sensor or the machine was too slow."""
        return sum(each.schedule.missed for each in self.sensors)

    @property
    def failing(self) -> list[str]:
        """Names of the sensors that do not answer at present."""
        return [each.sensor.name for each in self.sensors if each.schedule.failures]

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set, then let go of the sensors."""
        try:
            while not stop.is_set():
                await wait_at_most(stop, max(self.read_due() / 1e9, 0.0005))
        finally:
            for read in self._reads:
                read.cancel()
            for each in self.sensors:
                each.close()

    def read_due(self) -> int:
        """Start reading whatever is due; returns the nanoseconds until something else is."""
        now_ns = self._clock.monotonic_ns()
        time_ns = self._clock.time_ns()
        time_ns -= time_ns % self._time_step_ns
        for each in self.sensors:
            if each.schedule.due_ns > now_ns:
                continue
            if each.busy:
                each.schedule.on_busy(now_ns)
                continue
            each.schedule.on_tick(now_ns)
            if each.thread is None:
                self._read_at_once(each, time_ns)
            else:
                each.busy = True
                read = asyncio.create_task(self._read_in_thread(each, each.thread, time_ns))
                self._reads.add(read)
                read.add_done_callback(self._reads.discard)
        due_ns = min((each.schedule.due_ns for each in self.sensors), default=now_ns + 1_000_000_000)
        return max(0, due_ns - self._clock.monotonic_ns())

    def _read_at_once(self, each: SampledSensor, time_ns: int) -> None:
        try:
            tick = each.channels.tick(time_ns, each.sensor.read(time_ns))
        except Exception as error:  # a plug-in may raise anything; none may stop the others
            self._failed(each, time_ns, error)
        else:
            self._succeeded(each, tick)

    async def _read_in_thread(self, each: SampledSensor, thread: WorkerThread, time_ns: int) -> None:
        future = thread.submit(lambda: each.sensor.read(time_ns))
        future.add_done_callback(lambda _: self._free(each))
        try:
            async with asyncio.timeout(each.timeout_s) as limit:
                values = await asyncio.shield(future)
            tick = each.channels.tick(time_ns, values)
        except Exception as error:  # a plug-in may raise anything
            is_late = limit.expired()
            if is_late:
                future.add_done_callback(_look_away)
            late = TimeoutError(f"no answer within {each.timeout_s:g} s")
            self._failed(each, time_ns, late if is_late else error)
        else:
            self._succeeded(each, tick)

    @staticmethod
    def _free(each: SampledSensor) -> None:
        each.busy = False

    def _succeeded(self, each: SampledSensor, tick: Tick) -> None:
        if each.schedule.on_success():
            _log.info("sensor %s answers again", each.sensor.name)
        if tick.count:
            self._record(tick)

    def _failed(self, each: SampledSensor, time_ns: int, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        tick = each.channels.all_bad(time_ns, reason)
        if tick.count:
            self._record(tick)
        if each.schedule.on_failure(self._clock.monotonic_ns()):
            _log.warning(
                "sensor %s failed: %s; it is tried again, its readings are BAD until then", each.sensor.name, reason
            )


def _look_away(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # already reported as a time-out
