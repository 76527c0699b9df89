"""An edge agent as a process of its own, with sensors that cost next to nothing to read, for the benchmark."""

from __future__ import annotations

import logging
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.agent import Agent, run_agent
from edge.sensors.sensor import Series, Value
from edge.settings import EdgeSettings

DEVICE = "bench"


class Wandering:
    """Levels with noise, in hundredths, as a real sensor of a slow process gives them."""

    may_block = False

    def __init__(self, number: int, *, series: int, interval_s: float) -> None:
        self.name = f"bench{number:02d}"
        self.interval_s = interval_s
        self._series = series
        self._dice = random.Random(number)
        self._at = 0

    def open(self) -> Sequence[Series]:
        names = [f"{self.name}.{number}" for number in range(self._series)]
        return [Series(name=name, unit="degC", resolution=0.01, interval_s=self.interval_s) for name in names]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        self._at += 1
        level, gauss = 50 + 10 * math.sin(self._at / 300), self._dice.gauss
        return [round(gauss(level, 0.2), 2) for _ in range(self._series)]

    def close(self) -> None:
        pass


def sensors(count: int, *, series: int, interval_s: float) -> list[Wandering]:
    return [Wandering(number, series=series, interval_s=interval_s) for number in range(count)]


def main(state: str, port: str, count: str, series: str, interval_s: str) -> int:
    logging.basicConfig(level=logging.WARNING)
    settings = EdgeSettings(device=DEVICE, hub_port=int(port))
    chosen = sensors(int(count), series=int(series), interval_s=float(interval_s))
    return run_agent(Agent(settings, Path(state), sensors=chosen))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
