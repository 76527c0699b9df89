"""Are these values what their column says? Checked before anything is written, with an error that names the place."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from operator import index
from typing import Any, NoReturn

from streams.errors import MisuseError
from streams.frames.frame import Kind

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


def plain(values: Sequence[Any] | Any) -> list[Any]:
    """The values as a list of Python objects, whatever sequence or array they came in."""
    if type(values) is list:
        return values
    return values.tolist() if hasattr(values, "tolist") else list(values)


def floats(values: Sequence[Any], series: int) -> list[float]:
    """Values of a float64 column; whole numbers are taken if float64 holds them exactly. Raises MisuseError."""
    found = plain(values)
    if set(map(type, found)) <= {float}:
        return found
    return [_float(value, series, row) for row, value in enumerate(found)]


def _float(value: Any, series: int, row: int) -> float:
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        _wrong(value, series, row, "a float")
    whole = index(value)
    try:
        exact = float(whole)
    except OverflowError:
        exact = math.inf
    if exact != whole:
        _wrong(value, series, row, "a number that float64 holds exactly")
    return exact


def integers(values: Sequence[Any], series: int) -> list[int]:
    """Values of an int64 column. Raises MisuseError."""
    found = plain(values)
    if not set(map(type, found)) <= {int}:
        found = [_integer(value, series, row) for row, value in enumerate(found)]
    if found and (min(found) < INT64_MIN or max(found) > INT64_MAX):
        row = next(row for row, value in enumerate(found) if not INT64_MIN <= value <= INT64_MAX)
        _wrong(found[row], series, row, "a whole number of 64 bits")
    return found


def _integer(value: Any, series: int, row: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        _wrong(value, series, row, "a whole number")
    return index(value)


def bools(values: Sequence[Any], series: int) -> list[bool]:
    """Values of a bool column. Raises MisuseError."""
    found = plain(values)
    if set(map(type, found)) <= {bool}:
        return found
    for row, value in enumerate(found):
        if type(value) is not bool:
            _wrong(value, series, row, "True or False")
    return found


def texts(values: Sequence[Any], series: int) -> list[str]:
    """Values of a text column. Raises MisuseError."""
    found = plain(values)
    for row, value in enumerate(found):
        if not isinstance(value, str):
            _wrong(value, series, row, "a str")
    return found


def to_float32(value: float) -> float:
    """The nearest float that a float32 column can hold. Finite values beyond float32's range become infinite."""
    try:
        (near,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(near)


def narrowed(pattern: int) -> int | None:
    """The float32 pattern of a float64 pattern (unsigned), NaN payloads kept; None when bits would be lost."""
    sign, exponent, mantissa = pattern >> 63, pattern >> 52 & 2047, pattern & 0xFFFFFFFFFFFFF
    if exponent == 0 and mantissa == 0:
        return sign << 31
    if exponent == 2047 or 897 <= exponent <= 1150:
        if mantissa & 0x1FFFFFFF:
            return None
        return sign << 31 | (255 if exponent == 2047 else exponent - 896) << 23 | mantissa >> 29
    shift = 926 - exponent  # a subnormal float32 is a multiple of 2**-149
    if not 30 <= shift <= 52 or (mantissa | 1 << 52) & ((1 << shift) - 1):
        return None
    return sign << 31 | (mantissa | 1 << 52) >> shift


def _wrong(value: Any, series: int, row: int, wanted: str) -> NoReturn:
    shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
    place = f"series {series}" if series >= 0 else "times"
    raise MisuseError(f"{place}, row {row}: {shown} is not {wanted}; mend the value, or the type of the series")


def not_float32(value: float, row: int, series: int) -> MisuseError:
    """The error for a value that a float32 column cannot hold."""
    return MisuseError(
        f"series {series}, row {row}: {value!r} is not a float32; round it with to_float32, "
        f"or declare the series {Kind.FLOAT64}"
    )
