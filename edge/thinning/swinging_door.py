"""Swinging door: a reading is left out while a straight line between kept ones passes it within the error.

From the last kept reading, the pivot, two doors hang: the steepest and the flattest line that pass every reading since
within the error. A new reading whose line from the pivot lies between the doors can stand for all since the pivot; it
is held, and the one held before is left out. Otherwise the one held is kept and is the new pivot.

The doors here hang from the pivot itself, and a held reading was between them when it came; the older form, with doors
from the pivot plus and minus the error that only have to stay open, may be off by twice the error.
E. H. Bristol, "Swinging door trending: adaptive trend recording", ISA 1990.
"""

from __future__ import annotations

import math

from edge.thinning.thinning import Reading
from streams.frames import Quality

_MAGNITUDE_MAX = 1e300
"""Beyond it differences overflow."""
_ROUNDING_ULPS = 8
"""What the arithmetic below may be off by is taken off the error, so that the error is never passed."""


class SwingingDoor:
    """Thins one series of numbers. At least one reading each `interval_ns_max` is kept."""

    name = "swinging door"

    def __init__(self, *, error: float, interval_ns_max: int) -> None:
        self._error = error
        self._interval_ns_max = interval_ns_max
        self._pivot: Reading | None = None
        self._held: Reading | None = None
        self._low = -math.inf
        self._high = math.inf

    @property
    def held(self) -> Reading | None:
        return self._held

    def take(self, reading: Reading) -> list[Reading]:
        if not _is_plain(reading):
            kept = [*self.flush(), reading]
            self._pivot = None  # no line passes over it
            return kept
        if self._pivot is None:
            self._open(reading)
            return [reading]
        latest = self._held or self._pivot
        if reading.time_ns <= latest.time_ns:  # the clock was set back
            kept = [*self.flush(), reading]
            self._open(reading)
            return kept
        if self._is_between_the_doors(reading):
            return self._hold(reading)
        assert self._held is not None, "the doors are wide open until a reading is held"
        kept = [self._held]
        self._open(self._held)
        return kept + self._hold(reading)

    def flush(self) -> list[Reading]:
        if self._held is None:
            return []
        kept = [self._held]
        self._open(self._held)
        return kept

    def _open(self, pivot: Reading) -> None:
        self._pivot, self._held = pivot, None
        self._low, self._high = -math.inf, math.inf

    def _is_between_the_doors(self, reading: Reading) -> bool:
        return self._low <= self._slope(reading, 0.0) <= self._high

    def _hold(self, reading: Reading) -> list[Reading]:
        assert self._pivot is not None
        if reading.time_ns - self._pivot.time_ns >= self._interval_ns_max:
            self._open(reading)
            return [reading]
        pivot, value = float(self._pivot.value), float(reading.value)
        error = self._error - _ROUNDING_ULPS * math.ulp(max(abs(pivot), abs(value)) + self._error)
        self._low = max(self._low, self._slope(reading, -error))
        self._high = min(self._high, self._slope(reading, error))
        self._held = reading
        return []

    def _slope(self, reading: Reading, up: float) -> float:
        assert self._pivot is not None
        rise = float(reading.value) - float(self._pivot.value) + up
        return rise / (reading.time_ns - self._pivot.time_ns)


def _is_plain(reading: Reading) -> bool:
    return reading.quality == Quality.GOOD and abs(float(reading.value)) < _MAGNITUDE_MAX
