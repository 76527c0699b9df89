"""A sensor that repeats itself.

Good at: a value that freezes in a series that is always on the move. Bad at: series that rest by nature; they teach it
long runs, and it stays silent. It counts equal readings in a row and holds that against the longest such run before
(which is forgotten slowly). It speaks only of series that have changed at least 60 times, in at least half of their
readings of late.

>>> state = [0.0] * 8
>>> moving = [step(state, t, float(t % 13), 0.0, 0.0, 0.0) for t in range(200)]
>>> max(moving) == 0.0
True
>>> [step(state, t, 5.0, 0.0, 0.0, 0.0) for t in range(200, 221)][-1] >= 1.0
True
"""

from __future__ import annotations

from typing import Any

from processors.detectors.detector import Detector
from processors.manifests import SeriesInfo

CHANGES_MIN = 60.0
MOVING_MIN = 0.5
RUN_MIN = 20.0  # equal readings that make strength 1 at the least
HABITS = 4.0  # or so many times the longest run before
FORGET = 0.9995
MOVING_RATE = 0.02

RUN, LONGEST, VALUE, CHANGES = 0, 1, 2, 3
MOVING = 4  # the part of the readings that changed, as of the last change: a run must not make itself look like rest
FADING = 5  # the same as of now


def step(state: Any, time_s: float, value: float, resolution: float, minimum: float, maximum: float) -> float:
    """See the head of this file, and detector.Step."""
    if state[RUN] == 0.0 or value != state[VALUE]:
        if state[RUN] > 0.0:
            state[CHANGES] += 1.0
        if state[RUN] > state[LONGEST]:
            state[LONGEST] = state[RUN]
        state[LONGEST] *= FORGET
        state[VALUE] = value
        state[RUN] = 1.0
        state[FADING] += MOVING_RATE * (1.0 - state[FADING])
        state[MOVING] = state[FADING]
        return 0.0
    state[RUN] += 1.0
    if state[RUN] < 2.0 * RUN_MIN:  # a run that is an event already says nothing about the habit
        state[FADING] -= MOVING_RATE * state[FADING] * 0.5
    if state[CHANGES] < CHANGES_MIN or state[MOVING] < MOVING_MIN:
        return 0.0
    return float(state[RUN] / max(RUN_MIN, HABITS * state[LONGEST]))


def says(value: float, usual: float, spread: float, series: SeriesInfo) -> str:
    """See detector.Says."""
    return f"is stuck at {series.shown(value)}: {usual:.0f} equal readings, at most {spread:.0f} before"


STUCK = Detector(name="stuck", version=1, kind="sensor", width=8, step=step, says=says)
