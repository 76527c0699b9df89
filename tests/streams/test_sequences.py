"""SequenceSet against a plain Python set, for any history of additions and removals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.sequences import SequenceSet

RANGES = st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
STEPS = st.lists(st.tuples(st.booleans(), RANGES), max_size=40)


@given(STEPS)
def test_every_answer_equals_that_of_a_plain_set(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    ours, plain = SequenceSet(), set[int]()
    for adding, (start, stop) in steps:
        numbers = set(range(start, stop))
        if adding:
            assert ours.add(start, stop) == len(numbers - plain)
            plain |= numbers
        else:
            assert ours.remove(start, stop) == len(numbers & plain)
            plain -= numbers
        assert {n for a, b in ours for n in range(a, b)} == plain
        assert ours.count() == len(plain)
        assert all(a < b for a, b in ours), "no empty spans"
        assert all(left[1] < right[0] for left, right in zip(ours.spans(), ours.spans()[1:])), "disjoint, not touching"


@given(STEPS, RANGES)
def test_missing_and_contains(steps: list[tuple[bool, tuple[int, int]]], window: tuple[int, int]) -> None:
    ours, plain = SequenceSet(), set[int]()
    for adding, (start, stop) in steps:
        (ours.add if adding else ours.remove)(start, stop)
        plain = plain | set(range(start, stop)) if adding else plain - set(range(start, stop))
    absent = set(range(*window)) - plain
    assert {n for a, b in ours.missing(*window) for n in range(a, b)} == absent
    assert ours.contains(*window) == (not absent)


@given(st.lists(RANGES), st.lists(RANGES))
def test_union_leaves_both_as_they_were(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    a, b = SequenceSet(left), SequenceSet(right)
    before = (a.spans(), b.spans())
    assert a.union(b) == SequenceSet([*left, *right])
    assert (a.spans(), b.spans()) == before


def test_a_range_that_is_none_is_refused() -> None:
    for start, stop in ((3, 2), (-1, 4)):
        with pytest.raises(ValueError, match="not a range"):
            SequenceSet().add(start, stop)
