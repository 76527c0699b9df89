"""Longer runs: `python -m tests.streams.log_soak --seeds 10000` tries many lives of a log, `--seed N` one, loudly."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter

from tests.streams.log_world import Broken, World, run_seed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.streams.log_soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many lives to try")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one alone and show what the log says")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return run_loudly(chosen.seed)
    logging.disable(logging.CRITICAL)  # a log that is damaged on purpose complains
    return try_seeds(range(chosen.first, chosen.first + chosen.seeds))


def try_seeds(seeds: range) -> int:
    """Run all; the exit status is 1 when a promise was not kept."""
    failed: list[int] = []
    accidents: Counter[str] = Counter()
    acknowledged = 0
    started_s = time.perf_counter()
    for seed in seeds:
        try:
            world = run_seed(seed)
        except Broken as error:
            failed.append(seed)
            print(error, flush=True)
            continue
        accidents += world.accidents
        acknowledged += world.acknowledged
    took_s = time.perf_counter() - started_s
    print(", ".join(f"{name} {count}" for name, count in sorted(accidents.items())))
    print(f"{len(seeds)} lives in {took_s:.1f} s, {acknowledged} records acknowledged, {len(failed)} failed")
    if failed:
        print(f"failed seeds: {' '.join(map(str, failed))}")
        print(f"look at one with: python -m tests.streams.log_soak --seed {failed[0]}")
    return 1 if failed else 0


def run_loudly(seed: int) -> int:
    logging.basicConfig(level=logging.INFO, format="        %(message)s", stream=sys.stdout)
    world = World(seed)
    attempt = world.attempt

    def tell(step: object) -> None:
        print(f"{getattr(step, '__name__', step)}: {world.described()}")
        attempt(step)  # type: ignore[arg-type]

    world.attempt = tell  # type: ignore[method-assign]
    world.run()
    print(f"every promise was kept: {dict(world.accidents)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
