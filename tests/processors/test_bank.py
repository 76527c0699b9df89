"""The bank decides, reading by reading, where alarms open and close; here with a detector that says what it is fed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.alarms import Transition
from processors.detectors.bank_compiled import Bank, make_loop
from processors.detectors.detector import Detector
from processors.rows import Rows, no_rows

INF = float("inf")


def step(state: Any, time_s: float, value: float, resolution: float, minimum: float, maximum: float) -> float:
    state[0] = value
    state[1] += 1.0
    return float(value)


ECHO = Detector(name="echo", version=1, kind="process", width=2, step=step, says=lambda *_: "said something")
Reading = tuple[int, float, float]  # series, time in s, value = strength


def fed(bank: Bank, readings: list[Reading], *, good: list[bool] | None = None, series: int = 4) -> list[Transition]:
    count = len(readings)
    numbers, times, values = zip(*readings) if readings else ((), (), ())
    rows = no_rows()
    rows.series, rows.time_ns = np.array(numbers, np.int32), np.array([round(t * 1e9) for t in times], np.int64)
    rows.value = np.array(values, np.float64)
    limits = np.tile((0.0, -INF, INF), (series, 1))
    return bank.run(rows, limits, np.array(good if good is not None else [True] * count, np.bool_))


def bank(*, open_at: float = 1.0, close_at: float = 0.6, hold_s: float = 10.0, compiled: bool = True) -> Bank:
    return Bank(ECHO, open_at, close_at, hold_s, compiled=compiled)


def places(found: list[Transition]) -> list[tuple[int, bool]]:
    return [(each.row, each.opens) for each in found]


def test_it_opens_at_the_threshold_and_closes_when_it_was_calm_for_the_hold() -> None:
    strengths = [0.9, 1.0, 5.0, 0.7, 0.5, 0.5, 0.6, 0.1, 0.1, 0.1, 0.1]
    times = [0.0, 1.0, 2.0, 30.0, 31.0, 40.9, 40.95, 50.0, 59.0, 60.0, 61.0]
    found = fed(bank(), [(0, t, s) for t, s in zip(times, strengths)])
    assert places(found) == [(1, True), (9, False)]  # 0.6 at 40.95 begins the hold anew: calm from 50 to 60
    assert [each.strength for each in found] == [1.0, 5.0]


def test_without_a_hold_it_closes_at_once_and_may_open_again() -> None:
    found = fed(bank(hold_s=0.0), [(0, float(t), s) for t, s in enumerate([1.0, 0.6, 0.59, 2.0, 0.0])])
    assert places(found) == [(0, True), (2, False), (3, True), (4, False)]
    assert [each.strength for each in found] == [1.0, 1.0, 2.0, 2.0]


def test_a_closing_threshold_above_the_opening_one_counts_as_it() -> None:
    found = fed(bank(open_at=1.0, close_at=5.0, hold_s=0.0), [(0, 0.0, 1.0), (0, 1.0, 2.0), (0, 2.0, 0.99)])
    assert places(found) == [(0, True), (2, False)]


def test_series_do_not_disturb_each_other() -> None:
    found = fed(bank(hold_s=1.0), [(0, 0, 2.0), (3, 0, 0.0), (0, 1, 0.0), (3, 1, 2.0), (0, 2, 0.0), (3, 2, 2.0)])
    assert [(each.row, each.series, each.opens) for each in found] == [(0, 0, True), (3, 3, True), (4, 0, False)]


def test_readings_that_are_not_good_are_not_seen() -> None:
    one = bank()
    found = fed(one, [(0, 0, 9.0), (0, 1, 1.0)], good=[False, True])
    assert places(found) == [(1, True)]
    assert found[0].spread == 1.0, "the detector saw one reading"


def test_what_was_usual_is_told_as_of_the_reading_not_as_of_the_end_of_the_chunk() -> None:
    found = fed(bank(hold_s=0.0), [(0, float(t), s) for t, s in enumerate([0.0, 3.0, 0.5, 0.0, 0.0])])
    assert [(each.usual, each.spread) for each in found] == [(3.0, 2.0), (0.5, 3.0)]


def test_a_clock_that_goes_back_does_not_keep_an_alarm_open() -> None:
    hour = 3600.0
    found = fed(bank(), [(0, hour, 2.0), (0, hour + 1, 0.0), (0, 5.0, 0.0), (0, 14.9, 0.0), (0, 15.0, 0.0)])
    assert places(found) == [(0, True), (4, False)]


def test_times_before_1970_are_times() -> None:
    found = fed(bank(), [(0, -100.0, 2.0), (0, -99.0, 0.0), (0, -89.0, 0.0)])
    assert places(found) == [(0, True), (2, False)]


def test_a_strength_that_is_no_number_opens_nothing_and_keeps_nothing_open() -> None:
    nan = float("nan")
    assert fed(bank(), [(0, 0.0, nan)]) == []
    assert places(fed(bank(hold_s=1.0), [(0, 0.0, 2.0), (0, 1.0, nan), (0, 2.0, nan)])) == [(0, True), (2, False)]


_readings = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-30, 60), st.sampled_from([0.0, 0.5, 0.6, 0.7, 1.0, 2.0, 7.0])),
    max_size=60,
)


@given(_readings, st.data())
def test_chunks_make_no_difference(readings: list[Reading], data: st.DataObject) -> None:
    whole = fed(bank(hold_s=3.0), readings)
    cut = sorted(data.draw(st.lists(st.integers(0, len(readings)), max_size=5)))
    one, found = bank(hold_s=3.0), []
    for start, stop in zip([0, *cut], [*cut, len(readings)]):
        found += [each._replace(row=each.row + start) for each in fed(one, readings[start:stop])]
    assert found == whole


@given(_readings)
def test_compiled_is_interpreted(readings: list[Reading]) -> None:
    fast, slow = bank(hold_s=3.0), bank(hold_s=3.0, compiled=False)
    assert fed(fast, readings) == fed(slow, readings)
    assert fast.snapshot() == slow.snapshot()


@given(_readings, st.integers(0, 60))
def test_a_snapshot_in_mid_stream_goes_on_with_the_alarms_that_the_store_knows(
    readings: list[Reading], at: int
) -> None:
    at = min(at, len(readings))
    one = bank(hold_s=3.0)
    before = fed(one, readings[:at])
    opened = {each.series: each for each in before if each.opens}
    for each in before:
        if not each.opens and opened.get(each.series) and opened[each.series].row < each.row:
            del opened[each.series]
    two = bank(hold_s=3.0)
    two.restore(one.snapshot())
    for series, each in opened.items():
        two.reopen(series, round(readings[each.row][1] * 1e9), each.strength)
    assert fed(two, readings[at:]) == fed(one, readings[at:])


def test_an_alarm_that_is_younger_than_the_snapshot_is_calm_since_later() -> None:
    one = bank()
    fed(one, [(0, 0.0, 9.0), (0, 1.0, 0.0)])  # open since 0, calm since 1
    two = bank()
    two.restore(one.snapshot())
    two.reopen(0, 20 * 10**9, 2.0)  # another one: the first was closed meanwhile
    found = fed(two, [(0, 25.0, 0.0), (0, 34.0, 0.0), (0, 35.0, 0.0)])
    assert places(found) == [(2, False)]
    assert found[0].strength == 2.0


def test_an_alarm_that_the_store_does_not_know_is_not_open_after_a_restart() -> None:
    one = bank()
    fed(one, [(0, 0.0, 9.0)])
    two = bank()
    two.restore(one.snapshot())
    assert places(fed(two, [(0, 1.0, 3.0)])) == [(0, True)]


def test_an_alarm_without_a_snapshot_is_closed_when_the_series_is_calm() -> None:
    one = bank()
    one.reopen(700, 0, 4.0)  # opened at time 0, by a device without a clock
    found = fed(one, [(700, 100.0, 0.0), (700, 110.0, 0.0)], series=701)
    assert places(found) == [(1, False)]
    assert found[0].strength == 4.0


@pytest.mark.parametrize("width", [2, 5])
def test_a_snapshot_of_another_width_is_forgotten(width: int) -> None:
    other = Bank(
        Detector(name="echo", version=1, kind="process", width=width + 1, step=step, says=lambda *_: ""), 1, 1, 1
    )
    for count in (1, 256, 768):
        fed(other, [(count - 1, 0.0, 9.0)], series=count)
        one = Bank(
            Detector(name="echo", version=2, kind="process", width=width, step=step, says=lambda *_: ""), 1, 1, 1
        )
        clean = one.snapshot()
        one.restore(other.snapshot())
        assert one.snapshot() == clean
    one.restore(b"")
    one.restore(b"12345678" * 3)
    assert one.snapshot() == clean


def made_by(factor: float) -> Detector:
    """Detectors whose source is the same, and which are not."""

    def scaled(state: Any, time_s: float, value: float, resolution: float, minimum: float, maximum: float) -> float:
        return float(value * factor)

    return Detector(name="scaled", version=1, kind="process", width=2, step=scaled, says=lambda *_: "")


def test_machine_code_is_kept_for_the_next_start() -> None:
    fed(bank(), [(0, 0.0, 1.0)])
    again: Any = make_loop.__wrapped__(ECHO.step)  # as another process makes it
    one = bank()
    one._loop = again
    assert places(fed(one, [(0, 0.0, 1.0)])) == [(0, True)]
    assert sum(again.stats.cache_hits.values()) == 1
    assert not again.stats.cache_misses


def test_functions_that_their_source_does_not_tell_apart_are_not_mixed_up() -> None:
    for factor, strength in ((1.0, 3.0), (0.5, 1.5), (2.0, 1.8)):
        found = fed(Bank(made_by(factor), 1.0, 0.6, 10.0), [(0, 0.0, 0.9), (0, 1.0, 3.0)])
        assert [each.strength for each in found] == [strength]
        assert not make_loop(made_by(factor).step).stats.cache_hits  # type: ignore[attr-defined]


def test_no_rows_at_all() -> None:
    one = bank()
    assert one.run(no_rows(), np.zeros((0, 3)), np.zeros(0, np.bool_)) == []
    assert isinstance(no_rows(), Rows)
