"""Work that comes and goes: a machine that runs once in every period, and counters that can be read at any instant.

The start within each period is random, its length is not: so the running time since the origin is known in closed form
and a counter needs no memory of what happened before.
"""

from __future__ import annotations

from typing import NamedTuple

from simulators.dice import Dice

# Simulated machines were installed on 2024-01-01 UTC; counters stood at 0 then.
ORIGIN_NS = 1_704_067_200_000_000_000

DAY_S = 86_400.0


def seconds(time_ns: int) -> float:
    """Seconds since the origin."""
    return (time_ns - ORIGIN_NS) / 1e9


class Run(NamedTuple):
    """Where a cycle stands at an instant."""

    on: bool
    age_s: float  # since it was last switched on (when on), or negative
    starts: int  # runs begun since the origin
    total_s: float  # running time since the origin


class Cycle:
    """Runs `run_s` seconds in every `period_s`, beginning at a random point of each period."""

    __slots__ = ("_dice", "_period_s", "_run_s", "_slack_s", "_stream")

    def __init__(self, dice: Dice, stream: int, *, period_s: float, run_s: float) -> None:
        if not 0 < run_s < period_s:
            raise ValueError(f"a run of {run_s} s does not fit into a period of {period_s} s")
        self._dice, self._stream = dice, stream
        self._period_s, self._run_s, self._slack_s = period_s, run_s, period_s - run_s

    def at(self, time_s: float) -> Run:
        """The run at `time_s` seconds since the origin."""
        period = int(time_s // self._period_s)
        within = time_s - period * self._period_s
        # smooth() at a lattice point is the plain random number of that point
        begin = (self._dice.smooth(self._stream, float(period), 1.0) + 1.0) / 2.0 * self._slack_s
        age_s = within - begin
        done_s = min(max(age_s, 0.0), self._run_s)
        return Run(
            on=0.0 <= age_s < self._run_s,
            age_s=age_s,
            starts=max(0, period + (age_s >= 0.0)),
            total_s=max(0.0, period * self._run_s + done_s),
        )
