"""How far this machine's clock may be off, as the kernel knows it (adjtimex(2), maxerror)."""

from __future__ import annotations

import ctypes


class _Timex(ctypes.Structure):
    """The head of struct timex, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_int),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("error_max_us", ctypes.c_long),
        ("rest", ctypes.c_char * 256),
    )


def clock_error_ms() -> int:
    """The largest error in milliseconds: a few when synchronised, 16,000 when never; 0 where we cannot ask."""
    found = _Timex()
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.byref(found))
    except (OSError, AttributeError):
        return 0
    return 0 if answer < 0 else max(0, int(found.error_max_us)) // 1000
