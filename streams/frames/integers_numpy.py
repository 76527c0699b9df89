"""Integer columns as bytes, with numpy: the same choices and the same bytes as `integers`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.frames import layout
from streams.frames.packing import (
    CLIP,
    COST_BITS,
    RANGE_MAX,
    VALUE_PREDICTORS,
    Hints,
    Prediction,
    choose_coding,
    mean_slope,
    predicted,
    put_prediction,
)
from streams.frames.values import INT64_MIN
from streams.frames.varint import put_signed, wrap

Int64s = NDArray[np.int64]
UInt64s = NDArray[np.uint64]

_ONE = np.uint64(1)


def put_integers(
    out: bytearray,
    values: Int64s,
    predictors: Sequence[int] = VALUE_PREDICTORS,
    hints: Hints | None = None,
    key: int = 0,
    *,
    wide: bool = True,
) -> None:
    """Append an integer column of at least one value; `wide` says that some may be far from others."""
    first = int(values[0])
    if first == values[-1] and (values == first).all():
        out.append(layout.LEVEL)
        put_signed(out, first)
        return
    if wide and int(values.max()) - int(values.min()) >= RANGE_MAX:
        _put_wild(out, values)
        return
    factor = _common_factor(values)
    if factor > 1:
        values = values // factor
    best = predicted(lambda predictor: _prediction(predictor, values), len(values), predictors, hints, key)
    place = put_prediction(out, factor, best.predictor, best.parameters)
    top = max(2 * best.high, -2 * best.low - 1)
    if top > 0:
        _put_codes(out, place, _zigzag(best.residuals), best.cost, top)


def _common_factor(values: Int64s) -> int:
    factor = math.gcd(*values[:8].tolist())
    if factor == 1:
        return 1
    return int(np.gcd.reduce(values)) if (values > INT64_MIN).all() else math.gcd(*values.tolist())


def _prediction(predictor: int, values: Int64s) -> Prediction | None:
    """What a predictor makes of at least two values."""
    first = int(values[0])
    parameters: tuple[int, ...]
    if predictor == layout.LEVEL:
        middle = _middle(values)
        parameters, residuals = (middle,), values - middle
    elif predictor == layout.DELTA:
        slope = mean_slope(first, int(values[-1]), len(values) - 1)
        residuals = values[1:] - values[:-1]
        if slope:
            residuals -= slope
        parameters = (first, slope)
    elif predictor == layout.SECOND:
        steps = values[1:] - values[:-1]
        parameters, residuals = (first, int(steps[0])), steps[1:] - steps[:-1]
        if not len(residuals):
            residuals = np.zeros(1, np.int64)
    else:
        slope = mean_slope(first, int(values[-1]), len(values) - 1)
        if not slope:
            return None
        rest = (values - first) - np.arange(len(values), dtype=np.int64) * slope
        middle = _middle(rest)
        parameters, residuals = (wrap(first + middle), slope), rest - middle
    low, high = int(residuals.min()), int(residuals.max())
    shift = max(0, max(high, -low).bit_length() - COST_BITS)
    magnitudes = np.abs(residuals)
    cost = int((magnitudes >> shift).sum()) << shift if shift else int(magnitudes.sum())
    return Prediction(predictor, parameters, residuals, low, high, cost)


def _middle(values: Int64s) -> int:
    half = len(values) // 2
    return int(np.partition(values, half)[half])


def _zigzag(values: Int64s) -> UInt64s:
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def _put_wild(out: bytearray, values: Int64s) -> None:
    plain, deltas = _zigzag(values), _zigzag(values[1:] - values[:-1])
    if int(plain.max()).bit_length() <= int(deltas.max()).bit_length():
        _put_wild_codes(out, put_prediction(out, 1, layout.LEVEL, (0,)), plain)
    else:
        _put_wild_codes(out, put_prediction(out, 1, layout.DELTA, (int(values[0]), 0)), deltas)


def _put_wild_codes(out: bytearray, place: int, codes: UInt64s) -> None:
    top = int(codes.max())
    if top:
        _put_codes(out, place, codes, int(np.minimum(codes, np.uint64(CLIP)).sum()) >> 1, top)


def _put_codes(out: bytearray, place: int, codes: UInt64s, cost: int, top: int) -> None:
    """Append the packed bits of zigzag codes, and name their coding in the descriptor at `place`."""
    coding, parameter = choose_coding(len(codes), cost, top, lambda k: _quotients(codes, k))
    out[place] |= coding << 2
    if coding == layout.CODING_FIXED:
        out.append(parameter)
        out += _packed(codes, np.full(len(codes), parameter, np.int64))
    else:
        out += _packed(*_rice(codes, parameter, top >> parameter >= layout.ESCAPE))


def _quotients(codes: UInt64s, k: int) -> int:
    return int(np.minimum(codes >> np.uint64(k), np.uint64(88 - k)).sum())


def _rice(codes: UInt64s, k: int, escapes: bool) -> tuple[UInt64s, Int64s]:
    """Rice codes as numbers and lengths; with escapes each is in two pieces."""
    quotients = codes >> np.uint64(k) if k else codes
    if not escapes:
        low = codes & np.uint64((1 << k) - 1)
        return ((low << _ONE) | _ONE) << quotients, quotients.view(np.int64) + (k + 1)
    escaped = quotients >= layout.ESCAPE
    quotients = np.minimum(quotients, np.uint64(layout.ESCAPE))
    low = np.where(escaped, np.uint64(0), codes & np.uint64((1 << k) - 1))
    pieces = np.zeros((len(codes), 2), np.uint64)
    lengths = np.zeros((len(codes), 2), np.int64)
    pieces[:, 0] = ((low << _ONE) | _ONE) << quotients
    lengths[:, 0] = quotients.view(np.int64) + np.where(escaped, 1, k + 1)
    pieces[:, 1] = np.where(escaped, codes, np.uint64(0))
    lengths[:, 1] = np.where(escaped, 64, 0)
    return pieces.ravel(), lengths.ravel()


def _packed(pieces: UInt64s, lengths: Int64s) -> bytes:
    """Pieces of up to 64 bits one behind the other, lowest bit first, filled up to a whole byte."""
    ends = np.cumsum(lengths)
    begins = ends - lengths
    total = int(ends[-1])
    words = np.zeros(total // 64 + 2, "<u8")
    word, shift = begins >> 6, (begins & 63).view(np.uint64)
    groups = np.flatnonzero(np.diff(word, prepend=-1))  # bits of one word never overlap: their sum is their union
    words[word[groups]] = np.add.reduceat(pieces << shift, groups)
    across = np.flatnonzero((begins & 63) + lengths > 64)
    words[word[across] + 1] |= pieces[across] >> (np.uint64(64) - shift[across])
    return words.tobytes()[: (total + 7) // 8]
