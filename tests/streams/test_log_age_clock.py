"""A clock that jumps does not empty the log."""

from __future__ import annotations

from pathlib import Path

from streams.clock import ManualClock
from streams.files import DiskFiles
from streams.log import EventLog, LogSettings
from streams.log.age_clock import AgeClock
from streams.record import NewRecord
from tests.streams.log_parts import STREAM

DAY_S = 86_400


def test_a_jump_forward_removes_nothing_is_said_and_is_believed_after_a_day(tmp_path: Path) -> None:
    clock = ManualClock()
    settings = LogSettings(segment_bytes=4096, retention_s=7.0 * DAY_S)
    log = EventLog.open(tmp_path, {STREAM: settings}, files=DiskFiles(), clock=clock)
    for number in range(100):
        log.append_durable(STREAM, [NewRecord(None, b"%d" % number + bytes(200), clock.time_ns() // 1_000_000)])
    clock.set_time_ns(clock.time_ns() + 400 * DAY_S * 10**9)
    assert log.enforce_retention() == 0
    (problem,) = log.health()
    assert "the clock jumped forward by 9600.0 hours" in problem and "restart if it is right" in problem
    clock.advance(DAY_S - 1)
    assert log.enforce_retention() == 0
    clock.advance(2)
    assert log.enforce_retention() > 0
    assert log.health() == []
    log.close()


def test_time_that_passes_is_believed_and_a_jump_back_too() -> None:
    clock = ManualClock()
    age = AgeClock(clock)
    for step_s in (1.0, 30.0 * DAY_S, 3600.0):
        clock.advance(step_s)
        assert age.now_ms() == clock.time_ns() // 1_000_000
    clock.set_time_ns(clock.time_ns() - 50 * DAY_S * 10**9)
    assert age.now_ms() == clock.time_ns() // 1_000_000
    clock.set_time_ns(clock.time_ns() + 50 * DAY_S * 10**9)
    assert age.now_ms() < clock.time_ns() // 1_000_000, "what went back is no reason to believe that it goes forward"
    assert len(age.problems()) == 1
    clock.set_time_ns(clock.time_ns() - 50 * DAY_S * 10**9)
    assert age.now_ms() == clock.time_ns() // 1_000_000 and age.problems() == []


def test_small_steps_of_the_clock_are_believed() -> None:
    clock = ManualClock()
    age = AgeClock(clock)
    clock.set_time_ns(clock.time_ns() + 1800 * 10**9)
    assert age.now_ms() == clock.time_ns() // 1_000_000 and age.problems() == []
