"""Thins what sensors read before it gets numbers, each series by its own thinning, and counts what it leaves out."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from edge.sensors.sensor import Series, Value
from edge.settings import ThinningSettings
from edge.thinning.deadband import Deadband
from edge.thinning.swinging_door import SwingingDoor
from edge.thinning.thinning import Reading, Thinning
from edge.tick import Tick
from streams.errors import MisuseError

Counts = dict[tuple[str, str], int]
"""How many readings, by series and reason."""

METHODS: Mapping[str, Callable[..., Thinning]] = {"deadband": Deadband, "swinging door": SwingingDoor}


class Thinner:
    """`series` by number. The first of `settings` whose pattern fits a series says how it is thinned; others pass."""

    def __init__(self, series: Iterable[tuple[int, Series]] = (), settings: Sequence[ThinningSettings] = ()) -> None:
        self._names: dict[int, str] = {}
        self._thinnings: dict[int, Thinning] = {}
        self._counts: dict[int, int] = {}
        self._dirty: set[int] = set()
        for number, each in series:
            chosen = thinning_of(each, settings)
            if chosen is not None:
                self._names[number] = each.name
                self._thinnings[number] = _make(chosen)

    def take(self, tick: Tick) -> list[Tick]:
        """The readings to keep now: of this tick, or held until now. They are ticks in the order of time."""
        if not self._thinnings:
            return [tick]
        kept: list[tuple[int, Reading]] = []
        for number, value, quality in zip(tick.series, tick.values, tick.qualities):
            reading = Reading(tick.time_ns, value, quality)
            thinning = self._thinnings.get(number)
            if thinning is None:
                kept.append((number, reading))
                continue
            held = thinning.held is not None
            out = thinning.take(reading)
            kept += [(number, each) for each in out]
            self._counts[number] = self._counts.get(number, 0) + 1 + held - len(out) - (thinning.held is not None)
            if thinning.held is not None:
                self._dirty.add(number)
        return ticks_of(kept)

    def flush(self) -> list[Tick]:
        """The end: what is held, to be kept."""
        self._dirty.clear()
        return ticks_of([(number, each) for number, thinning in self._thinnings.items() for each in thinning.flush()])

    def newly_held(self) -> list[Tick]:
        """What is held and was not at the last call."""
        return self._held(sorted(self._dirty))

    def held(self) -> list[Tick]:
        """All that is neither kept nor left out yet."""
        return self._held(self._thinnings)

    @property
    def holds(self) -> bool:
        """Whether any reading is neither kept nor left out yet."""
        return any(thinning.held is not None for thinning in self._thinnings.values())

    def take_counts(self) -> Counts:
        """How many readings were left out since the last call."""
        counts = {(self._names[at], self._thinnings[at].name): n for at, n in self._counts.items() if n}
        self._counts.clear()
        return counts

    def _held(self, numbers: Iterable[int]) -> list[Tick]:
        found = [(number, held) for number in numbers if (held := self._thinnings[number].held) is not None]
        self._dirty.clear()
        return ticks_of(found)


def thinning_of(series: Series, settings: Sequence[ThinningSettings]) -> ThinningSettings | None:
    """How a series is thinned, None if it is not. MisuseError when its type does not allow that."""
    for each in settings:
        if not fnmatch.fnmatchcase(series.name, each.series):
            continue
        if each.method == "none":
            return None
        if series.type in ("text", "bool") and (each.method != "deadband" or each.error):
            raise MisuseError(
                f"edge.thinning: series {series.name} is {series.type}, which has no distance: thin it by "
                'method = "deadband" with error = 0, or name a pattern before this one that leaves it as it is'
            )
        return each
    return None


def shown(settings: ThinningSettings | None) -> dict[str, Any] | None:
    """What the manifest says of it, so that whoever reads the series knows how to fill it up."""
    if settings is None:
        return None
    return {"method": settings.method, "error": settings.error, "interval_s_max": settings.interval_s_max}


def ticks_of(readings: Iterable[tuple[int, Reading]]) -> list[Tick]:
    """Readings of several series as ticks: what shares a time is one."""
    by_time: dict[int, tuple[list[int], list[Value], list[int]]] = {}
    for number, reading in readings:
        series, values, qualities = by_time.setdefault(reading.time_ns, ([], [], []))
        series.append(number)
        values.append(reading.value)
        qualities.append(reading.quality)
    return [Tick(at, *(tuple(each) for each in by_time[at])) for at in sorted(by_time)]  # type: ignore[arg-type]


def _make(settings: ThinningSettings) -> Thinning:
    return METHODS[settings.method](error=settings.error, interval_ns_max=round(settings.interval_s_max * 1e9))
