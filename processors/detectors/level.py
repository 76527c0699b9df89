"""A level that is not the usual one.

Good at: a mean that jumps or drifts away from where it used to be, and declared limits. Bad at: changes of rhythm or of
noise, and what happens once a day. The short mean (8 readings) is held against a long mean and mean deviation that are
learned from calm readings (half-life 300), with clipped steps, so that an event does not teach itself. A change that
lasts becomes the new normal: while an event lasts learning goes on eight times slower (half-life 2,400 readings).
Nothing is said in the first 100 readings, but for values beyond the limits.
Source: EWMA control chart (Roberts 1959), with robust learning.

>>> state = [0.0] * 8
>>> calm = [step(state, t, 20.0 + (t % 7) * 0.1, 0.0, -inf, inf) for t in range(400)]
>>> max(calm) < 1.0
True
>>> [step(state, t, 25.0, 0.0, -inf, inf) >= 1.0 for t in range(400, 404)][-1]
True
"""

from __future__ import annotations

import math
from math import inf
from typing import Any

from processors.detectors.detector import Detector
from processors.manifests import SeriesInfo

WARM_UP = 100.0
LEARN = 0.0023078  # 1 - 2 ** (-1 / 300)
LEAK = LEARN / 8.0
SHORT = 2.0 / 9.0
DEVIATIONS = 8.0  # mean absolute deviations that make strength 1
CLIP = 4.0
LIMIT_STRENGTH = 2.0
HUGE = 1e150  # values beyond it count as it: differences and quotients of smaller ones are finite

MEAN, DEVIATION, COUNT, FAST, STRENGTH = 0, 1, 2, 3, 4


def step(state: Any, time_s: float, value: float, resolution: float, minimum: float, maximum: float) -> float:
    """See the head of this file, and detector.Step."""
    beyond = value > maximum or value < minimum
    value = min(max(value, -HUGE), HUGE)
    count = state[COUNT]
    if count == 0.0:
        state[MEAN] = value
        state[FAST] = value
    state[COUNT] = count + 1.0
    off = value - state[MEAN]
    size = abs(off)
    state[FAST] += SHORT * (value - state[FAST])
    floor = max(resolution, 1e-9 * abs(state[MEAN]), 1e-12)
    spread = max(state[DEVIATION], floor)
    strength = 0.0
    if count >= WARM_UP:
        strength = abs(state[FAST] - state[MEAN]) / (DEVIATIONS * spread)
        rate = LEARN if strength < 0.6 else LEAK
        limit = CLIP * spread
        if off > limit:
            off = limit
        elif off < -limit:
            off = -limit
        state[MEAN] += rate * off
        state[DEVIATION] += rate * (min(size, limit) - state[DEVIATION])
    else:
        rate = 1.0 / (count + 1.0)
        state[MEAN] += rate * off
        state[DEVIATION] += rate * (size - state[DEVIATION])
    if beyond:
        strength = max(strength, LIMIT_STRENGTH)
    state[STRENGTH] = strength
    return float(strength)


def says(value: float, usual: float, spread: float, series: SeriesInfo) -> str:
    """See detector.Says."""
    if series.maximum is not None and value > series.maximum:
        return f"is above its limit: {series.shown(value)}, at most {series.maximum:.4g}"
    if series.minimum is not None and value < series.minimum:
        return f"is below its limit: {series.shown(value)}, at least {series.minimum:.4g}"
    return f"left its usual level: {series.shown(value)}, usually {_about(usual, spread)}"


def _about(usual: float, spread: float) -> str:
    """Two digits of the spread, and as many decimals of what is usual: 45.600 ± 0.086"""
    if not 1e-6 < spread < 1e6:
        return f"{usual:.4g} ± {spread:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    return f"{usual:.{decimals}f} ± {spread:.{decimals}f}"


LEVEL = Detector(name="level", version=1, kind="process", width=8, step=step, says=says)

__all__ = ["LEVEL", "inf", "step"]
