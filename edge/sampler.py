"""Reads every sensor at its own ticks and hands the readings on; no sensor can delay another.

A sensor that fails is reported once, gives one BAD reading a series, and is tried again after a growing pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from edge.schedule import Schedule
from edge.sensors.sensor import Sensor, Series, SeriesType, Value, check_value
from edge.tick import Tick
from edge.waiting import wait_at_most
from edge.worker_thread import WorkerThread
from streams.clock import Clock
from streams.frames import Quality

_log = logging.getLogger(__name__)

_NO_VALUE: dict[SeriesType, Value] = {
    "float64": float("nan"),
    "float32": float("nan"),
    "int64": 0,
    "bool": False,
    "text": "",
}


class SampledSensor:
    """A sensor that has been opened, the numbers of its series, and when it is next due."""

    def __init__(
        self,
        sensor: Sensor,
        series: Sequence[Series],
        numbers: Sequence[int],
        schedule: Schedule,
        thread: WorkerThread | None,
    ) -> None:
        self.sensor = sensor
        self.series = tuple(series)
        self.numbers = tuple(numbers)
        self.schedule = schedule
        self.thread = thread
        self.busy = False
        self.latest: Tick | None = None
        self._good = (int(Quality.GOOD),) * len(self.numbers)

    def tick(self, time_ns: int, values: Sequence[Value | None]) -> Tick:
        """Values of one read, in the order of the series, as a tick. SensorFailedError when they do not fit."""
        if len(values) != len(self.series):
            raise ValueError(f"sensor {self.sensor.name} gave {len(values)} values for {len(self.series)} series")
        numbers, kept = [], []
        for number, series, value in zip(self.numbers, self.series, values):
            if value is not None:
                numbers.append(number)
                kept.append(check_value(series, value))
        if len(kept) == len(self.numbers):
            return Tick(time_ns, self.numbers, tuple(kept), self._good)
        return Tick(time_ns, tuple(numbers), tuple(kept), self._good[: len(kept)])

    def bad_tick(self, time_ns: int) -> Tick:
        """One reading a series that says: from here on there is nothing to be had."""
        values = tuple(_NO_VALUE[series.type] for series in self.series)
        return Tick(time_ns, self.numbers, values, (int(Quality.BAD),) * len(values))

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
        read_timeout_s: float,
        time_step_us: int,
    ) -> None:
        self.sensors = list(sensors)
        self._clock = clock
        self._record = record
        self._read_timeout_s = read_timeout_s
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
            tick = each.tick(time_ns, each.sensor.read(time_ns))
        except Exception as error:  # a plug-in may raise anything; none may stop the others
            self._failed(each, time_ns, error)
        else:
            self._succeeded(each, tick)

    async def _read_in_thread(self, each: SampledSensor, thread: WorkerThread, time_ns: int) -> None:
        future = thread.submit(lambda: each.tick(time_ns, each.sensor.read(time_ns)))
        future.add_done_callback(lambda _: self._free(each))
        try:
            async with asyncio.timeout(self._read_timeout_s) as limit:
                tick = await asyncio.shield(future)
        except Exception as error:  # a plug-in may raise anything
            is_late = limit.expired()
            if is_late:
                future.add_done_callback(_look_away)
            late = TimeoutError(f"no answer within {self._read_timeout_s:g} s")
            self._failed(each, time_ns, late if is_late else error)
        else:
            self._succeeded(each, tick)

    @staticmethod
    def _free(each: SampledSensor) -> None:
        each.busy = False

    def _succeeded(self, each: SampledSensor, tick: Tick) -> None:
        if each.schedule.on_success():
            _log.info("sensor %s answers again", each.sensor.name)
        each.latest = tick
        if tick.count:
            self._record(tick)

    def _failed(self, each: SampledSensor, time_ns: int, error: Exception) -> None:
        if not each.schedule.on_failure(self._clock.monotonic_ns()):
            return
        reason = str(error) or type(error).__name__
        _log.warning(
            "sensor %s failed: %s; it is tried again, its readings are BAD until then", each.sensor.name, reason
        )
        each.latest = each.bad_tick(time_ns)
        self._record(each.latest)


def _look_away(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # already reported as a time-out
