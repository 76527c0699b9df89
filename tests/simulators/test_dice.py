"""Random numbers without a state, and cycles made of them."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.cycle import Cycle
from simulators.dice import DRAWS, Dice

INSTANTS = st.integers(min_value=-(2**63), max_value=2**63 - 1)


@given(INSTANTS)
def test_numbers_lie_inside_the_unit_interval_and_repeat(counter: int) -> None:
    numbers = Dice(3, "a").uniforms(counter)
    assert len(numbers) == DRAWS
    assert all(0.0 < number < 1.0 for number in numbers)
    assert Dice(3, "a").uniforms(counter) == numbers


def test_uniforms_are_uniform_and_normals_are_normal() -> None:
    dice = Dice(9, "x")
    uniforms = [number for counter in range(4000) for number in dice.uniforms(counter)]
    assert fmean(uniforms) == pytest.approx(0.5, abs=0.005)
    assert pstdev(uniforms) == pytest.approx(12**-0.5, abs=0.005)
    normals = [number for counter in range(4000) for number in dice.normals(counter)]
    assert fmean(normals) == pytest.approx(0.0, abs=0.02)
    assert pstdev(normals) == pytest.approx(1.0, abs=0.02)


def test_neighbouring_counters_and_neighbouring_draws_do_not_agree() -> None:
    dice = Dice(9, "x")
    rows = [dice.normals(counter) for counter in range(4000)]
    assert fmean(a[0] * b[0] for a, b in pairwise(rows)) == pytest.approx(0.0, abs=0.06)
    assert fmean(row[0] * row[1] for row in rows) == pytest.approx(0.0, abs=0.06)


def test_a_smooth_curve_has_no_steps_and_is_not_flat() -> None:
    dice = Dice(1, "x")
    curve = [dice.smooth(0, time_s, 600.0) for time_s in range(20_000)]
    assert all(-1.0 <= value < 1.0 for value in curve)
    assert max(abs(b - a) for a, b in pairwise(curve)) < 2 * 1.5 / 600 + 1e-9
    assert max(curve) - min(curve) > 1.0


def test_smooth_streams_are_different_curves() -> None:
    dice = Dice(1, "x")
    assert dice.smooth(0, 1234.5, 60.0) != dice.smooth(1, 1234.5, 60.0)


def test_a_cycle_runs_its_time_in_each_period_and_counts_it() -> None:
    cycle = Cycle(Dice(1, "x"), 0, period_s=100, run_s=30)
    runs = [cycle.at(float(second)) for second in range(10_000)]
    assert sum(run.on for run in runs) == pytest.approx(3000, abs=100)
    for before, after in pairwise(runs):
        assert 0.0 <= after.total_s - before.total_s <= 1.0 + 1e-9
        assert after.starts - before.starts in (0, 1)
    assert cycle.at(10_000.0).total_s == pytest.approx(3000)
    assert cycle.at(10_000.0).starts == 100
    assert len({round(run.age_s, 3) for run in runs if run.on}) > 1000, "every period begins at the same moment"


def test_a_cycle_must_fit_into_its_period() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Cycle(Dice(1, "x"), 0, period_s=10, run_s=10)
