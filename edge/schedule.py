"""When a sensor is read next: ticks at whole intervals from a common origin, missed ticks counted, back-off on failure.

Sensors with the same interval and origin fall due at the same instant, so their readings share one time.
"""

from __future__ import annotations


class Schedule:
    """The ticks of one sensor, on the monotonic clock. Decides only; times come in as nanoseconds."""

    def __init__(self, *, interval_s: float, origin_ns: int, retry_s_max: float) -> None:
        self._interval_ns = max(1, round(interval_s * 1e9))
        self._origin_ns = origin_ns
        self._retry_ns_max = round(retry_s_max * 1e9)
        self._failures = 0
        self.due_ns = origin_ns
        self.missed = 0

    @property
    def failures(self) -> int:
        """Failures since the last success."""
        return self._failures

    def on_tick(self, now_ns: int) -> None:
        """A tick is being read now: the next is the first whole interval after `now_ns`, those between are missed."""
        following = self._first_after(now_ns)
        if self._failures == 0:
            self.missed += (following - self.due_ns) // self._interval_ns - 1
        self.due_ns = following

    def on_busy(self, now_ns: int) -> None:
        """A tick fell due while the sensor was still being read: it is missed."""
        self.on_tick(now_ns)
        self.missed += 1

    def on_success(self) -> bool:
        """The sensor answered. Returns True when it had failed before."""
        recovered = self._failures > 0
        self._failures = 0
        return recovered

    def on_failure(self, now_ns: int) -> bool:
        """The sensor failed: wait twice as long as the last time. Returns True at the first failure in a row."""
        self._failures += 1
        pause_ns = self._interval_ns * 2 ** min(self._failures - 1, 30)
        pause_ns = max(self._interval_ns, min(pause_ns, self._retry_ns_max))
        self.due_ns = max(self.due_ns, self._first_after(now_ns + pause_ns - self._interval_ns))
        return self._failures == 1

    def _first_after(self, now_ns: int) -> int:
        steps = max(0, now_ns - self._origin_ns) // self._interval_ns + 1
        return self._origin_ns + steps * self._interval_ns
