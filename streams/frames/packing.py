"""Which predictor and which code an integer column gets: the choices, without the numbers being lists or arrays.

All arithmetic is of whole numbers, so that integers and integers_numpy choose alike and make the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from streams.frames import layout
from streams.frames.varint import put_signed, put_unsigned

VALUE_PREDICTORS = (layout.LEVEL, layout.DELTA, layout.LINE)
TIME_PREDICTORS = (layout.DELTA, layout.SECOND, layout.LINE)

RANGE_MAX = 1 << 60
"""A wider column cannot be predicted without leaving int64."""
COST_BITS = 44
"""Residuals are summed by so many high bits: 65,536 of them stay within int64."""
OUTLIER = 12
CLIP = 1 << 36
"""Codes above it are all escapes, whatever the parameter."""

HINT_FRAMES = 64
"""After so many frames the best encoding of a series is looked for anew."""
HINT_FRAMES_PREDICTOR = 16
"""The same for the predictor of an integer column; sooner if it costs an eighth more than it did."""

Hints = dict[int, tuple[int, int, float]]
"""What was right last time: tag, frames until the next search and step, by series. Predictors of integer columns have
keys below 0: predictor, frames until the next search, and the largest cost of 16 residuals that it is kept for."""


class Prediction(NamedTuple):
    """What one predictor makes of a column."""

    predictor: int
    parameters: tuple[int, ...]
    residuals: Any
    low: int
    high: int
    cost: int
    """Sum of the magnitudes of the residuals."""


def column_key(series: int, part: int) -> int:
    """The hint of integer column `part` (0 to 3) of a series."""
    return -1 - (series * 4 + part)


def time_key(block: int) -> int:
    """The hint of the time column of a block."""
    return column_key(layout.SERIES_MAX + 1 + block, 0)


def predicted(
    predict: Callable[[int], Prediction | None], count: int, predictors: Sequence[int], hints: Hints | None, key: int
) -> Prediction:
    """The cheapest prediction, or the one that a hint names as long as it costs about what it did.

    `predict` gives None for a predictor that says nothing here; the first of `predictors` always says something.
    """
    predictor, frames_left, cost_max = hints.get(key, (0, 0, 0)) if hints is not None else (0, 0, 0)
    best = predict(predictor) if frames_left else None
    if best is None or best.cost * 16 > cost_max * count:
        frames_left = HINT_FRAMES_PREDICTOR
        made = [prediction for prediction in map(predict, predictors) if prediction is not None]
        best = min(made, key=_cost)
        cost_max = best.cost * 18 // count + 2
    if hints is not None:
        hints[key] = best.predictor, frames_left - 1, cost_max
    return best


def _cost(prediction: Prediction) -> int:
    return prediction.cost


def mean_slope(first: int, last: int, steps: int) -> int:
    """The whole number nearest to the mean difference."""
    return round((last - first) / steps)


def common_factor(head: Sequence[int], values: Iterable[int]) -> int:
    """The largest number that divides every value; `head` is the first few of them."""
    factor = math.gcd(*head)
    return factor if factor == 1 else math.gcd(*values)


def put_prediction(out: bytearray, factor: int, predictor: int, parameters: Iterable[int]) -> int:
    """Append the descriptor and its parameters; returns the place of the descriptor, for the coding."""
    place = len(out)
    out.append(predictor | (layout.SCALED if factor > 1 else 0))
    if factor > 1:
        put_unsigned(out, factor)
    for parameter in parameters:
        put_signed(out, parameter)
    return place


def choose_coding(count: int, cost: int, top: int, quotients: Callable[[int], int]) -> tuple[int, int]:
    """Coding and its parameter (k of Rice codes, or a width) for `count` residuals.

    `cost` is the sum of their magnitudes, `top` the largest zigzag code (not 0). Rice codes of parameter k take about
    k + 1/2 + mean code / 2**k bits each, which is least for 2**k just below twice the mean magnitude. Where a few
    large codes draw up the mean, the sizes are counted: `quotients(k)` is the sum of min(code >> k, 88 - k), which is
    what codes take beyond k + 1 bits (an escape takes 89).
    """
    k = max(0, min(layout.RICE_MAX, (2 * cost // count).bit_length() - 1))
    bits = count * (k + 1) + (2 * cost >> k) - (count >> 1)
    if top >> k >= OUTLIER:
        k, bits = _counted(count, k, quotients)
    width = top.bit_length()
    if count * width + 8 <= bits:
        return layout.CODING_FIXED, width
    return k + 1, k


def _counted(count: int, k: int, quotients: Callable[[int], int]) -> tuple[int, int]:
    bits = count * (k + 1) + quotients(k)
    while k:
        fewer = count * k + quotients(k - 1)
        if fewer >= bits:
            break
        k, bits = k - 1, fewer
    return k, bits
