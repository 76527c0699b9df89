"""Longer runs: `python -m tests.simulation --seeds 1000` tries that many worlds, `--seed N` one of them, loudly."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.simulation.world import InvariantError, World, run_seed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds to try")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one alone and show what its processes log")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return run_loudly(chosen.seed)
    return try_seeds(range(chosen.first, chosen.first + chosen.seeds))


def try_seeds(seeds: range) -> int:
    """Run all; the exit status is 1 when something did not hold."""
    failed: list[int] = []
    accidents = readings = 0
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="penstock-simulation-") as directory:
        for seed in seeds:
            try:
                outcome = run_seed(seed, Path(directory))
            except Exception as error:
                failed.append(seed)
                kind = "" if isinstance(error, InvariantError) else f"seed {seed}: {type(error).__name__}: "
                print(f"{kind}{error}", flush=True)
                continue
            accidents += sum(outcome.accidents.values())
            readings += outcome.readings
    took_s = time.perf_counter() - started_s
    what = f"{accidents} accidents, {readings} readings stored, {len(failed)} failed"
    print(f"{len(seeds)} worlds in {took_s:.1f} s: {what}")
    if failed:
        print(f"look at one with: python -m tests.simulation --seed {failed[0]}")
    return 1 if failed else 0


def run_loudly(seed: int) -> int:
    """Run one world with the log lines of its processes, each with its virtual time."""
    with tempfile.TemporaryDirectory(prefix="penstock-simulation-") as directory:
        world = World(seed, Path(directory))

        class InVirtualTime(logging.Formatter):
            def format(self, record: logging.LogRecord) -> str:
                return f"{world.loop.time():9.3f} {record.name}: {record.getMessage()}"

        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(InVirtualTime())
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        world.tell = lambda text: print(f"{world.loop.time():9.3f} ** {text}")
        print(world.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
