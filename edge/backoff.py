"""Pauses between attempts: doubled each time, with jitter, so that a fleet does not come back in step. Pure."""

from __future__ import annotations

import random


class Backoff:
    """The next pause is between half and all of a limit that doubles from `first_s` up to `longest_s`."""

    def __init__(self, *, first_s: float, longest_s: float, randomness: random.Random) -> None:
        self._first_s = first_s
        self._longest_s = max(first_s, longest_s)
        self._randomness = randomness
        self._limit_s = first_s

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        limit_s, self._limit_s = self._limit_s, min(self._longest_s, self._limit_s * 2)
        return limit_s * self._randomness.uniform(0.5, 1.0)

    def reset(self) -> None:
        """An attempt has succeeded."""
        self._limit_s = self._first_s
