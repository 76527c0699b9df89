"""Never after its deadline, whatever the clock says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.deadline import refusal

TIMES = st.integers(0, 10**6)


@given(truth=TIMES, created_ago=TIMES, off=st.integers(-(10**6), 10**6), slack=TIMES, window=TIMES)
def test_what_is_let_run_is_in_time_when_the_clock_is_as_uncertain_as_it_says(
    truth: int, created_ago: int, off: int, slack: int, window: int
) -> None:
    created, now = truth - created_ago, truth + off
    answer = refusal(
        deadline_ms=created + window,
        created_ms=created,
        now_ms=now,
        waited_ms=0,
        uncertainty_ms=abs(off) + slack,
    )
    if answer is None:
        assert truth < created + window


@given(now=TIMES, waited=TIMES, window=TIMES)
def test_what_has_waited_longer_than_its_time_is_late_by_any_clock(now: int, waited: int, window: int) -> None:
    answer = refusal(
        deadline_ms=10**6 + window, created_ms=10**6, now_ms=now, waited_ms=window + waited, uncertainty_ms=0
    )
    assert answer is not None


def test_a_good_clock_in_time() -> None:
    assert refusal(deadline_ms=60_000, created_ms=0, now_ms=59_000, waited_ms=10, uncertainty_ms=5) is None
    assert refusal(deadline_ms=60_000, created_ms=None, now_ms=59_000, waited_ms=0, uncertainty_ms=5) is None
    assert refusal(deadline_ms=60_000, created_ms=0, now_ms=60_000, waited_ms=10, uncertainty_ms=0) is not None
