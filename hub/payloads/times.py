"""Times as others write them, to nanoseconds since 1970 UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(r"(\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d(?::?\d\d)?)(?:[.,](\d{1,9})\d*)?(Z|z|[+-]\d\d:?\d\d)?")
_UNITS = ((1e17, 1), (1e14, 10**3), (1e11, 10**6), (1e8, 10**9))
"""From which number on, a time is in which unit: nanoseconds, micro, milli, seconds. 1e8 seconds are March 1973."""


def from_seconds(seconds: float) -> int:
    """Rounded to microseconds, which is what a float64 of today's times holds; whole numbers are exact."""
    return int(seconds) * 10**9 if seconds == int(seconds) else round(seconds * 1e6) * 1000


def from_number(number: int | float) -> int | None:
    """A time whose unit is told by its size; None if it is too small to be one."""
    unit_ns = next((unit_ns for least, unit_ns in _UNITS if number >= least), None)
    if unit_ns is None:
        return None
    if isinstance(number, int):
        return number * unit_ns
    return round(number * (unit_ns // 1000)) * 1000 if unit_ns >= 1000 else round(number)


def from_text(text: str) -> int | None:
    """A date and time of ISO 8601, UTC where it names no zone; None if it is none."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    main, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(main + (zone or "Z").upper())
    except ValueError:
        return None
    whole = (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    return whole + int((fraction or "0").ljust(9, "0"))
