"""Worlds full of accidents, in virtual time. A seed that fails replays the same world:

python -m tests.simulation --seed SEED
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.world import Outcome, run_seed

SEEDS = 100
GROUP = 10


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_no_acknowledged_reading_is_lost_doubled_or_changed(tmp_path: Path, first: int) -> None:
    outcomes = [run_seed(seed, tmp_path) for seed in range(first, first + GROUP)]
    assert all(outcome.readings > 0 for outcome in outcomes)
    check_that_accidents_mattered(outcomes)


def check_that_accidents_mattered(outcomes: list[Outcome]) -> None:
    """A simulation in which nothing goes wrong shows nothing."""
    accidents = sum((Counter(outcome.accidents) for outcome in outcomes), Counter())
    assert len(accidents) == 13, f"only {sorted(accidents)}"
    assert sum(outcome.duplicates for outcome in outcomes) > 0, "nothing was sent twice"
    assert sum(outcome.unnumbered for outcome in outcomes) > 0, "no power cut took anything"


def test_a_seed_replays_the_same_world(tmp_path: Path) -> None:
    assert run_seed(7, tmp_path / "a") == run_seed(7, tmp_path / "b")
