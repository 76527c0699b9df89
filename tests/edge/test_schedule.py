from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.schedule import Schedule

SECOND = 1_000_000_000


def schedule(interval_s: float = 1.0, origin_ns: int = 0, retry_s_max: float = 60.0) -> Schedule:
    return Schedule(interval_s=interval_s, origin_ns=origin_ns, retry_s_max=retry_s_max)


def test_it_is_due_at_once_and_then_at_whole_intervals_from_the_origin() -> None:
    plan = schedule(origin_ns=5 * SECOND)
    assert plan.due_ns == 5 * SECOND
    plan.on_tick(5 * SECOND)
    assert plan.due_ns == 6 * SECOND
    plan.on_tick(6 * SECOND + 400_000_000)  # woken late
    assert (plan.due_ns, plan.missed) == (7 * SECOND, 0)


def test_two_sensors_with_one_interval_fall_due_together_however_late_one_was_read() -> None:
    early, late = schedule(), schedule()
    early.on_tick(0)
    late.on_tick(700_000_000)
    assert early.due_ns == late.due_ns


def test_ticks_that_were_slept_through_are_counted_and_not_made_up_for() -> None:
    plan = schedule()
    plan.on_tick(0)
    plan.on_tick(4 * SECOND + 1)
    assert (plan.due_ns, plan.missed) == (5 * SECOND, 3)


def test_a_tick_while_the_sensor_is_busy_is_missed() -> None:
    plan = schedule()
    plan.on_tick(0)
    plan.on_busy(SECOND)
    assert (plan.due_ns, plan.missed) == (2 * SECOND, 1)


def test_a_sensor_that_fails_is_asked_less_and_less_and_then_again_as_before() -> None:
    plan = schedule(retry_s_max=8.0)
    now_ns, pauses = 0, []
    for _ in range(6):
        plan.on_tick(now_ns)
        plan.on_failure(now_ns)
        pauses.append((plan.due_ns - now_ns) // SECOND)
        now_ns = plan.due_ns
    assert pauses == [1, 2, 4, 8, 8, 8]
    assert plan.missed == 0, "a pause is no missed tick"
    plan.on_tick(now_ns)
    assert plan.on_success()
    assert plan.due_ns == now_ns + SECOND
    assert not plan.on_success()


def test_only_the_first_failure_in_a_row_is_news() -> None:
    plan = schedule()
    assert [plan.on_failure(0), plan.on_failure(1), plan.on_failure(2)] == [True, False, False]
    plan.on_success()
    assert plan.on_failure(3)


def test_a_pause_is_never_shorter_than_the_interval() -> None:
    plan = schedule(interval_s=100.0, retry_s_max=10.0)
    plan.on_tick(0)
    plan.on_failure(0)
    plan.on_tick(100 * SECOND)
    plan.on_failure(100 * SECOND)
    assert plan.due_ns == 200 * SECOND


@given(
    st.floats(0.001, 1000),
    st.integers(0, 2**60),
    st.lists(st.tuples(st.integers(0, 10**12), st.booleans()), max_size=50),
)
def test_the_next_tick_always_lies_ahead_and_on_the_grid(
    interval_s: float, origin_ns: int, steps: list[tuple[int, bool]]
) -> None:
    plan = schedule(interval_s=interval_s, origin_ns=origin_ns)
    interval_ns, now_ns = max(1, round(interval_s * 1e9)), origin_ns
    for step_ns, failed in steps:
        now_ns = max(now_ns + step_ns, plan.due_ns)
        before = plan.missed
        plan.on_tick(now_ns)
        if failed:
            plan.on_failure(now_ns)
        else:
            plan.on_success()
        assert plan.due_ns > now_ns
        assert (plan.due_ns - origin_ns) % interval_ns == 0
        assert plan.missed >= before
