"""One reading as others write it: by name instead of number; and the limits of what one message may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from streams.errors import JunkError
from streams.frames import Kind

READINGS_MAX = 50_000
NAME_BYTES_MAX = 512
UNIT_BYTES_MAX = 64
TEXT_BYTES_MAX = 65_535
"""Of one text; what a frame can hold."""
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


class Reading(NamedTuple):
    """`value` is float, int, bool or str by `kind`."""

    name: str
    kind: Kind
    value: float | int | bool | str
    time_ns: int
    unit: str | None = None


Reader = Callable[[bytes, int], list[Reading]]
"""The readings of a payload that came at a time (ns): readings without a time of their own get this one. JunkError."""


class Readings(list[Reading]):
    """The readings of one message, checked as they are added."""

    def take(self, name: str, value: object, time_ns: int, unit: str | None = None) -> None:
        """Add a number, bool or text. Raises JunkError.

        Whole numbers are float64 like all others, which holds them up to 2**53; those that it does not hold are int64,
        and those of more than 64 bits are rounded.
        """
        if isinstance(value, bool):
            self.put(name, Kind.BOOL, value, time_ns, unit)
        elif isinstance(value, int):
            self._take_whole(name, value, time_ns, unit)
        elif isinstance(value, float):
            self.put(name, Kind.FLOAT64, value, time_ns, unit)
        elif isinstance(value, str):
            self.put(name, Kind.TEXT, value, time_ns, unit)
        else:
            raise JunkError(f"{name[:80]!r} has a value that is no reading: {type(value).__name__}")

    def put(self, name: str, kind: Kind, value: float | int | bool | str, time_ns: int, unit: str | None) -> None:
        """Add a reading of this kind. Raises JunkError."""
        if len(self) >= READINGS_MAX:
            raise JunkError(f"more than {READINGS_MAX} readings in one message; send fewer at once")
        if not name or len(name) > NAME_BYTES_MAX or len(_utf8(name, "a name")) > NAME_BYTES_MAX:
            raise JunkError(f"a name must be of 1 to {NAME_BYTES_MAX} bytes, not {len(name)} characters: {name[:80]!r}")
        if unit is not None and (len(unit) > UNIT_BYTES_MAX or len(_utf8(unit, "a unit")) > UNIT_BYTES_MAX):
            raise JunkError(f"a unit must be of at most {UNIT_BYTES_MAX} bytes, not {unit[:80]!r}")
        if kind == Kind.TEXT:
            assert isinstance(value, str)
            if len(_utf8(value, f"the text of {name[:80]!r}")) > TEXT_BYTES_MAX:
                raise JunkError(f"{name[:80]!r} has a text of more than {TEXT_BYTES_MAX} bytes")
        if not INT64_MIN <= time_ns <= INT64_MAX:
            raise JunkError(f"{name[:80]!r} has a time outside the years 1678 to 2262")
        self.append(Reading(name, kind, value, time_ns, unit))

    def _take_whole(self, name: str, value: int, time_ns: int, unit: str | None) -> None:
        try:
            near = float(value)
        except OverflowError:
            raise JunkError(f"{name[:80]!r} has a number that no float64 holds") from None
        if near == value or not INT64_MIN <= value <= INT64_MAX:
            self.put(name, Kind.FLOAT64, near, time_ns, unit)
        else:
            self.put(name, Kind.INT64, value, time_ns, unit)


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # JSON can name half of a surrogate pair
        raise JunkError(f"{what} is not Unicode text: {text[:40]!r}") from None
