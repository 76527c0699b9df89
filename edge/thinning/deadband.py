"""Deadband: a reading is left out while it is less than the error away from the last one that was kept.

What was left out is told by holding the last kept value. With an error of 0 only changes are kept, of text too.
"""

from __future__ import annotations

from edge.thinning.thinning import Reading


class Deadband:
    """Thins one series. At least one reading each `interval_ns_max` is kept."""

    name = "deadband"

    def __init__(self, *, error: float, interval_ns_max: int) -> None:
        self._error = error
        self._interval_ns_max = interval_ns_max
        self._last: Reading | None = None

    @property
    def held(self) -> Reading | None:
        return None

    def take(self, reading: Reading) -> list[Reading]:
        if self._last is not None and self._is_told_by(self._last, reading):
            return []
        self._last = reading
        return [reading]

    def flush(self) -> list[Reading]:
        return []

    def _is_told_by(self, last: Reading, reading: Reading) -> bool:
        if not 0 < reading.time_ns - last.time_ns < self._interval_ns_max or reading.quality != last.quality:
            return False
        if reading.value == last.value:
            return True
        if isinstance(reading.value, str) or isinstance(last.value, str):
            return False
        return abs(reading.value - last.value) < self._error  # not <=: the difference may have been rounded down
