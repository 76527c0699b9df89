"""How many messages a client may send: a bucket that fills with time and is emptied by messages (token bucket)."""

from __future__ import annotations

_SECOND_NS = 1_000_000_000


class Rate:
    """`per_s` messages a second, and as many at once after a second of silence."""

    def __init__(self, per_s: int, now_ns: int) -> None:
        self._per_s = per_s
        self._left = float(per_s)
        self._at_ns = now_ns

    def spend(self, messages: int) -> None:
        """Messages came; they are taken, but the next may have to wait."""
        self._left -= messages

    def wait_ns(self, now_ns: int) -> int:
        """How long nothing more may be read; 0: go on."""
        gained = (now_ns - self._at_ns) * self._per_s / _SECOND_NS
        self._left = min(self._left + gained, float(self._per_s))
        self._at_ns = now_ns
        return 0 if self._left >= 0 else round(-self._left * _SECOND_NS / self._per_s)
