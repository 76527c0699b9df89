"""Where readings stand in a store that holds one point for each series and time (InfluxDB). Pure.

A later point would overwrite an earlier one at the same time, and a device's clock may stand still or go back. So each
point of a series is later than the one before it in its *lap*:

- a reading that is later than the last point stands at its own time;
- one that is not, by less than a microsecond, stands 1 ns after the last point (two readings at the same time);
- any other begins a new lap: there it stands at its own time again. The laps of a series are tried in turn, so that the
  first lap is found again as soon as the clock is past the point where it was set back;
- when there are as many laps as there may be, it stands 1 ns after the nearest last point.

So no two readings of a series share a lap and a time, and the place follows from what was placed before alone: it does
not depend on how the log is cut into chunks. Laps are the increasing runs of patience sorting (Mallows 1963).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from processors.rows import Rows

LAPS_MAX = 100
SHIFT_NS_MAX = 999

_NEVER = np.iinfo(np.int64).min
_LAST_NS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """The places of some rows, in an order that has the rows of a series together."""

    order: NDArray[np.int64]
    """Indices of the rows; the other columns are in this order."""
    lap: NDArray[np.int32]
    point_ns: NDArray[np.int64]
    numbers: NDArray[np.int32]
    """The series that went on in their first lap only, and their last points."""
    tops: NDArray[np.int64]
    laps: dict[int, list[int]] = field(default_factory=dict)
    """The others: the last point of each of their laps."""

    def changed(self) -> Iterator[tuple[int, int, int]]:
        """(series, lap, last point) of everything that moved, for the store to keep."""
        for number, top in zip(self.numbers.tolist(), self.tops.tolist()):
            yield number, 0, top
        for number, tops in self.laps.items():
            for lap, top in enumerate(tops):
                yield number, lap, top


class Places:
    """The last point of each lap of each series."""

    def __init__(self, known: Iterable[tuple[int, int, int]] = ()) -> None:
        self._tops = np.empty(0, np.int64)
        self._laps: dict[int, list[int]] = {}
        for number, lap, top in sorted(known):
            self._grow(number + 1)
            if lap == 0:
                self._tops[number] = top
            else:
                self._laps.setdefault(number, []).append(top)

    def place(self, rows: Rows) -> Placed:
        """The places of rows, in the order in which they were taken from the log. Nothing is remembered yet."""
        order = np.argsort(rows.series, kind="stable")
        series, point_ns = rows.series[order], rows.time_ns[order]
        lap = np.zeros(len(order), np.int32)
        if not len(order):
            return Placed(order, lap, point_ns, series, point_ns)
        self._grow(int(series[-1]) + 1)
        begins = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
        ends = np.append(begins[1:], len(series))
        later = np.append(False, point_ns[1:] > point_ns[:-1])
        later[begins] = point_ns[begins] > self._tops[series[begins]]
        plain = np.logical_and.reduceat(later, begins)
        laps: dict[int, list[int]] = {}
        for begin, end in zip(begins[~plain].tolist(), ends[~plain].tolist()):
            number = int(series[begin])
            laps[number] = tops = [int(self._tops[number]), *self._laps.get(number, ())]
            for at, time_ns in enumerate(point_ns[begin:end].tolist(), begin):
                lap[at], point_ns[at] = _step(tops, time_ns)
        return Placed(order, lap, point_ns, series[begins[plain]], point_ns[ends[plain] - 1], laps)

    def take(self, placed: Placed) -> None:
        """These rows are written."""
        self._tops[placed.numbers] = placed.tops
        for number, tops in placed.laps.items():
            self._tops[number] = tops[0]
            self._laps[number] = tops[1:]

    def _grow(self, count: int) -> None:
        if count > len(self._tops):
            more = np.full(max(256, count - len(self._tops)), _NEVER)
            self._tops = np.append(self._tops, more)


def _step(tops: list[int], time_ns: int) -> tuple[int, int]:
    """The lap and point of a reading; `tops` moves on."""
    for lap, top in enumerate(tops):
        if time_ns > top:
            tops[lap] = time_ns
            return lap, time_ns
        if top - time_ns < SHIFT_NS_MAX:
            break
    else:
        if len(tops) < LAPS_MAX:
            tops.append(time_ns)
            return len(tops) - 1, time_ns
        lap = min(range(len(tops)), key=tops.__getitem__)
    tops[lap] = min(tops[lap] + 1, _LAST_NS)
    return lap, tops[lap]
