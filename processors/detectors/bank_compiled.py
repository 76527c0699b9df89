"""Runs one detector over a chunk of many series, and says where alarms open and close.

The loop and the step are compiled together by numba; interpreted, the very same code gives the same result.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processors.alarms import Transition
from processors.detectors.detector import Detector, Step
from processors.rows import Rows

_GROW = 256

# What is watched of a series: is its alarm open, since when is it calm (infinite: it is not), the largest strength, and
# when it opened.
OPEN, CALM_SINCE, TOP, OPENED = 0, 1, 2, 3
_UNWATCHED = (0.0, np.inf, 0.0, np.nan)


def _step(state: Any, time_s: float, value: float, resolution: float, minimum: float, maximum: float) -> float:
    """Stands for the step of the detector at hand: see make_loop."""
    raise NotImplementedError


def _loop(
    states: Any, watch: Any, limits: Any, series: Any, time_s: Any, value: Any, good: Any,
    open_at: float, close_at: float, hold_s: float, out_row: Any, out_opens: Any, out_seen: Any,
) -> int:  # fmt: skip
    """Feeds rows to the step; returns how many openings and closings it wrote down."""
    found = 0
    for row in range(len(series)):
        if not good[row]:
            continue
        number = series[row]
        now = time_s[row]
        strength = _step(states[number], now, value[row], limits[number, 0], limits[number, 1], limits[number, 2])
        alarm = watch[number]
        if alarm[OPEN] == 0.0:
            if strength < open_at or strength != strength:
                continue
            alarm[OPEN] = 1.0
            alarm[CALM_SINCE] = np.inf
            alarm[TOP] = strength
            alarm[OPENED] = now
        else:
            if strength > alarm[TOP]:
                alarm[TOP] = strength
            if strength >= close_at:
                alarm[CALM_SINCE] = np.inf
            elif now < alarm[CALM_SINCE]:  # it begins to be calm, or the device's clock went back meanwhile
                alarm[CALM_SINCE] = now
            if now - alarm[CALM_SINCE] < hold_s:
                continue
            alarm[OPEN] = 0.0
        out_row[found] = row
        out_opens[found] = alarm[OPEN] == 1.0
        out_seen[found, 0] = alarm[TOP]
        out_seen[found, 1] = states[number, 0]
        out_seen[found, 2] = states[number, 1]
        found += 1
    return found


@functools.cache
def make_loop(step: Step, *, compiled: bool = True) -> Callable[..., int]:
    """The loop with a detector's step inside.

    Its machine code is kept beside this file, so that the next start does not wait for the compiler. numba tells what
    is kept by the loop's own code and name, so the name says which source the step has.
    """
    if not compiled:
        return FunctionType(_loop.__code__, {**globals(), "_step": step})
    source = _source(step)
    name = "_loop_" + hashlib.sha256(f"{step.__qualname__}\n{source}".encode()).hexdigest()[:16]
    loop = FunctionType(_loop.__code__, {**globals(), "_step": njit(step)}, name)
    loop.__qualname__ = name
    made: Callable[..., int] = njit(cache=source is not None)(loop)
    return made


def _source(step: Step) -> str | None:
    """The text of the module of a step; None when that does not tell all, as for a function made by another one."""
    module = sys.modules.get(step.__module__)
    if getattr(module, step.__qualname__, None) is not step:
        return None
    try:
        return inspect.getsource(cast(ModuleType, module))
    except (OSError, TypeError):
        return None


class Bank:
    """One detector over all series: a row of state each, and a row of what is watched."""

    def __init__(
        self,
        detector: Detector,
        open_strength: float,
        close_strength: float,
        close_hold_s: float,
        *,
        compiled: bool = True,
    ) -> None:
        self.detector = detector
        self._thresholds = (open_strength, min(close_strength, open_strength), close_hold_s)
        self._loop = make_loop(detector.step, compiled=compiled)
        self._states = np.zeros((0, detector.width))
        self._watch = np.zeros((0, len(_UNWATCHED)))

    def run(self, rows: Rows, limits: NDArray[np.float64], good: NDArray[np.bool_]) -> list[Transition]:
        """Feed readings in order; what opens and closes. `limits`: resolution, minimum, maximum by series."""
        self._grow(len(limits))
        size = len(rows)
        out_row, out_opens, out_seen = np.empty(size, np.int64), np.empty(size, np.bool_), np.empty((size, 3))
        found = self._loop(
            self._states, self._watch, limits, rows.series, rows.time_ns / 1e9, rows.value, good,
            *self._thresholds, out_row, out_opens, out_seen,
        )  # fmt: skip
        return [
            Transition(row, int(rows.series[row]), opens, strength, usual, spread)
            for row, opens, (strength, usual, spread) in zip(
                out_row[:found].tolist(), out_opens[:found].tolist(), out_seen[:found].tolist()
            )
        ]

    def snapshot(self) -> bytes:
        """The state as bytes, for `restore`."""
        head = np.array([self.detector.width], np.float64)
        return head.tobytes() + np.hstack([self._states, self._watch]).tobytes()

    def restore(self, data: bytes) -> None:
        """Take a snapshot; one of another width is of another version, and is forgotten. No alarm is open then."""
        width = self.detector.width
        both = np.frombuffer(data)
        if not len(both) or both[0] != width or (len(both) - 1) % (width + len(_UNWATCHED)):
            return
        both = both[1:].reshape(-1, width + len(_UNWATCHED))
        self._states, self._watch = both[:, :width].copy(), both[:, width:].copy()
        self._watch[:, OPEN] = 0.0

    def reopen(self, series: int, opened_ns: int, strength: float) -> None:
        """The store says that this alarm is open. What a snapshot holds of the same one stays, of another one not."""
        self._grow(series + 1)
        watch = self._watch[series]
        opened_s = opened_ns / 1e9
        if watch[OPENED] != opened_s:
            watch[:] = (0.0, np.inf, strength, opened_s)
        watch[OPEN] = 1.0

    def _grow(self, count: int) -> None:
        if count > len(self._states):
            more = max(_GROW, count - len(self._states))
            self._states = np.vstack([self._states, np.zeros((more, self.detector.width))])
            self._watch = np.vstack([self._watch, np.tile(_UNWATCHED, (more, 1))])
