"""Integer columns as bytes, in plain Python: predict, fold the sign, pack with Rice codes.

All arithmetic is exact, so that integers_numpy makes the same choices and the same bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

from streams.frames import layout
from streams.frames.varint import put_signed, put_unsigned, wrap, zigzag

VALUE_PREDICTORS = (layout.LEVEL, layout.DELTA, layout.LINE)
TIME_PREDICTORS = (layout.DELTA, layout.SECOND, layout.LINE)

RANGE_MAX = 1 << 60
"""A wider column cannot be predicted without leaving int64."""
COST_BITS = 44
"""Residuals are compared by sums of so many high bits: 65,536 of them stay within int64."""
CLIP = 1 << 36
"""Codes above it are all escapes, whatever the parameter."""
OUTLIER = 12
_CODES_KEPT_MAX = 4096

Prediction = tuple[int, int, tuple[int, ...], list[int]]  # cost, predictor, parameters, residuals


def put_integers(out: bytearray, values: Sequence[int], predictors: Sequence[int] = VALUE_PREDICTORS) -> None:
    """Append an integer column of at least one value of int64."""
    low, high = min(values), max(values)
    if low == high:
        out.append(layout.LEVEL)
        put_signed(out, low)
    elif high - low >= RANGE_MAX:
        _put_wild(out, values)
    else:
        _put_predicted(out, values, high - low, predictors)


def common_factor(head: Sequence[int], values: Iterable[int]) -> int:
    """The largest number that divides every value; `head` is the first few of them."""
    factor = math.gcd(*head)
    return factor if factor == 1 else math.gcd(*values)


def mean_slope(first: int, last: int, steps: int) -> int:
    """The whole number nearest to the mean difference."""
    return round((last - first) / steps)


def put_prediction(out: bytearray, factor: int, predictor: int, parameters: Iterable[int]) -> int:
    """Append the descriptor and its parameters; returns the place of the descriptor, for the coding."""
    place = len(out)
    out.append(predictor | (layout.SCALED if factor > 1 else 0))
    if factor > 1:
        put_unsigned(out, factor)
    for parameter in parameters:
        put_signed(out, parameter)
    return place


def _put_predicted(out: bytearray, values: Sequence[int], span: int, predictors: Sequence[int]) -> None:
    factor = common_factor(values[:8], values)
    if factor > 1:
        values = [value // factor for value in values]
        span //= factor
    steps = [after - before for before, after in itertools.pairwise(values)]
    if min(steps) == max(steps):
        put_prediction(out, factor, layout.LINE, (values[0], steps[0]))
        return
    shift = max(0, span.bit_length() - COST_BITS)
    slope = mean_slope(values[0], values[-1], len(steps))
    best: Prediction | None = None
    for predictor in predictors:
        if predictor == layout.LINE and not slope:
            continue
        parameters, residuals = _residuals(predictor, values, steps, slope)
        cost = sum([abs(x) >> shift for x in residuals]) if shift else sum(map(abs, residuals))
        if best is None or cost < best[0]:
            best = cost, predictor, parameters, residuals
    assert best is not None
    place = put_prediction(out, factor, best[1], best[2])
    put_codes(out, place, [x << 1 if x >= 0 else ~(x << 1) for x in best[3]])


def _residuals(
    predictor: int, values: Sequence[int], steps: list[int], slope: int
) -> tuple[tuple[int, ...], list[int]]:
    """Parameters of a predictor for these values, and what it leaves to be coded."""
    first = values[0]
    if predictor == layout.DELTA:
        return (first, slope), [step - slope for step in steps] if slope else steps
    if predictor == layout.SECOND:
        return (first, steps[0]), [after - before for before, after in itertools.pairwise(steps)]
    if predictor == layout.LEVEL:
        middle = sorted(values)[len(values) // 2]
        return (middle,), [value - middle for value in values]
    last = first + slope * len(values)
    rest = [value - line for value, line in zip(values, range(first, last, slope))]
    middle = sorted(rest)[len(rest) // 2]
    return (wrap(first + middle), slope), [x - middle for x in rest]


def _put_wild(out: bytearray, values: Sequence[int]) -> None:
    """Bit patterns and the like: no prediction but, at best, the value before. Modulo 2**64."""
    plain = [zigzag(value) for value in values]
    deltas = [zigzag(wrap(after - before)) for before, after in itertools.pairwise(values)]
    if max(plain).bit_length() <= max(deltas).bit_length():
        put_codes(out, put_prediction(out, 1, layout.LEVEL, (0,)), plain)
    else:
        put_codes(out, put_prediction(out, 1, layout.DELTA, (values[0], 0)), deltas)


def put_codes(out: bytearray, place: int, codes: list[int]) -> None:
    """Append the packed bits of the zigzag `codes` (at least one), and name the coding in the descriptor."""
    top = max(codes)
    if top == 0:
        return
    clipped = codes if top < CLIP else [min(code, CLIP) for code in codes]
    k, cost = choose_rice(len(codes), sum(clipped), min(top, CLIP), lambda k: _quotients(clipped, min(top, CLIP), k))
    width = top.bit_length()
    if len(codes) * width + 8 <= cost:
        out[place] |= layout.CODING_FIXED << 2
        out.append(width)
        _put_bits(out, [f"{code:0{width}b}" for code in reversed(codes)])
    else:
        out[place] |= (k + 1) << 2
        _put_bits(out, map(_RICE[k].__getitem__, reversed(codes)))


def choose_rice(count: int, total: int, top: int, quotients: Callable[[int], int]) -> tuple[int, int]:
    """Rice parameter and cost in bits of `count` codes with sum `total` and maximum `top`.

    `quotients(k)` is the sum of min(code >> k, 88 - k): what a code takes beyond k + 1 bits (an escape takes 89).
    """
    k = max(0, min(layout.RICE_MAX, ((total * 22713) // (count << 15)).bit_length() - 1))  # log2(mean * ln 2)
    cost = count * (k + 1) + quotients(k)
    if k < layout.RICE_MAX:
        next_cost = count * (k + 2) + quotients(k + 1)
        if next_cost < cost:
            return k + 1, next_cost
    if top >> k >= OUTLIER:  # the mean is drawn up by a few large codes
        while k:
            next_cost = count * k + quotients(k - 1)
            if next_cost >= cost:
                break
            k, cost = k - 1, next_cost
    return k, cost


def _quotients(codes: list[int], top: int, k: int) -> int:
    if top >> k < layout.ESCAPE:
        return sum([code >> k for code in codes]) if k else sum(codes)
    limit = 88 - k
    return sum([min(code >> k, limit) for code in codes])


class _RiceCodes(dict[int, str]):
    """Rice codes as text, highest bit first: remembered, because readings repeat themselves."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self._k = k

    def __missing__(self, code: int) -> str:
        if len(self) >= _CODES_KEPT_MAX:
            self.clear()
        self[code] = text = self._text(code)
        return text

    def _text(self, code: int) -> str:
        quotient = code >> self._k
        if quotient >= layout.ESCAPE:
            return f"{code:064b}1" + "0" * layout.ESCAPE
        low = f"{code & ((1 << self._k) - 1):0{self._k}b}" if self._k else ""
        return low + "1" + "0" * quotient


_RICE = [_RiceCodes(k) for k in range(layout.RICE_MAX + 1)]


def _put_bits(out: bytearray, texts: Iterable[str]) -> None:
    bits = "".join(texts)
    out += int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")
