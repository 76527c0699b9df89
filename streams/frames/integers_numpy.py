"""Integer columns as bytes, with numpy: the same choices and the same bytes as `integers`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.frames import layout
from streams.frames.integers import (
    CLIP,
    COST_BITS,
    RANGE_MAX,
    VALUE_PREDICTORS,
    choose_rice,
    mean_slope,
    put_prediction,
)
from streams.frames.values import INT64_MIN
from streams.frames.varint import put_signed, wrap

Int64s = NDArray[np.int64]
UInt64s = NDArray[np.uint64]

_ONE = np.uint64(1)


def put_integers(out: bytearray, values: Int64s, predictors: Sequence[int] = VALUE_PREDICTORS) -> None:
    """Append an integer column of at least one value."""
    low, high = int(values.min()), int(values.max())
    if low == high:
        out.append(layout.LEVEL)
        put_signed(out, low)
    elif high - low >= RANGE_MAX:
        _put_wild(out, values)
    else:
        _put_predicted(out, values, low, high, predictors)


def _common_factor(values: Int64s, low: int) -> int:
    factor = math.gcd(*values[:8].tolist())
    if factor == 1:
        return 1
    return int(np.gcd.reduce(values)) if low > INT64_MIN else math.gcd(*values.tolist())


def _put_predicted(out: bytearray, values: Int64s, low: int, high: int, predictors: Sequence[int]) -> None:
    factor = _common_factor(values, low)
    if factor > 1:
        values = values // factor
    span = (high - low) // factor
    steps = values[1:] - values[:-1]
    if (steps == steps[0]).all():
        put_prediction(out, factor, layout.LINE, (int(values[0]), int(steps[0])))
        return
    shift = max(0, span.bit_length() - COST_BITS)
    slope = mean_slope(int(values[0]), int(values[-1]), len(steps))
    best: tuple[int, int, tuple[int, ...], Int64s] | None = None
    for predictor in predictors:
        if predictor == layout.LINE and not slope:
            continue
        parameters, residuals = _residuals(predictor, values, steps, slope)
        magnitudes = np.abs(residuals)
        cost = int((magnitudes >> shift).sum() if shift else magnitudes.sum())
        if best is None or cost < best[0]:
            best = cost, predictor, parameters, residuals
    assert best is not None
    place = put_prediction(out, factor, best[1], best[2])
    put_codes(out, place, _zigzag(best[3]))


def _residuals(predictor: int, values: Int64s, steps: Int64s, slope: int) -> tuple[tuple[int, ...], Int64s]:
    first = int(values[0])
    if predictor == layout.DELTA:
        return (first, slope), steps - slope if slope else steps
    if predictor == layout.SECOND:
        return (first, int(steps[0])), steps[1:] - steps[:-1]
    if predictor == layout.LEVEL:
        middle = _middle(values)
        return (middle,), values - middle
    rest = (values - first) - np.arange(len(values), dtype=np.int64) * slope
    middle = _middle(rest)
    return (wrap(first + middle), slope), rest - middle


def _middle(values: Int64s) -> int:
    half = len(values) // 2
    return int(np.partition(values, half)[half])


def _zigzag(values: Int64s) -> UInt64s:
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def _put_wild(out: bytearray, values: Int64s) -> None:
    plain, deltas = _zigzag(values), _zigzag(values[1:] - values[:-1])
    if int(plain.max()).bit_length() <= int(deltas.max()).bit_length():
        put_codes(out, put_prediction(out, 1, layout.LEVEL, (0,)), plain)
    else:
        put_codes(out, put_prediction(out, 1, layout.DELTA, (int(values[0]), 0)), deltas)


def put_codes(out: bytearray, place: int, codes: UInt64s) -> None:
    """Append the packed bits of zigzag codes (at least one), and name the coding in the descriptor."""
    top = int(codes.max())
    if top == 0:
        return
    clipped = codes if top < CLIP else np.minimum(codes, np.uint64(CLIP))
    limit = min(top, CLIP)
    k, cost = choose_rice(len(codes), int(clipped.sum()), limit, lambda k: _quotients(clipped, limit, k))
    width = top.bit_length()
    if len(codes) * width + 8 <= cost:
        out[place] |= layout.CODING_FIXED << 2
        out.append(width)
        out += _packed(codes, np.full(len(codes), width, np.int64))
    else:
        out[place] |= (k + 1) << 2
        out += _packed(*_rice(codes, k, top >> k >= layout.ESCAPE))


def _quotients(codes: UInt64s, top: int, k: int) -> int:
    quotients = codes >> np.uint64(k) if k else codes
    if top >> k < layout.ESCAPE:
        return int(quotients.sum())
    return int(np.minimum(quotients, np.uint64(88 - k)).sum())


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
