"""The level detector: what it finds and how soon, and what it lets pass."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.detectors.level import LEVEL, WARM_UP, step

INF = math.inf


def strengths(values: list[float], *, state: list[float] | None = None, resolution: float = 0.0) -> list[float]:
    state = [0.0] * LEVEL.width if state is None else state
    return [step(state, float(at), value, resolution, -INF, INF) for at, value in enumerate(values)]


def noise(count: int, *, seed: int = 1, mean: float = 50.0, spread: float = 1.0) -> list[float]:
    dice = random.Random(seed)
    return [dice.gauss(mean, spread) for _ in range(count)]


def test_nothing_is_said_before_it_knows_what_is_usual() -> None:
    wild = [10.0**at for at in range(-20, 80)]
    assert len(wild) == WARM_UP
    assert max(strengths(wild)) == 0.0


def test_a_value_beyond_its_limits_is_said_from_the_first_reading_on() -> None:
    state = [0.0] * LEVEL.width
    assert step(state, 0.0, 10.5, 0.0, 0.0, 10.0) >= 1.0
    assert step(state, 1.0, -0.5, 0.0, 0.0, 10.0) >= 1.0
    assert step(state, 2.0, 10.0, 0.0, 0.0, 10.0) == 0.0
    assert step(state, 3.0, 0.0, 0.0, 0.0, 10.0) == 0.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_jump_of_ten_standard_deviations_is_found_within_six_readings(sign: float) -> None:
    for seed in range(20):
        state = [0.0] * LEVEL.width
        assert max(strengths(noise(1000, seed=seed), state=state)) < 1.0
        after = strengths(noise(6, seed=seed + 100, mean=50.0 + 10 * sign), state=state)
        assert max(after) >= 1.0


def test_a_drift_of_a_tenth_of_the_noise_each_reading_is_found_within_two_hundred() -> None:
    for seed in range(20):
        state = [0.0] * LEVEL.width
        strengths(noise(1000, seed=seed), state=state)
        drifting = [value + 0.1 * at for at, value in enumerate(noise(200, seed=seed + 100))]
        assert max(strengths(drifting, state=state)) >= 1.0


def test_an_event_does_not_teach_itself_and_what_lasts_becomes_usual() -> None:
    state = [0.0] * LEVEL.width
    strengths(noise(1000), state=state)
    short = strengths(noise(60, seed=2, mean=70.0), state=state)
    assert short[-1] >= 1.0
    assert max(strengths(noise(200, seed=3), state=state)[30:]) < 0.6, "back to what it was"
    lasting = strengths(noise(30_000, seed=4, mean=70.0), state=state)
    assert max(lasting[-1000:]) < 0.6


def test_a_coarse_sensor_that_moves_by_one_step_is_calm() -> None:
    resting = [20.0] * 500
    for seed in range(5):
        dice = random.Random(seed)
        steps = [20.0 + 0.25 * dice.choice((0, 0, 0, 1)) for _ in range(2000)]
        assert max(strengths(resting + steps, resolution=0.25)) < 1.0


@given(st.integers(-20, 200), st.integers(0, 1000))
@settings(max_examples=30)
def test_the_unit_of_a_series_makes_no_difference(power: int, seed: int) -> None:
    values = [*noise(300, seed=seed), *noise(30, seed=seed + 1, mean=58.0)]
    assert strengths([value * 2.0**power for value in values]) == strengths(values)
