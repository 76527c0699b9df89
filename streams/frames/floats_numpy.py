"""Columns of floats with numpy, for the search in `floats`: the same answers as `floats_plain`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.frames.floats import CORRECTED_MAX, CORRECTION_MAX, DECIMAL_MAX, PROBES
from streams.frames.floats_plain import PlainFloats
from streams.frames.values import INT64_MIN

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]


class NumpyFloats:
    """A column as a float64 array (see `floats.FloatValues`). The first few values are tried in plain Python."""

    def __init__(self, values: Float64s) -> None:
        self._values = values
        self.head: list[float] = values[:PROBES].tolist()
        self.peak = float(max(values.max(), -values.min()))
        self._probe = PlainFloats(self.head)

    def decimals(self, divisor: float) -> Int64s | None:
        if self.peak * divisor >= DECIMAL_MAX or self._probe.decimals(divisor) is None:
            return None
        scaled = np.rint(self._values * divisor)
        return scaled.astype(np.int64) if (scaled / divisor == self._values).all() else None

    def decimals32(self, divisor: float) -> Int64s | None:
        if self.peak * divisor >= DECIMAL_MAX or self._probe.decimals32(divisor) is None:
            return None
        scaled = np.rint(self._values * divisor)
        near = (scaled / divisor).astype(np.float32)
        return scaled.astype(np.int64) if (near == self._values).all() else None

    def corrected(self, divisor: float) -> tuple[Int64s, Int64s] | None:
        if self.peak * divisor >= CORRECTED_MAX or self._probe.corrected(divisor) is None:
            return None
        integers = np.rint(self._values * divisor).astype(np.int64)
        return self._with_corrections(integers, integers / divisor)

    def stepped(self, step: float) -> tuple[Int64s, Int64s] | None:
        if self.peak / step >= CORRECTED_MAX or self._probe.stepped(step) is None:
            return None
        integers = np.rint(self._values / step).astype(np.int64)
        return self._with_corrections(integers, integers * step)

    def _with_corrections(self, integers: Int64s, near: NDArray[Any]) -> tuple[Int64s, Int64s] | None:
        corrections = self._values.view(np.int64) - near.view(np.int64)
        if corrections.max() > CORRECTION_MAX or corrections.min() < -CORRECTION_MAX:
            return None
        return integers, corrections

    def blank(self, corrections: Int64s) -> bool:
        return not corrections.any()

    def gap(self) -> float:
        distinct = np.unique(self._values)
        if len(distinct) < 2:
            return 0.0
        with np.errstate(over="ignore"):
            return float(np.diff(distinct).min())

    def narrow(self) -> Int64s | None:
        if self._probe.narrow() is None:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            near = self._values.astype(np.float32)
        patterns = near.view(np.uint32).astype(np.int64)
        strange = np.flatnonzero(near != self._values)
        if len(strange):  # NaN, whose payloads a conversion would change, or more bits than float32 has
            wide = self._values[strange].view(np.int64)
            if not np.isnan(self._values[strange]).all() or (wide & 0x1FFFFFFF).any():
                return None
            patterns[strange] = (wide >> 32 & 0x80000000) | 0x7F800000 | (wide >> 29 & 0x7FFFFF)
        return patterns

    def patterns(self) -> Int64s:
        return self._values.view(np.int64)

    def split(self, patterns: Int64s) -> tuple[Int64s, bytes]:
        rest = (patterns >> 31 << 23 | patterns & 0x7FFFFF).astype("<u4")
        return patterns >> 23 & 255, rest.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def special_rows(values: Float64s) -> list[int]:
    """Rows that hold no plain number: NaN, infinities and -0.0."""
    special = ~np.isfinite(values)
    special |= values.view(np.int64) == INT64_MIN
    rows: list[int] = np.flatnonzero(special).tolist()
    return rows


def without(values: Float64s, rows: list[int]) -> Float64s:
    """The values, with those of `rows` replaced by the plain value before, or the first one."""
    plain = np.ones(len(values), bool)
    plain[rows] = False
    before = np.maximum.accumulate(np.where(plain, np.arange(len(values)), -1))
    return values[np.where(before < 0, plain.argmax(), before)]


def widened(values: NDArray[np.float32]) -> Float64s:
    """Float32 to float64; the payloads of NaN are kept, which a conversion does not."""
    with np.errstate(invalid="ignore"):
        wide = values.astype(np.float64)
    strange = np.flatnonzero(np.isnan(values))
    bits = values[strange].view(np.uint32).astype(np.int64)
    wide.view(np.int64)[strange] = bits >> 31 << 63 | 0x7FF << 52 | (bits & 0x7FFFFF) << 29
    return wide
