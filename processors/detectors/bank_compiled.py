"""Runs one detector over a chunk of many series, and says where alarms open and close.

The loop and the step are compiled together by numba; interpreted, the very same code gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from processors.alarms import Transition
from processors.detectors.detector import Detector
from processors.rows import Rows

_GROW = 256
OPEN, CALM_SINCE, TOP = 0, 1, 2


def make_loop(step: Any, compile_it: Callable[[Any], Any]) -> Any:
    """The loop over rows with `step` inside; `compile_it` is numba's njit, or nothing."""
    inner = compile_it(step)

    def loop(
        states: Any, watch: Any, limits: Any, series: Any, time_s: Any, value: Any, good: Any,
        open_at: float, close_at: float, hold_s: float, out_row: Any, out_opens: Any, out_strength: Any,
    ) -> int:  # fmt: skip
        found = 0
        for row in range(len(series)):
            if not good[row]:
                continue
            number = series[row]
            now = time_s[row]
            strength = inner(states[number], now, value[row], limits[number, 0], limits[number, 1], limits[number, 2])
            alarm = watch[number]
            if alarm[OPEN] == 0.0:
                if strength >= open_at:
                    alarm[OPEN] = 1.0
                    alarm[CALM_SINCE] = -1.0
                    alarm[TOP] = strength
                    out_row[found], out_opens[found], out_strength[found] = row, True, strength
                    found += 1
                continue
            if strength > alarm[TOP]:
                alarm[TOP] = strength
            if strength >= close_at:
                alarm[CALM_SINCE] = -1.0
            elif alarm[CALM_SINCE] < 0.0:
                alarm[CALM_SINCE] = now
            if alarm[CALM_SINCE] >= 0.0 and now - alarm[CALM_SINCE] >= hold_s:
                alarm[OPEN] = 0.0
                out_row[found], out_opens[found], out_strength[found] = row, False, alarm[TOP]
                found += 1
        return found

    return compile_it(loop)


class Bank:
    """One detector over all series: a row of state each, and whether its alarm is open."""

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
        self._loop = make_loop(detector.step, njit if compiled else lambda function: function)
        self._states = np.zeros((0, detector.width))
        self._watch = np.zeros((0, 3))

    def run(self, rows: Rows, limits: NDArray[np.float64], good: NDArray[np.bool_]) -> Iterator[Transition]:
        """Feed readings in order; yields what opens and closes. `limits`: resolution, minimum, maximum by series."""
        self._grow(len(limits))
        size = 2 * len(rows)
        out_row, out_opens, out_strength = np.empty(size, np.int64), np.empty(size, np.bool_), np.empty(size)
        found = self._loop(
            self._states, self._watch, limits, rows.series, rows.time_ns / 1e9, rows.value, good,
            *self._thresholds, out_row, out_opens, out_strength,
        )  # fmt: skip
        for at in range(found):
            row = int(out_row[at])
            yield self._transition(rows, row, bool(out_opens[at]), float(out_strength[at]))

    def close(self, series: int) -> None:
        """Forget that an alarm was open."""
        self._watch[series, OPEN] = 0.0

    def mark_open(self, series: int) -> None:
        """An alarm of this series is open, as the store knows; it closes when the series is calm."""
        self._grow(series + 1)
        self._watch[series, OPEN] = 1.0
        self._watch[series, CALM_SINCE] = -1.0

    def snapshot(self) -> bytes:
        """The state as bytes, for `restore`."""
        return np.hstack([self._states, self._watch]).tobytes()

    def restore(self, data: bytes) -> None:
        """Take a snapshot; one of another width is of another version, and is forgotten."""
        width = self.detector.width + 3
        if len(data) % (8 * width):
            return
        both = np.frombuffer(data).reshape(-1, width)
        self._states, self._watch = both[:, :-3].copy(), both[:, -3:].copy()
        self._watch[:, OPEN] = 0.0  # the store knows which alarms are open

    def _grow(self, count: int) -> None:
        if count > len(self._states):
            more = max(_GROW, count - len(self._states))
            self._states = np.vstack([self._states, np.zeros((more, self.detector.width))])
            self._watch = np.vstack([self._watch, np.zeros((more, 3))])

    def _transition(self, rows: Rows, row: int, opens: bool, strength: float) -> Transition:
        number = int(rows.series[row])
        return Transition(
            detector=self.detector.name,
            version=self.detector.version,
            kind=self.detector.kind,
            series=number,
            opens=opens,
            time_ns=int(rows.time_ns[row]),
            value=float(rows.value[row]),
            strength=strength,
            usual=float(self._states[number, 0]),
            spread=float(self._states[number, 1]),
            epoch=int(rows.epoch[row]),
            sequence=int(rows.sequence[row]),
            partition=int(rows.partition[row]),
            offset=int(rows.offset[row]),
        )
