"""Integer columns as bytes, in plain Python: predict, fold the sign, pack with Rice codes.

The choices are those of `packing`; integers_numpy makes the same bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from operator import itemgetter, sub

from streams.frames import layout
from streams.frames.packing import (
    CLIP,
    COST_BITS,
    RANGE_MAX,
    VALUE_PREDICTORS,
    Hints,
    Prediction,
    choose_coding,
    common_factor,
    mean_slope,
    predicted,
    put_prediction,
)
from streams.frames.varint import put_signed, wrap, zigzag

TABLE_HALF = 512
"""Residuals from -512 to 511 have their codes written out in a table for each Rice parameter."""


def put_integers(
    out: bytearray,
    values: list[int],
    predictors: Sequence[int] = VALUE_PREDICTORS,
    hints: Hints | None = None,
    key: int = 0,
    *,
    wide: bool = True,
) -> None:
    """Append an integer column of at least one value of int64; `wide` says that some may be far from others."""
    count = len(values)
    first = values[0]
    if first == values[-1] and values.count(first) == count:
        out.append(layout.LEVEL)
        put_signed(out, first)
        return
    if wide and max(values) - min(values) >= RANGE_MAX:
        _put_wild(out, values)
        return
    factor = common_factor(values[:8], values)
    if factor > 1:
        values = [value // factor for value in values]
    best = predicted(lambda predictor: _prediction(predictor, values), count, predictors, hints, key)
    place = put_prediction(out, factor, best.predictor, best.parameters)
    put_residuals(out, place, best)


def _prediction(predictor: int, values: list[int]) -> Prediction | None:
    """What a predictor makes of at least two values."""
    first = values[0]
    parameters: tuple[int, ...]
    if predictor == layout.LEVEL:
        return _around_middle(predictor, (), 0, values)
    if predictor == layout.DELTA:
        slope = mean_slope(first, values[-1], len(values) - 1)
        residuals = list(map(sub, values[1:], values))
        parameters, residuals = (first, slope), [step - slope for step in residuals] if slope else residuals
    elif predictor == layout.SECOND:
        steps = list(map(sub, values[1:], values))
        parameters, residuals = (first, steps[0]), list(map(sub, steps[1:], steps)) or [0]
    else:
        slope = mean_slope(first, values[-1], len(values) - 1)
        if not slope:
            return None
        rest = list(map(sub, values, range(first, first + slope * len(values), slope)))
        return _around_middle(predictor, (slope,), first, rest)
    low, high = min(residuals), max(residuals)
    shift = max(0, max(high, -low).bit_length() - COST_BITS)
    cost = sum([abs(x) >> shift for x in residuals]) << shift if shift else sum(map(abs, residuals))
    return Prediction(predictor, parameters, residuals, low, high, cost)


def _around_middle(predictor: int, more: tuple[int, ...], base: int, values: list[int]) -> Prediction:
    """Residuals around the median; the sorted values tell their sum and ends as well."""
    ranked = sorted(values)
    half = len(ranked) // 2
    middle = ranked[half]
    low, high = ranked[0] - middle, ranked[-1] - middle
    shift = max(0, max(high, -low).bit_length() - COST_BITS)
    if shift:
        cost = sum([abs(value - middle) >> shift for value in values]) << shift
    else:
        cost = sum(ranked[half:]) - sum(ranked[:half]) - (len(ranked) & 1) * middle
    parameters = (wrap(base + middle), *more)
    return Prediction(predictor, parameters, [value - middle for value in values], low, high, cost)


def _put_wild(out: bytearray, values: Sequence[int]) -> None:
    """Bit patterns and the like: no prediction but, at best, the value before. Modulo 2**64."""
    plain = [zigzag(value) for value in values]
    deltas = [zigzag(wrap(after - before)) for before, after in itertools.pairwise(values)]
    if max(plain).bit_length() <= max(deltas).bit_length():
        _put_codes(out, put_prediction(out, 1, layout.LEVEL, (0,)), plain)
    else:
        _put_codes(out, put_prediction(out, 1, layout.DELTA, (values[0], 0)), deltas)


def put_residuals(out: bytearray, place: int, best: Prediction) -> None:
    """Append the packed bits of residuals, and name their coding in the descriptor at `place`."""
    residuals: list[int] = best.residuals
    top = max(2 * best.high, -2 * best.low - 1)
    if top <= 0:
        return
    coding, parameter = choose_coding(len(residuals), best.cost, top, lambda k: _quotients(_codes(residuals), k))
    if coding != layout.CODING_FIXED and parameter < len(_TABLES):
        table = _TABLES[parameter] or _fill(parameter)
        if top < len(table):
            out[place] |= coding << 2
            _put_bits(out, itemgetter(*residuals[::-1])(table))
            return
    _put_coded(out, place, _codes(residuals), coding, parameter)


def _codes(residuals: list[int]) -> list[int]:
    return [x << 1 if x >= 0 else ~(x << 1) for x in residuals]


def _put_codes(out: bytearray, place: int, codes: list[int]) -> None:
    """The same from zigzag codes of any size."""
    top = max(codes)
    if top:
        cost = sum([min(code, CLIP) for code in codes]) >> 1
        _put_coded(out, place, codes, *choose_coding(len(codes), cost, top, lambda k: _quotients(codes, k)))


def _put_coded(out: bytearray, place: int, codes: list[int], coding: int, parameter: int) -> None:
    out[place] |= coding << 2
    if coding == layout.CODING_FIXED:
        out.append(parameter)
        _put_bits(out, [f"{code:0{parameter}b}" for code in reversed(codes)])
    else:
        _put_bits(out, [_rice(code, parameter) for code in reversed(codes)])


def _quotients(codes: list[int], k: int) -> int:
    limit = 88 - k
    return sum([min(code >> k, limit) for code in codes])


def _rice(code: int, k: int) -> str:
    """A Rice code as text, highest bit first."""
    quotient = code >> k
    if quotient >= layout.ESCAPE:
        return f"{code:064b}1" + "0" * layout.ESCAPE
    low = f"{code & ((1 << k) - 1):0{k}b}" if k else ""
    return low + "1" + "0" * quotient


_TABLES: list[list[str]] = [[] for _ in range(8)]
"""By Rice parameter, the codes of the residuals 0, 1 ... half - 1, -half ... -1: Python's own indices from the end."""


def _fill(k: int) -> list[str]:
    half = min(TABLE_HALF, layout.ESCAPE << k >> 1)
    _TABLES[k] = [_rice(code, k) for code in (*range(0, 2 * half, 2), *range(2 * half - 1, 0, -2))]
    return _TABLES[k]


def _put_bits(out: bytearray, texts: Iterable[str]) -> None:
    bits = "".join(texts)
    out += int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")
