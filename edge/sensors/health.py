"""The agent's own health, as series like any other: what waits, its age, what was dropped, missed ticks, memory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.sensors.sensor import Series, SeriesType, Value

_SERIES: tuple[tuple[str, str, SeriesType, str], ...] = (
    ("agent.spool_bytes", "B", "int64", "frames that wait for the hub"),
    ("agent.queue_age_s", "s", "float64", "age of the oldest of them"),
    ("agent.dropped", "1", "int64", "readings given up and declared, in this epoch"),
    ("agent.missed_ticks", "1", "int64", "ticks since the start at which a sensor was not read in time"),
    ("agent.rss_bytes", "B", "int64", "memory of the agent's process"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Health:
    """The agent's figures at one moment."""

    spool_bytes: int
    queue_age_s: float
    dropped: int
    missed_ticks: int


class HealthSensor:
    """Asks the agent itself; `ask` returns None as long as the agent does not know."""

    may_block = False

    def __init__(self, interval_s: float, ask: Callable[[], Health | None], *, proc: Path = Path("/proc")) -> None:
        self.name = "agent"
        self.interval_s = interval_s
        self._ask = ask
        self._statm = proc / "self" / "statm"

    def open(self) -> Sequence[Series]:
        return [
            Series(
                name=name,
                unit=unit,
                type=kind,
                resolution=0.1 if kind == "float64" else 1,
                interval_s=self.interval_s,
                minimum=0,
                description=description,
            )
            for name, unit, kind, description in _SERIES
        ]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        health = self._ask()
        memory = resident_bytes(self._statm)
        if health is None:
            return [None, None, None, None, memory]
        age_s = round(health.queue_age_s, 1)
        return [health.spool_bytes, age_s, health.dropped, health.missed_ticks, memory]

    def close(self) -> None:
        pass


def resident_bytes(statm: Path) -> int | None:
    """Resident memory (proc(5), statm); None where the system does not tell."""
    try:
        return int(statm.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
