"""Lives of a log on a disk that fails, in no time: all that was promised is there. A seed that fails is shown by

python -m tests.streams.log_soak --seed SEED
"""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from tests.streams.log_world import World, run_seed

SEEDS = 600
GROUP = 100

ACCIDENTS = {
    "append failed",
    "could not open",
    "damage named",
    "failed sync",
    "full disk",
    "kill",
    "power cut",
    "power cut in a call",
    "power cut while opening",
    "rotten .index",
    "rotten .log",
    "rotten durable",
    "segments removed",
}


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_all_that_was_acknowledged_is_there_once_in_order(first: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="penstock.log")
    worlds = [run_seed(seed) for seed in range(first, first + GROUP)]
    check_that_accidents_mattered(worlds)


def check_that_accidents_mattered(worlds: list[World]) -> None:
    """A world in which nothing goes wrong shows nothing."""
    accidents = sum((world.accidents for world in worlds), Counter[str]())
    assert set(accidents) >= ACCIDENTS, f"never happened: {ACCIDENTS - set(accidents)}"
    assert sum(world.acknowledged for world in worlds) > 20 * len(worlds)


def test_a_seed_is_the_same_life_each_time() -> None:
    first, second = run_seed(7), run_seed(7)
    assert first.accidents == second.accidents
    assert {number: truth.promised for number, truth in first.truths.items()} == {
        number: truth.promised for number, truth in second.truths.items()
    }
