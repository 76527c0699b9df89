"""Whether this machine's clock is synchronised, as the kernel knows it (adjtimex(2))."""

from __future__ import annotations

import ctypes

from streams.frames import ClockQuality

_TIMEX_BYTES = 256  # struct timex has 208 or fewer; all zero means: only ask
_TIME_ERROR = 5


def system_clock_quality() -> ClockQuality:
    """SYNCHRONISED while NTP or PTP steers the clock, UNSYNCHRONISED when none does, UNKNOWN where we cannot ask."""
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return ClockQuality.UNKNOWN
    if answer < 0:
        return ClockQuality.UNKNOWN
    return ClockQuality.UNSYNCHRONISED if answer == _TIME_ERROR else ClockQuality.SYNCHRONISED
