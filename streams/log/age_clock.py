"""What time it is for those that remove what is old: a clock that jumps far forward must not remove everything.

The wall clock is believed as far as the monotonic clock, which cannot jump, bears it out. A jump is said, and believed
when it has stood for a day: then somebody had the time to see it.
"""

from __future__ import annotations

import logging

from streams.clock import Clock

_log = logging.getLogger("penstock.log")

SLACK_NS = 86_400 * 10**9
BELIEVED_AFTER_NS = 86_400 * 10**9


class AgeClock:
    """Holds the wall clock against the time that passed since this was made."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_ns = clock.time_ns() - clock.monotonic_ns()
        self._jumped_ns: int | None = None
        """When the jump was seen first, by the monotonic clock."""
        self._problem: str | None = None

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC, behind a jump as if it had not been."""
        now_ns, passed_ns = self._clock.time_ns(), self._clock.monotonic_ns()
        sane_ns = self._start_ns + passed_ns
        ahead_ns = now_ns - sane_ns
        if ahead_ns <= SLACK_NS:
            self._start_ns += min(0, ahead_ns)
            self._jumped_ns = self._problem = None
            return now_ns // 1_000_000
        if self._jumped_ns is None:
            self._jumped_ns = passed_ns
            self._problem = (
                f"the clock jumped forward by {ahead_ns / 3600e9:.1f} hours, or the machine slept: the log removes "
                "nothing for that for a day; set the clock, or restart if it is right now"
            )
            _log.error("%s", self._problem)
        elif passed_ns - self._jumped_ns >= BELIEVED_AFTER_NS:
            _log.warning("the clock is believed after its jump, it has stood for a day")
            self._start_ns += ahead_ns
            self._jumped_ns = self._problem = None
            return now_ns // 1_000_000
        return sane_ns // 1_000_000

    def problems(self) -> list[str]:
        """A sentence while a jump is not believed."""
        return [self._problem] if self._problem else []
