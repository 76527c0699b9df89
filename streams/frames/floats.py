"""How a column of floats is written: which exact integers stand for it. One search, for plain Python and for numpy.

A candidate is taken only if it gives back every value bit for bit, so a wrong guess costs time and never data.
`hints` remember, by series, what was right last time: it is tried first, and the search is made anew now and then.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from streams.frames import layout
from streams.frames.packing import HINT_FRAMES, Hints

Ints = Any
"""Integers of int64 in the encoder's own form: a list, or a numpy array."""

PROBES = 4
"""Values that are tried before a whole column is."""
CORRECTION_MAX = 8
"""Largest correction, in units of the last place of float64."""
DECIMAL_MAX = float(1 << 53)
CORRECTED_MAX = float(1 << 46)


class Encoded(NamedTuple):
    """The payload of a column: bytes, then integer columns, then bytes."""

    tag: int
    prefix: bytes
    columns: tuple[Ints, ...]
    suffix: bytes = b""
    step: float = 0.0


class FloatValues(Protocol):
    """A column of floats in the encoder's own form. Finite and without -0.0 where not said otherwise."""

    head: list[float]
    """The first few values."""
    peak: float
    """The largest magnitude."""

    def decimals(self, divisor: float) -> Ints | None:
        """Integers that give the values when divided by `divisor`."""
        ...

    def decimals32(self, divisor: float) -> Ints | None:
        """The same for a float32 column: the quotient is rounded to float32."""
        ...

    def corrected(self, divisor: float) -> tuple[Ints, Ints] | None:
        """The same, with small corrections of the float64 patterns."""
        ...

    def stepped(self, step: float) -> tuple[Ints, Ints] | None:
        """Integers that give the values when multiplied by `step`, and corrections."""
        ...

    def blank(self, corrections: Ints) -> bool:
        """Whether all corrections are 0."""
        ...

    def gap(self) -> float:
        """The smallest difference of two values; 0 if all are equal."""
        ...

    def narrow(self) -> Ints | None:
        """The unsigned float32 patterns, if float32 holds every value (NaN and -0.0 too)."""
        ...

    def patterns(self) -> Ints:
        """The float64 patterns (NaN and -0.0 too)."""
        ...

    def split(self, patterns: Ints) -> tuple[Ints, bytes]:
        """Float32 patterns as exponents, and sign with mantissa in 3 bytes each."""
        ...


Size = Callable[[Encoded], int]
"""The bytes that a candidate takes."""


def encode_float64(
    values: FloatValues, *, hints: Hints | None, series: int, resolution: float | None, size: Size
) -> Encoded:
    """Choose how to write a float64 column of finite values without -0.0."""
    return _hinted(values, hints, series, False, lambda: _search_float64(values, resolution, size))


def encode_float32(values: FloatValues, *, hints: Hints | None, series: int, size: Size) -> Encoded:
    """Choose how to write a float32 column of finite values without -0.0, all of which float32 can hold."""
    return _hinted(values, hints, series, True, lambda: _search_float32(values, size))


def encode_raw(values: FloatValues, size: Size, *, float32: bool) -> Encoded:
    """Write values of any kind, NaN and -0.0 too, as patterns. A float32 column must be one."""
    narrow = values.narrow()
    if narrow is None:
        return Encoded(layout.PATTERN, b"", (values.patterns(),))
    exponents, rest = values.split(narrow)
    split = Encoded(layout.FLOAT32_SPLIT if float32 else layout.NARROW_SPLIT, b"", (exponents,), rest)
    whole = Encoded(layout.FLOAT32_PATTERN if float32 else layout.NARROW_PATTERN, b"", (narrow,))
    return split if size(split) <= size(whole) else whole


def _hinted(
    values: FloatValues, hints: Hints | None, series: int, float32: bool, search: Callable[[], Encoded]
) -> Encoded:
    if hints is None:
        return search()
    tag, frames_left, step = hints.get(series, (0, 0, 0.0))
    usable = frames_left > 0 and (tag >= layout.FLOAT32_SPLIT) == float32  # a series may have changed its type
    encoded = _attempt(values, tag, step) if usable else None
    if encoded is None:
        frames_left = HINT_FRAMES
        encoded = search()
    hints[series] = encoded.tag, frames_left - 1, encoded.step
    return encoded


def _search_float64(values: FloatValues, resolution: float | None, size: Size) -> Encoded:
    tags = range(layout.DECIMAL, layout.DECIMAL + layout.DECIMAL_DIGITS_MAX + 1)
    found = _first(values, tags)
    if found is None and resolution is not None:
        found = _attempt(values, layout.STEP, resolution)
    if found is None:
        found = _first(values, range(layout.CORRECTED, layout.STEP))
    if found is None:
        found = encode_raw(values, size, float32=False)
    if layout.CORRECTED <= found.tag < layout.STEP or found.tag == layout.PATTERN:
        attempts = (_attempt(values, layout.STEP, step) for step in _steps(values))
        stepped = next((attempt for attempt in attempts if attempt is not None), None)
        if stepped is not None and size(stepped) < size(found):
            found = stepped
    return found


def _search_float32(values: FloatValues, size: Size) -> Encoded:
    tags = range(layout.FLOAT32_DECIMAL, layout.FLOAT32_DECIMAL + layout.FLOAT32_DIGITS_MAX + 1)
    return _first(values, tags) or encode_raw(values, size, float32=True)


def _first(values: FloatValues, tags: range) -> Encoded | None:
    attempts = (_attempt(values, tag, 0.0) for tag in tags)
    return next((attempt for attempt in attempts if attempt is not None), None)


def _attempt(values: FloatValues, tag: int, step: float) -> Encoded | None:
    """This encoding, if it is exact."""
    if tag < layout.CORRECTED:
        integers = values.decimals(layout.divisor_of(tag))
        return None if integers is None else Encoded(tag, b"", (integers,))
    if tag < layout.STEP:
        pair = values.corrected(layout.divisor_of(tag))
        if pair is not None and tag < layout.SIXTIETHS and values.blank(pair[1]):
            return Encoded(tag - layout.CORRECTED + layout.DECIMAL, b"", pair[:1])
        return None if pair is None else Encoded(tag, b"", pair)
    if tag in (layout.STEP, layout.STEP_CORRECTED):
        return _stepped(values, step)
    if tag >= layout.FLOAT32_DECIMAL:
        integers = values.decimals32(layout.POWERS[tag - layout.FLOAT32_DECIMAL])
        return None if integers is None else Encoded(tag, b"", (integers,))
    return _repeated_raw(values, tag)


def _stepped(values: FloatValues, step: float) -> Encoded | None:
    pair = values.stepped(step)
    if pair is None:
        return None
    integers, corrections = pair
    if values.blank(corrections):
        return Encoded(layout.STEP, struct.pack("<d", step), (integers,), step=step)
    return Encoded(layout.STEP_CORRECTED, struct.pack("<d", step), (integers, corrections), step=step)


def _repeated_raw(values: FloatValues, tag: int) -> Encoded | None:
    """The pattern encoding that was the smallest last time."""
    if tag == layout.PATTERN:
        return Encoded(tag, b"", (values.patterns(),))
    narrow = values.narrow()
    if narrow is None:
        return None
    if tag in (layout.NARROW_PATTERN, layout.FLOAT32_PATTERN):
        return Encoded(tag, b"", (narrow,))
    exponents, rest = values.split(narrow)
    return Encoded(tag, b"", (exponents,), rest)


def _steps(values: FloatValues) -> Iterator[float]:
    """Guesses of the step of a converter whose resolution nobody declared: values = counts * step."""
    gap = values.gap()
    if gap / _GAP_PARTS[-1] <= 0 or values.peak / gap > _COUNTS_MAX:
        return
    for part in _GAP_PARTS:
        counts = round(values.peak / (gap / part))
        if counts:
            step = values.peak / counts
            yield _rounded_step(step)
            yield step


def _rounded_step(step: float) -> float:
    """The step as range / counts (3.3 / 4096), if the range is a short decimal: then nothing is left over."""
    for bits in range(8, 25):
        for counts in (1 << bits, (1 << bits) - 1):
            full = round(step * counts, 6)
            if full and abs(full / counts - step) <= abs(step) * 1e-15:
                return full / counts
    return step


_COUNTS_MAX = float(1 << 32)
_GAP_PARTS = (1, 2, 3)
"""The smallest gap may be of two or three steps."""
