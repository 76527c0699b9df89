"""Loud, but not for ever: says whether a line that may come a thousand times a second is due in the process log."""

from __future__ import annotations

from streams.clock import Clock

_KEYS_MAX = 1000


class Quiet:
    """Lets one line through for each key and interval, and counts what it holds back."""

    def __init__(self, clock: Clock, *, interval_s: float = 10.0) -> None:
        self._clock = clock
        self._interval_ns = round(interval_s * 1e9)
        self._said: dict[str, tuple[int, int]] = {}

    def due(self, key: str) -> int | None:
        """None: keep quiet. Otherwise say it now; the number says how many times it was held back since."""
        now_ns = self._clock.monotonic_ns()
        said_ns, held_back = self._said.get(key, (now_ns - self._interval_ns, 0))
        if now_ns - said_ns < self._interval_ns:
            self._said[key] = (said_ns, held_back + 1)
            return None
        self._said.pop(key, None)
        if len(self._said) >= _KEYS_MAX:
            del self._said[next(iter(self._said))]
        self._said[key] = (now_ns, 0)
        return held_back
