from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from edge.feeder import Feeder
from edge.inlet import Inlet
from edge.opening import open_sensors
from edge.sensors.sensor import Bad
from edge.settings import EdgeSettings
from edge.tick import Tick
from streams.clock import ManualClock
from streams.frames import Quality
from tests.edge.pushed_for_tests import ScriptedPush, fail, say, wait


class Bench:
    """A feeder on a clock that is moved by hand."""

    def __init__(self, feeder: Feeder, clock: ManualClock) -> None:
        self.feeder, self.clock = feeder, clock
        self.recorded: list[Tick] = []
        self.declared: list[int] = []

    def values(self) -> list[object]:
        return [
            value if not quality else "BAD"
            for tick in self.recorded
            for value, quality in zip(tick.values, tick.qualities)
        ]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def bench(sensor: ScriptedPush, *, ticks_max: int = 1000) -> Bench:
    clock = ManualClock()
    settings = EdgeSettings(inlet_ticks_max=ticks_max, retry_s_max=0.01)
    opened = await open_sensors([sensor], settings, clock, random.Random(1))
    return Bench(opened.fed[0], clock)


@asynccontextmanager
async def running(at: Bench) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(at.feeder.run(stop, record=at.recorded.append, declare=at.declared.append))
    try:
        yield
    finally:
        stop.set()
        await task


async def test_what_is_put_becomes_readings_at_the_time_at_which_it_came() -> None:
    at = await bench(ScriptedPush("p", say(1.0, 2.0)))
    async with running(at):
        await until(lambda: len(at.recorded) == 2)
    assert at.recorded == [Tick(at.clock.time_ns(), (0,), (value,), (0,)) for value in (1.0, 2.0)]


async def test_a_reading_may_bring_its_own_time_cut_to_whole_steps() -> None:
    def act(inlet: Inlet) -> None:
        inlet.put({"p.1": 5.0}, 1_600_000_000_001_999_999)
        wait(inlet)

    at = await bench(ScriptedPush("p", act, series=2))
    async with running(at):
        await until(lambda: bool(at.recorded))
    assert at.recorded == [Tick(1_600_000_000_001_000_000, (1,), (5.0,), (0,))]


async def test_a_sensor_that_fails_is_bad_once_and_runs_again_until_it_has_a_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost = fail(ConnectionError("the line is dead"))
    sensor = ScriptedPush("p", say(1.0, then=lost), lost, lost, say(2.0))
    at = await bench(sensor)
    at.feeder._backoff._first_s = at.feeder._backoff._limit_s = 0.01  # the test does not wait for the real pause
    async with running(at):
        await until(lambda: 2.0 in at.values())
    assert at.values() == [1.0, "BAD", 2.0]
    assert caplog.text.count("the line is dead") == 1
    assert at.feeder.failure is None


async def test_a_sensor_that_ends_by_itself_has_failed() -> None:
    at = await bench(ScriptedPush("p", lambda _: None, wait))
    async with running(at):
        await until(lambda: bool(at.recorded))
        assert at.feeder.failure == "it ended by itself"
        assert at.feeder.channels.bad == {"p.0": "it ended by itself"}


async def test_what_the_full_inlet_gives_up_is_counted_and_declared_and_the_newest_are_kept() -> None:
    filled = threading.Event()

    def act(inlet: Inlet) -> None:
        for value in range(25):
            inlet.put({"p.0": float(value)})
        inlet.lost(3)
        filled.set()
        wait(inlet)

    at = await bench(ScriptedPush("p", act), ticks_max=10)
    async with running(at):
        await asyncio.sleep(0)  # the thread has begun
        filled.wait(10)  # the event loop stands still meanwhile
    assert at.values() == [float(value) for value in range(15, 25)]
    assert at.declared == [18]
    assert at.feeder.overflowed == 18


async def test_drops_are_declared_at_most_each_ten_seconds() -> None:
    at = await bench(ScriptedPush("p", wait))
    async with running(at):
        await until(lambda: at.feeder.sensor.runs == 1)  # type: ignore[attr-defined]
        for _ in range(25):
            at.feeder.inlet.lost(1)
            at.clock.advance(1.0)
            at.feeder.look()
        assert at.declared == [1, 10, 10]
    assert sum(at.declared) == 25, "and the rest when it stops"


async def test_a_series_that_is_silent_for_too_long_is_bad_and_good_again_with_its_next_value() -> None:
    at = await bench(ScriptedPush("p", wait, series=2, silence_s_max=60.0))
    async with running(at):
        at.clock.advance(30.0)
        at.feeder.inlet.put({"p.0": 1.0})
        await until(lambda: len(at.recorded) == 1)
        at.clock.advance(40.0)
        at.feeder.look()
        at.feeder.look()
        assert at.recorded[-1].series == (1,), "the one that never said anything"
        assert at.recorded[-1].qualities == (Quality.BAD,)
        at.clock.advance(40.0)
        at.feeder.look()
        assert at.recorded[-1].series == (0,)
        assert at.feeder.channels.bad == {f"p.{n}": "nothing came for 60 s" for n in (0, 1)}
        at.feeder.inlet.put({"p.0": 2.0})
        await until(lambda: at.recorded[-1].values == (2.0,))
    assert len(at.recorded) == 4


async def test_one_bad_series_leaves_the_others_good() -> None:
    def act(inlet: Inlet) -> None:
        inlet.put({"p.0": Bad("out of range"), "p.1": 1.0})
        inlet.put({"p.0": Bad("still"), "p.1": 2.0})
        wait(inlet)

    at = await bench(ScriptedPush("p", act, series=2))
    async with running(at):
        await until(lambda: len(at.recorded) == 2)
    assert at.values() == ["BAD", 1.0, 2.0]


async def test_a_value_of_another_type_is_counted_and_does_not_end_the_sensor() -> None:
    def act(inlet: Inlet) -> None:
        inlet.put({"p.0": "warm"})
        inlet.put({"p.0": 1.0})
        wait(inlet)

    at = await bench(ScriptedPush("p", act))
    async with running(at):
        await until(lambda: bool(at.recorded))
    assert at.values() == [1.0]
    assert at.feeder.inlet.not_understood_count == 1


async def test_a_value_for_an_undeclared_series_is_a_failure_that_names_it() -> None:
    at = await bench(ScriptedPush("p", say(1.0, series="other"), wait))
    async with running(at):
        await until(lambda: at.feeder.failure is not None)
        assert "'other', which it has not declared" in str(at.feeder.failure)


async def test_who_can_wait_waits_while_the_inlet_is_full_and_loses_nothing() -> None:
    def act(inlet: Inlet) -> None:
        for value in range(500):
            assert inlet.put_when_room({"p.0": float(value)})
        wait(inlet)

    at = await bench(ScriptedPush("p", act), ticks_max=3)
    async with running(at):
        await until(lambda: len(at.recorded) == 500)
    assert at.values() == [float(value) for value in range(500)]
    assert at.declared == []


async def test_who_waits_for_room_is_let_go_when_it_stops() -> None:
    inlet = Inlet("p", ["p.0"], ticks_max=1, clock=ManualClock(), wake=lambda: None)
    assert inlet.put_when_room({"p.0": 1.0})
    waiting = asyncio.create_task(asyncio.to_thread(inlet.put_when_room, {"p.0": 2.0}))
    await asyncio.sleep(0)
    inlet.stop()
    assert not await waiting
    assert len(inlet.take(10)) == 1


async def test_when_it_stops_what_is_in_the_inlet_is_kept_and_the_sensor_closed() -> None:
    def act(inlet: Inlet) -> None:
        inlet.wait(60)
        inlet.put({"p.0": 9.0})

    sensor = ScriptedPush("p", act)
    at = await bench(sensor)
    async with running(at):
        await until(lambda: sensor.runs == 1)
    assert at.values() == [9.0]
    assert await asyncio.to_thread(sensor.closed.wait, 10)
