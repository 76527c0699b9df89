"""Whether a command may still run, though the clock of a device may be wrong. Pure.

The device's clock says `now`, give or take `uncertainty`. It cannot be earlier than when the hub made the command, plus
what has passed on the monotonic clock since it came. A clock that is far before that is not set, and tells nothing.
"""

from __future__ import annotations

_BEHIND_MS_MAX = 60_000


def refusal(
    *, deadline_ms: int, created_ms: int | None, now_ms: int, waited_ms: int, uncertainty_ms: int
) -> str | None:
    """Why it is too late, or cannot be told to be in time; None when it is in time for certain."""
    latest_ms = now_ms + uncertainty_ms
    if created_ms is not None:
        earliest_ms = created_ms + waited_ms
        if latest_ms + _BEHIND_MS_MAX < earliest_ms:
            behind_s = (earliest_ms - now_ms) // 1000
            return f"the clock of this device is at least {behind_s} s behind the hub's, so it cannot tell the deadline"
        latest_ms = max(latest_ms, earliest_ms)
    if latest_ms >= deadline_ms:
        return f"its deadline has passed (the clock of this device is {uncertainty_ms / 1000:.3g} s uncertain)"
    return None
