"""The newest value of every series, in memory. Pure.

Newest is what the device numbered last, not what has the largest time: a clock that was ahead once would hide for long
what comes after it was set right.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from processors.rows import Rows
from processors.series import SeriesTable
from streams.frames import Quality

_QUALITY = {quality.value: quality.name.lower() for quality in Quality}


class Last(NamedTuple):
    """The newest reading of a series."""

    time_ns: int
    value: float | str | None
    quality: int
    epoch: int = -1
    sequence: int = -1
    """-1: as the store remembers it; whatever comes now is newer."""


class Latest:
    """Row number to the newest reading. Written by the consumer, read by queries."""

    def __init__(self, known: Iterable[tuple[int, Last]] = ()) -> None:
        self._last: dict[int, Last] = dict(known)
        self._lock = threading.Lock()

    def take(self, rows: Rows) -> None:
        """Readings that are stored now; an older one does not replace a newer."""
        if not len(rows):
            return
        with self._lock:
            for number, last in newest(rows):
                before = self._last.get(number)
                if before is None or (before.epoch, before.sequence) <= (last.epoch, last.sequence):
                    self._last[number] = last

    def time_ns(self, number: int | None) -> int:
        """When the newest reading of a series was taken; 0 when there is none."""
        with self._lock:
            last = None if number is None else self._last.get(number)
        return 0 if last is None else last.time_ns

    def to_json(self, table: SeriesTable, device: str | None = None) -> dict[str, Any]:
        """The answer of GET /latest."""
        with self._lock:
            items = list(self._last.items())
        devices: dict[str, dict[str, Any]] = {}
        for number, last in items:
            info = table.info(number)
            if device is None or info.device == device:
                devices.setdefault(info.device, {})[info.metric] = {
                    "time_ns": last.time_ns,
                    "value": last.value,
                    "quality": _QUALITY.get(last.quality, "bad"),
                    "unit": info.unit,
                }
        return {"devices": devices}


def newest(rows: Rows) -> Iterator[tuple[int, Last]]:
    """The newest reading of each series in the rows."""
    order = np.lexsort((rows.sequence, rows.epoch, rows.series))
    series = rows.series[order]
    ends = np.flatnonzero(np.append(series[1:] != series[:-1], True))
    for index in order[ends].tolist():
        text = int(rows.text[index])
        yield (
            int(rows.series[index]),
            Last(
                int(rows.time_ns[index]),
                rows.texts[text] if text >= 0 else plain(float(rows.value[index])),
                int(rows.quality[index]),
                int(rows.epoch[index]),
                int(rows.sequence[index]),
            ),
        )


def plain(value: float | None) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if value is not None and math.isfinite(value) else None
