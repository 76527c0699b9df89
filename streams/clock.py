"""Time as a parameter: the wall clock in nanoseconds UTC, and a monotonic clock that never goes back."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What every room asks for the time; tests pass one that they move by hand."""

    def time_ns(self) -> int:
        """Wall time, nanoseconds since 1970-01-01 UTC. May jump in either direction."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary point. Never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def time_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class ManualClock:
    """A clock that stands still until it is moved: virtual time for tests and simulations."""

    def __init__(self, *, time_ns: int = 1_700_000_000_000_000_000, monotonic_ns: int = 0) -> None:
        self._time_ns = time_ns
        self._monotonic_ns = monotonic_ns

    def time_ns(self) -> int:
        return self._time_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def advance(self, seconds: float) -> None:
        """Let `seconds` (>= 0) pass on both clocks."""
        if seconds < 0:
            raise ValueError(f"time cannot pass backwards ({seconds} s); use set_time_ns for a clock jump")
        step_ns = round(seconds * 1e9)
        self._time_ns += step_ns
        self._monotonic_ns += step_ns

    def set_time_ns(self, time_ns: int) -> None:
        """Let the wall clock jump, as NTP or a person does; the monotonic clock does not notice."""
        self._time_ns = time_ns
