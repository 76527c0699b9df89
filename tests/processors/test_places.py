"""Places: no two readings of a series share a point, however the log is cut; an ordinary one stands at its time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.rows import Rows
from processors.stores.places import LAPS_MAX, SHIFT_NS_MAX, Places

LEAST, MOST = -(2**63), 2**63 - 1

times = st.one_of(
    st.integers(0, 10),
    st.integers(0, 3_000),
    st.integers(0, 10).map(lambda n: n * 1_000),
    st.integers(LEAST, MOST),
)
rows_of = st.lists(st.tuples(st.integers(0, 3), times), max_size=200)


def rows(pairs: list[tuple[int, int]]) -> Rows:
    count = len(pairs)
    return Rows(
        series=np.array([number for number, _ in pairs], np.int32),
        kind=np.zeros(count, np.uint8),
        time_ns=np.array([time_ns for _, time_ns in pairs], np.int64),
        value=np.zeros(count),
        integer=np.zeros(count, np.int64),
        text=np.full(count, -1, np.int32),
        quality=np.zeros(count, np.uint8),
        epoch=np.zeros(count, np.int64),
        sequence=np.arange(count),
        partition=np.zeros(count, np.int32),
        offset=np.zeros(count, np.int64),
    )


def places(known: Places, pairs: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(series, lap, point) of each reading, in the order given; they are written then."""
    placed = known.place(rows(pairs))
    known.take(placed)
    found: list[tuple[int, int, int]] = [(0, 0, 0)] * len(pairs)
    for index, lap, point_ns in zip(placed.order.tolist(), placed.lap.tolist(), placed.point_ns.tolist()):
        found[index] = (pairs[index][0], lap, point_ns)
    return found


@given(rows_of)
def test_no_two_readings_share_a_place(pairs: list[tuple[int, int]]) -> None:
    pairs = [(number, min(time_ns, MOST - 1_000)) for number, time_ns in pairs]  # there is nothing behind the last ns
    found = places(Places(), pairs)
    assert len(set(found)) == len(found)


@given(rows_of, st.lists(st.integers(0, 200), max_size=5))
def test_places_do_not_depend_on_how_the_log_is_cut(pairs: list[tuple[int, int]], cuts: list[int]) -> None:
    whole = places(Places(), pairs)
    known, found = Places(), []
    edges = [0, *sorted(min(cut, len(pairs)) for cut in cuts), len(pairs)]
    for start, stop in pairwise(edges):
        found += places(known, pairs[start:stop])
    assert found == whole


@given(rows_of, rows_of)
def test_what_is_kept_goes_on_as_what_is_remembered(
    before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    known, kept = Places(), {}
    for part in (before[: len(before) // 2], before[len(before) // 2 :]):
        placed = known.place(rows(part))
        known.take(placed)
        kept |= {(number, lap): point_ns for number, lap, point_ns in placed.changed()}
    restored = Places((*key, point_ns) for key, point_ns in kept.items())
    assert places(restored, after) == places(known, after)


@given(rows_of)
def test_placing_twice_is_placing_once(pairs: list[tuple[int, int]]) -> None:
    """A write that failed is tried again: nothing is remembered before it is taken."""
    known = Places()
    first, second = known.place(rows(pairs)), known.place(rows(pairs))
    assert first.point_ns.tolist() == second.point_ns.tolist()
    assert first.lap.tolist() == second.lap.tolist()


@given(st.lists(st.integers(LEAST + 1, MOST), unique=True, min_size=1).map(sorted))
def test_times_that_go_on_are_left_alone(going_on: list[int]) -> None:
    assert places(Places(), [(2, each) for each in going_on]) == [(2, 0, each) for each in going_on]


def test_one_time_is_spread_over_nanoseconds() -> None:
    assert places(Places(), [(0, 5_000)] * 4) == [(0, 0, 5_000), (0, 0, 5_001), (0, 0, 5_002), (0, 0, 5_003)]


def test_a_clock_that_goes_back_begins_a_lap_and_returns_to_the_first() -> None:
    found = places(Places(), [(0, 9_000_000), (0, 1_000_000), (0, 2_000_000), (0, 9_000_001), (0, 3_000_000)])
    assert found == [(0, 0, 9_000_000), (0, 1, 1_000_000), (0, 1, 2_000_000), (0, 0, 9_000_001), (0, 1, 3_000_000)]


@pytest.mark.parametrize("count", [10, SHIFT_NS_MAX + 1, 5_000, LAPS_MAX * (SHIFT_NS_MAX + 1) + 5_000])
def test_a_clock_that_stands_still_fills_laps_then_later_points(count: int) -> None:
    found = places(Places(), [(0, 7_000)] * count)
    assert len(set(found)) == count
    assert max(lap for _, lap, _ in found) < LAPS_MAX
    farthest_ns = max(point_ns - 7_000 for _, _, point_ns in found)
    assert farthest_ns <= max(SHIFT_NS_MAX, count // LAPS_MAX)
