"""Thinning: what is left out can be told from what is kept to within the error, and every reading is counted."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.manifest import make_manifest
from edge.recorder import Recorder
from edge.sensors.sensor import Series
from edge.settings import EdgeSettings, ThinningSettings
from edge.storage import Storage, open_storage
from edge.thinning.deadband import Deadband
from edge.thinning.swinging_door import SwingingDoor
from edge.thinning.thinner import Thinner, thinning_of
from edge.thinning.thinning import Reading, Thinning
from edge.tick import Tick
from streams.clock import ManualClock
from streams.errors import MisuseError
from streams.files import DiskFiles
from streams.frames import ClockQuality, Quality, decode
from tests.edge.disks import FaultyDisk
from tests.edge.ticks import tick

SECOND = 1_000_000_000
ERRORS = st.sampled_from([1e-9, 0.001, 0.1, 0.5, 1.0, 3.0, 1e6])


@st.composite
def walks(draw: st.DrawFn, *, values: st.SearchStrategy[Any] | None = None) -> list[Reading]:
    """Readings later and later, that wander, jump, stand still, go through all magnitudes, or are bad."""
    steps = st.one_of(st.floats(-2, 2), st.floats(-1e9, 1e9), st.just(0.0), st.integers(-5, 5))
    readings, at_ns, value = [], draw(st.integers(0, 2**60)), draw(st.one_of(st.floats(-1e12, 1e12), st.just(0.0)))
    for _ in range(draw(st.integers(0, 60))):
        at_ns += draw(st.one_of(st.just(SECOND), st.integers(1, 10 * SECOND)))
        value = draw(values) if values is not None else value + draw(steps)
        quality = draw(st.sampled_from([Quality.GOOD] * 30 + [Quality.UNCERTAIN, Quality.BAD]))
        readings.append(Reading(at_ns, value, int(quality)))
    return readings


def kept_of(thinning: Thinning, readings: list[Reading]) -> list[Reading]:
    kept = [each for reading in readings for each in thinning.take(reading)]
    return kept + thinning.flush()


def exact(value: Any) -> Fraction:
    return Fraction(value)


def assert_told_by_lines(readings: list[Reading], kept: list[Reading], error: float) -> None:
    for reading in readings:
        if reading in kept:
            continue
        before = max((each for each in kept if each.time_ns < reading.time_ns), key=lambda each: each.time_ns)
        after = min((each for each in kept if each.time_ns > reading.time_ns), key=lambda each: each.time_ns)
        share = Fraction(reading.time_ns - before.time_ns, after.time_ns - before.time_ns)
        line = exact(before.value) + (exact(after.value) - exact(before.value)) * share
        assert abs(line - exact(reading.value)) <= exact(error)


@given(walks(), ERRORS)
def test_a_line_between_kept_readings_is_never_further_away_than_the_error(
    readings: list[Reading], error: float
) -> None:
    kept = kept_of(SwingingDoor(error=error, interval_ns_max=3600 * SECOND), readings)
    assert_told_by_lines(readings, kept, error)
    assert kept == [each for each in readings if each in kept], "in their order, none twice"


@given(walks(values=st.integers(-(2**63), 2**63 - 1)), ERRORS)
def test_it_holds_for_integers_that_no_float_can_tell_apart(readings: list[Reading], error: float) -> None:
    assert_told_by_lines(readings, kept_of(SwingingDoor(error=error, interval_ns_max=3600 * SECOND), readings), error)


@given(walks(values=st.floats()), ERRORS)
def test_what_is_no_number_or_beyond_all_bounds_is_kept(readings: list[Reading], error: float) -> None:
    kept = kept_of(SwingingDoor(error=error, interval_ns_max=3600 * SECOND), readings)
    strange = [each for each in readings if not math.isfinite(float(each.value)) or abs(float(each.value)) >= 1e300]
    assert [str(each) for each in strange] == [str(each) for each in kept if str(each) in set(map(str, strange))]


@given(walks(), st.one_of(ERRORS, st.just(0.0)))
def test_holding_the_last_kept_reading_is_never_further_away_than_the_error(
    readings: list[Reading], error: float
) -> None:
    kept = kept_of(Deadband(error=error, interval_ns_max=3600 * SECOND), readings)
    for reading in readings:
        last = max((each for each in kept if each.time_ns <= reading.time_ns), key=lambda each: each.time_ns)
        assert last == reading or abs(exact(last.value) - exact(reading.value)) <= exact(error)
        assert last.quality == reading.quality


@pytest.mark.parametrize("method", [Deadband, SwingingDoor])
@given(readings=walks(), limit_s=st.integers(1, 30))
def test_a_reading_is_kept_at_least_each_longest_interval(method: Any, readings: list[Reading], limit_s: int) -> None:
    kept = kept_of(method(error=1e12, interval_ns_max=limit_s * SECOND), readings)
    gaps = [after.time_ns - before.time_ns for before, after in itertools.pairwise(kept)]
    steps = [after.time_ns - before.time_ns for before, after in itertools.pairwise(readings)]
    assert all(gap < limit_s * SECOND + max(steps, default=0) for gap in gaps)


def test_a_straight_line_is_two_readings_and_a_kink_a_third() -> None:
    up = [Reading(at * SECOND, float(at), 0) for at in range(1, 101)]
    down = [Reading((100 + at) * SECOND, 100.0 - at, 0) for at in range(1, 101)]
    kept = kept_of(SwingingDoor(error=0.1, interval_ns_max=3600 * SECOND), up + down)
    assert [each.time_ns // SECOND for each in kept] == [1, 100, 200]


def test_readings_that_jump_back_in_time_are_kept() -> None:
    times = [10, 11, 12, 5, 6, 7, 8]
    kept = kept_of(SwingingDoor(error=1, interval_ns_max=3600 * SECOND), [Reading(at * SECOND, 1.0, 0) for at in times])
    assert [each.time_ns // SECOND for each in kept] == [10, 12, 5, 8]


def test_text_is_thinned_by_equality_alone() -> None:
    text = Series(name="state", type="text")
    assert thinning_of(text, [ThinningSettings(series="state")]) is not None
    with pytest.raises(MisuseError, match="series state is text, which has no distance"):
        thinning_of(text, [ThinningSettings(error=0.5)])
    assert thinning_of(text, [ThinningSettings(series="st*", method="none"), ThinningSettings(error=0.5)]) is None


SERIES = [(0, Series(name="ramp")), (1, Series(name="still")), (2, Series(name="all"))]
THINNED = (
    ThinningSettings(series="ramp", method="swinging door", error=0.25),
    ThinningSettings(series="still", method="deadband", error=0.25),
)


class Bench:
    """A recorder that thins, on a disk in the test's hands."""

    def __init__(self, directory: Path, disk: Any = None) -> None:
        self.directory, self.disk, self.clock = directory, disk or DiskFiles(), ManualClock()
        self.settings = EdgeSettings(device="d", thinning=THINNED)
        self.manifest = make_manifest(SERIES, model="m", agent="a", labels={})
        self.taken: list[Tick] = []

    def open(self) -> Storage:
        quality = ClockQuality.SYNCHRONISED
        thinner = Thinner(SERIES, self.settings.thinning)
        self.recorder = Recorder(
            self.settings, clock=self.clock, executor=None, clock_quality=lambda: quality, thinner=thinner
        )
        self.storage = open_storage(self.settings, self.directory, self.manifest, files=self.disk, clock=self.clock)
        self.recorder.start(self.storage)
        return self.storage

    def record(self, value: float) -> None:
        self.clock.advance(1)
        self.taken.append(tick(self.clock.time_ns(), value, 7.0, value))
        self.recorder.record(self.taken[-1])

    def kill(self) -> None:
        self.storage.journal.close()
        self.storage.spool.close()

    def kept(self, series: int) -> list[Reading]:
        spool = self.storage.spool
        return [
            Reading(time_ns, value, 0)
            for frame in spool.read(spool.oldest, 1000)
            for block in decode(frame.payload).blocks
            for column in block.columns
            if column.series == series
            for time_ns, value in zip(block.times_ns, column.values)
        ]


async def test_every_reading_is_a_number_in_a_frame_or_counted_as_thinned(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.open()
    for at in range(100):
        bench.record(float(at))
        if at % 10 == 9:
            await bench.recorder._seal()  # as when a frame falls due
    await bench.recorder.seal_all()
    epoch = bench.storage.identity.epoch
    told = bench.storage.spool.account(epoch=epoch, produced=bench.recorder.produced, time_ms=1)
    counted = {(each["series"], each["reason"]): each["count"] for each in told["unnumbered"]}
    assert counted == {("ramp", "swinging door"): 98, ("still", "deadband"): 99}
    assert told["produced"] == 2 + 1 + 100
    assert [each.value for each in bench.kept(0)] == [0.0, 99.0]
    bench.kill()


@pytest.mark.parametrize("seed", range(20))
async def test_killed_at_any_time_what_is_held_is_there_at_the_next_start_once(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    bench = Bench(tmp_path)
    bench.open()
    for _ in range(6):
        for _ in range(dice.randrange(1, 40)):
            bench.record(bench.taken[-1].values[0] + dice.choice([0.0, 0.1, 1.0]) if bench.taken else 0.0)  # type: ignore[operator]
            if dice.random() < 0.15:
                await bench.recorder._seal()
        bench.kill()
        bench.open()
    taken = [Reading(each.time_ns, each.values[0], 0) for each in bench.taken]
    kept = bench.kept(0)
    assert len(kept) == len(set(kept)), "none is kept twice"
    assert_told_by_lines(taken, sorted(kept), 0.25)
    assert bench.storage.spool.books[bench.storage.identity.epoch].dropped == {}
    bench.kill()


@pytest.mark.parametrize("seed", range(20))
async def test_a_power_cut_takes_of_a_held_reading_no_more_than_of_any_other(tmp_path: Path, seed: int) -> None:
    """Everything that was read before the last sync is told by what is there after the cut."""
    dice, disk = random.Random(seed), FaultyDisk()
    bench = Bench(tmp_path, disk)
    bench.open()
    safe = 0
    for _ in range(4):
        for _ in range(dice.randrange(1, 40)):
            bench.record(bench.taken[-1].values[0] + dice.choice([0.0, 0.1, 1.0]) if bench.taken else 0.0)  # type: ignore[operator]
            if dice.random() < 0.1:
                await bench.recorder._seal()
            if dice.random() < 0.2:
                await bench.recorder.sync()
                safe = len(bench.taken)
        bench.kill()
        disk.power_cut(dice)
        bench.open()
        taken = [Reading(each.time_ns, each.values[0], 0) for each in bench.taken[:safe]]
        assert_told_by_lines(taken, sorted(set(bench.kept(0))), 0.25)
        bench.taken = bench.taken[:safe]  # what came after may be there or not
        safe = len(bench.taken)
    bench.kill()
