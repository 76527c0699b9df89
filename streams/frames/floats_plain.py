"""Columns of floats in plain Python, for the search in `floats`."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Sequence

from streams.frames.floats import CORRECTED_MAX, CORRECTION_MAX, DECIMAL_MAX, PROBES
from streams.frames.values import narrowed

Pair = tuple[list[int], list[int]]

_MINUS_ZERO = struct.pack("<d", -0.0)


class PlainFloats:
    """A column as a list of floats (see `floats.FloatValues`)."""

    def __init__(self, values: list[float]) -> None:
        self._values = values
        distinct = set(values)
        self._distinct = distinct if len(distinct) * 2 <= len(values) else None
        """The different values, if a sensor repeats itself so much that each needs to be seen only once."""
        seen = self._distinct or values
        self.head = values[:PROBES]
        self.peak = max(max(seen), -min(seen))

    def decimals(self, divisor: float) -> list[int] | None:
        if self.peak * divisor >= DECIMAL_MAX:
            return None
        for value in self.head:
            if round(value * divisor) / divisor != value:
                return None
        values = self._values
        if divisor == 1.0:
            whole = list(map(int, values))
            return whole if whole == values else None
        if self._distinct is not None:
            scaled = {value: round(value * divisor) for value in self._distinct}
            if [integer / divisor for integer in scaled.values()] != list(scaled):
                return None
            return list(map(scaled.__getitem__, values))
        integers = [round(value * divisor) for value in values]
        return integers if [integer / divisor for integer in integers] == values else None

    def decimals32(self, divisor: float) -> list[int] | None:
        if self.peak * divisor >= DECIMAL_MAX:
            return None
        for values in (self.head, self._values):
            integers = [round(value * divisor) for value in values]
            if _rounded32([integer / divisor for integer in integers]) != values:
                return None
        return integers

    def corrected(self, divisor: float) -> Pair | None:
        if self.peak * divisor >= CORRECTED_MAX:
            return None
        return self._pair(lambda values: [round(x * divisor) for x in values], lambda ints: [i / divisor for i in ints])

    def stepped(self, step: float) -> Pair | None:
        if self.peak / step >= CORRECTED_MAX:
            return None
        return self._pair(lambda values: [round(x / step) for x in values], lambda ints: [i * step for i in ints])

    def _pair(self, forth: Callable[[list[float]], list[int]], back: Callable[[list[int]], list[float]]) -> Pair | None:
        """Integers by `forth` and what the values differ from `back` of them; the first few are tried first."""
        if _corrections(self.head, back(forth(self.head))) is None:
            return None
        integers = forth(self._values)
        corrections = _corrections(self._values, back(integers))
        return None if corrections is None else (integers, corrections)

    def blank(self, corrections: list[int]) -> bool:
        return not any(corrections)

    def gap(self) -> float:
        distinct = sorted(set(self._values))
        return min([after - before for before, after in itertools.pairwise(distinct)], default=0.0)

    def narrow(self) -> list[int] | None:
        for values in (self.head, self._values):
            patterns = _narrowed(values)
            if patterns is None:
                return None
        return patterns

    def patterns(self) -> list[int]:
        return list(_patterns(self._values))

    def split(self, patterns: list[int]) -> tuple[list[int], bytes]:
        rest = bytearray(struct.pack(f"<{len(patterns)}I", *[x >> 31 << 23 | x & 0x7FFFFF for x in patterns]))
        del rest[3::4]
        return [pattern >> 23 & 255 for pattern in patterns], bytes(rest)


def special_rows(values: list[float]) -> list[int]:
    """Rows that hold no plain number: NaN, infinities and -0.0."""
    zeros = 0.0 in values and _MINUS_ZERO in struct.pack(f"<{len(values)}d", *values)
    if not zeros and math.isfinite(sum(values)):
        return []
    return [
        row
        for row, value in enumerate(values)
        if (value == 0 and math.copysign(1.0, value) < 0) or not math.isfinite(value)
    ]


def _patterns(values: Sequence[float]) -> tuple[int, ...]:
    return struct.unpack(f"<{len(values)}q", struct.pack(f"<{len(values)}d", *values))


def _corrections(values: list[float], near: list[float]) -> list[int] | None:
    corrections = [wanted - found for wanted, found in zip(_patterns(values), _patterns(near))]
    if max(corrections) > CORRECTION_MAX or min(corrections) < -CORRECTION_MAX:
        return None
    return corrections


def _rounded32(values: list[float]) -> list[float] | None:
    try:
        return list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))
    except OverflowError:
        return None


def _narrowed(values: list[float]) -> list[int] | None:
    if any(map(math.isnan, values)):
        found = [narrowed(pattern & (1 << 64) - 1) for pattern in _patterns(values)]
        whole = [pattern for pattern in found if pattern is not None]
        return whole if len(whole) == len(found) else None
    if _rounded32(values) != values:
        return None
    return list(struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values)))
