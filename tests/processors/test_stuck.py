"""The stuck detector: what it finds and how soon, and what it lets pass."""

from __future__ import annotations

import random

from processors.detectors.stuck import CHANGES_MIN, RUN_MIN, STUCK, step


def strengths(values: list[float], *, state: list[float] | None = None) -> list[float]:
    state = [0.0] * STUCK.width if state is None else state
    return [step(state, float(at), value, 0.0, 0.0, 0.0) for at, value in enumerate(values)]


def moving(count: int, *, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return [dice.random() for _ in range(count)]


def test_a_series_on_the_move_that_freezes_is_found_at_the_twentieth_equal_reading() -> None:
    state = [0.0] * STUCK.width
    assert max(strengths(moving(200), state=state)) == 0.0
    frozen = strengths([7.0] * 25, state=state)
    assert next(at + 1 for at, each in enumerate(frozen) if each >= 1.0) == RUN_MIN
    assert frozen == sorted(frozen), "the longer, the stronger"
    assert strengths([8.0], state=state) == [0.0]


def test_nothing_is_said_of_a_series_that_has_not_moved_enough() -> None:
    few = moving(round(CHANGES_MIN) - 1)
    assert max(strengths([*few, *[7.0] * 500])) == 0.0
    assert max(strengths([*few, 1.0, *[7.0] * 500])) >= 1.0


def test_a_series_that_rests_by_nature_is_not_stuck() -> None:
    dice = random.Random(3)
    switch = [float(turn % 2) for turn in range(200) for _ in range(dice.randint(20, 60))]
    assert max(strengths(switch)) == 0.0
    assert max(strengths([5.0] * 5000)) == 0.0


def test_it_waits_for_four_times_the_longest_rest_that_it_knows() -> None:
    held = [value for value in moving(400) for _ in range(2)]
    mixed = [*moving(200), *[3.0] * 10, *held]
    state = [0.0] * STUCK.width
    assert max(strengths(mixed, state=state)) < 1.0
    longest = state[1]
    assert 7.0 < longest < 10.0, "forgotten slowly"
    after = strengths([9.0] * 60, state=state)
    first = next(at + 1 for at, each in enumerate(after) if each >= 1.0)
    assert first == -(-4 * longest // 1)


def test_zero_and_minus_zero_are_the_same_value() -> None:
    state = [0.0] * STUCK.width
    strengths(moving(200), state=state)
    assert max(strengths([0.0, -0.0] * 15, state=state)) >= 1.0
