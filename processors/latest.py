"""The last value of every series, in memory. Pure."""

from __future__ import annotations

import threading
from collections.abc import Iterable
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


class Latest:
    """Row number to the newest reading. Written by the consumer, read by queries."""

    def __init__(self, known: Iterable[tuple[int, Last]] = ()) -> None:
        self._last: dict[int, Last] = dict(known)
        self._lock = threading.Lock()

    def take(self, rows: Rows) -> None:
        """Readings that are stored now; an older one does not replace a newer."""
        if not len(rows):
            return
        order = np.lexsort((rows.time_ns, rows.series))
        series = rows.series[order]
        ends = np.flatnonzero(np.append(series[1:] != series[:-1], True))
        with self._lock:
            for index in order[ends].tolist():
                number, time_ns = int(rows.series[index]), int(rows.time_ns[index])
                before = self._last.get(number)
                if before is not None and before.time_ns > time_ns:
                    continue
                text = int(rows.text[index])
                value = rows.texts[text] if text >= 0 else _plain(float(rows.value[index]))
                self._last[number] = Last(time_ns, value, int(rows.quality[index]))

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


def _plain(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if np.isfinite(value) else None
