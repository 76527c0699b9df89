from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

import pytest

from edge.opening import open_sensors
from edge.sampler import Sampler
from edge.sensors.sensor import Sensor, SensorAbsentError, SensorFailedError, Series
from edge.settings import EdgeSettings
from edge.tick import Tick
from streams.clock import ManualClock
from streams.frames import Quality
from tests.edge.sensors_for_tests import ScriptedSensor, StuckSensor

SECOND = 1_000_000_000


class Bench:
    """A sampler on a clock that is moved by hand."""

    def __init__(self, sampler: Sampler, clock: ManualClock, recorded: list[Tick]) -> None:
        self.sampler, self.clock, self.recorded = sampler, clock, recorded

    def tick(self, seconds: float = 1.0) -> list[Tick]:
        """Let time pass and read what is due; returns what was recorded at once."""
        before = len(self.recorded)
        self.clock.advance(seconds)
        self.sampler.read_due()
        return self.recorded[before:]


async def bench(*sensors: Sensor, read_timeout_s: float = 5.0, step_us: int = 1000) -> Bench:
    clock, recorded = ManualClock(), list[Tick]()
    sampled = await open_sensors(sensors, EdgeSettings(read_timeout_s=read_timeout_s), clock)
    sampler = Sampler(sampled, clock=clock, record=recorded.append, read_timeout_s=read_timeout_s, time_step_us=step_us)
    return Bench(sampler, clock, recorded)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_sensors_that_are_due_together_share_the_time_of_the_tick() -> None:
    at = await bench(
        ScriptedSensor("a", [1.0, 2.0]), ScriptedSensor("b", [3.0]), ScriptedSensor("c", [4.0], interval_s=2)
    )
    now_ns = at.clock.time_ns()
    assert at.tick(0.0) == [
        Tick(now_ns, (0, 1), (1.0, 2.0), (0, 0)),
        Tick(now_ns, (2,), (3.0,), (0,)),
        Tick(now_ns, (3,), (4.0,), (0,)),
    ]
    assert [each.series for each in at.tick(1.0)] == [(0, 1), (2,)]
    assert at.sampler.read_due() == SECOND


async def test_times_are_cut_to_whole_steps() -> None:
    at = await bench(ScriptedSensor("a"))
    at.clock.advance(0.0015)
    assert at.tick(0.0)[0].time_ns % 1_000_000 == 0


async def test_a_value_that_is_not_there_is_left_out() -> None:
    at = await bench(ScriptedSensor("a", [1.0, None, 3.0], [None, None, None]))
    assert at.tick()[0].series == (0, 2)
    assert at.tick() == []


async def test_a_sensor_that_fails_gives_one_bad_reading_a_series_and_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = ScriptedSensor("b", [1.0, 2.0], SensorFailedError("no answer"), OSError(5, "io"), [1.0, 2.0])
    healthy = ScriptedSensor("h", [5.0])
    at = await bench(broken, healthy)
    at.tick()
    caplog.clear()
    bad, other = at.tick()
    assert (bad.series, bad.qualities) == ((0, 1), (Quality.BAD, Quality.BAD))
    assert all(isinstance(value, float) and math.isnan(value) for value in bad.values)
    assert other.series == (2,)
    assert at.sampler.failing == ["b"]
    assert [each.series for each in at.tick()] == [(2,)], "the second failure is no news"
    assert caplog.text.count("sensor b failed") == 1
    while at.sampler.failing:
        at.tick()
    assert at.recorded[-2].values == (1.0, 2.0)


@pytest.mark.parametrize("values", [[1.0], ["x", 2.0], [1.0, 2.0, 3.0]])
async def test_values_that_do_not_fit_what_was_declared_are_a_failure(values: list[float]) -> None:
    at = await bench(ScriptedSensor("a", [1.0, 2.0], values))
    at.tick()
    assert at.tick()[0].qualities == (Quality.BAD, Quality.BAD)


async def test_a_sensor_that_is_stuck_delays_no_other_and_is_not_called_twice(caplog: pytest.LogCaptureFixture) -> None:
    stuck, healthy = StuckSensor(), ScriptedSensor("h")
    at = await bench(stuck, healthy, read_timeout_s=0.02)
    at.tick()
    await until(lambda: at.sampler.failing == ["stuck"])
    assert "no answer within 0.02 s" in caplog.text
    for _ in range(5):
        assert [each.series for each in at.tick(10)] == [(1,)]
    assert len(stuck.reads) == 1
    assert at.sampler.missed > 0
    stuck.let_go.set()
    await until(lambda: not at.sampler.sensors[0].busy)
    at.tick(100)
    await until(lambda: not at.sampler.failing)
    assert len(stuck.reads) == 2


async def test_a_blocking_sensor_is_read_in_a_thread_and_its_reading_has_the_time_of_its_tick() -> None:
    at = await bench(ScriptedSensor("slow", [7.0], may_block=True))
    now_ns = at.clock.time_ns()
    assert at.tick(0.0) == []
    at.clock.advance(0.5)
    await until(lambda: bool(at.recorded))
    assert at.recorded[0] == Tick(now_ns, (0,), (7.0,), (0,))


async def test_ticks_that_were_slept_through_are_counted() -> None:
    at = await bench(ScriptedSensor("a"))
    at.tick(0.0)
    at.tick(5.0)
    assert at.sampler.missed == 4


async def test_when_it_stops_the_sensors_are_closed() -> None:
    sensors = [ScriptedSensor("a", interval_s=0.01), ScriptedSensor("b", may_block=True, interval_s=0.01)]
    at = await bench(*sensors)
    stop = asyncio.Event()
    running = asyncio.create_task(at.sampler.run(stop))
    await until(lambda: len(sensors[0].reads) > 0 and len(sensors[1].reads) > 0)
    stop.set()
    await running
    await until(lambda: all(sensor.closed for sensor in sensors))


class AbsentSensor(ScriptedSensor):
    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(name)
        self._error = error

    def open(self) -> Sequence[Series]:
        raise self._error


async def test_sensors_that_are_not_there_are_left_out_by_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    at = await bench(
        AbsentSensor("gone", SensorAbsentError("there is no /dev/x")),
        ScriptedSensor("a"),
        AbsentSensor("bad", ZeroDivisionError("oh")),
    )
    assert [each.sensor.name for each in at.sampler.sensors] == ["a"]
    assert "sensor gone is left out: there is no /dev/x" in caplog.text
    assert "sensor bad is left out: oh" in caplog.text


async def test_two_series_of_one_name_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    at = await bench(ScriptedSensor("a"), ScriptedSensor("a"))
    assert [series.name for each in at.sampler.sensors for series in each.series] == ["a.0", "a.0_2"]
    assert "two sensors declare a series a.0" in caplog.text
