"""Which frames to send next and which may be freed: decisions only, fed with events. The uplink does the sending.

Frames stand in the spool at offsets. What was there when the connection came up is the backlog; what is sealed from
then on is live. Live frames go first, and a part of the window is theirs alone, so that they never wait behind the
backlog, which is sent oldest first in what is left of the window. When the connection ends, whatever was not freed is
sent again over the next one, the same bytes.

A frame is freed by its PUBACK when that is the hub's own; behind a broker of somebody else it then is only taken, and
is freed when the hub tells that it has committed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edge.spooled import SpooledFrame

TAKEN_MAX = 1000
"""Frames that a broker has taken and the hub has not committed; beyond it sending waits."""
_LIVE_SHARE = 4
"""A quarter of the window is for live frames alone."""


class Wanted(NamedTuple):
    """Read up to `frames` frames from `offset` on, and send them."""

    offset: int
    frames: int


class UplinkWindow:
    """The state of sending. Offsets of the spool come in, offsets to read and frames to free go out."""

    def __init__(self, inflight_max: int) -> None:
        self._inflight_max = inflight_max
        self._limit = inflight_max
        self._backlog_next = 0
        self._live_from = 0
        self._live_next = 0
        self._inflight: dict[int, tuple[SpooledFrame, int]] = {}
        self._taken: dict[int, tuple[SpooledFrame, int]] = {}

    @property
    def inflight(self) -> int:
        """Frames sent and not acknowledged."""
        return len(self._inflight)

    def on_connected(self, *, oldest: int, end: int, inflight_max: int) -> None:
        """A connection is up, the spool holds [oldest, end). `inflight_max` is what the broker takes."""
        self._inflight.clear()
        self._taken.clear()
        self._backlog_next = oldest
        self._live_from = self._live_next = end
        self._limit = max(1, min(self._inflight_max, inflight_max))

    def wanted(self, *, oldest: int, end: int, with_backlog: bool = True) -> Wanted | None:
        """What to read now, when the spool holds [oldest, end). None: nothing to send, or the window is full."""
        self._backlog_next = max(self._backlog_next, oldest)  # frames may have been dropped meanwhile
        self._live_next = max(self._live_next, oldest)
        room = min(self._limit - len(self._inflight), TAKEN_MAX - len(self._taken) - len(self._inflight))
        if room > 0 and self._live_next < end:
            return Wanted(self._live_next, min(room, end - self._live_next))
        if self._limit > 1:
            room -= max(1, self._limit // _LIVE_SHARE)
        backlog = self._live_from - self._backlog_next
        if room <= 0 or backlog <= 0 or not with_backlog:
            return None
        return Wanted(self._backlog_next, min(room, backlog))

    def is_backlog(self, offset: int) -> bool:
        """Whether the frame at `offset` was there before the connection."""
        return offset < self._live_from

    def on_passed_over(self, wanted: Wanted, sent: int) -> None:
        """Of `wanted` only `sent` frames were there; if none, the others are freed or cannot be read: go on behind."""
        if sent == 0:
            self._advance(wanted.offset + wanted.frames - 1)

    def on_sent(self, frame: SpooledFrame, now_ns: int) -> None:
        """A frame goes out."""
        expected = self._backlog_next if self.is_backlog(frame.offset) else self._live_next
        assert frame.offset >= expected, "the frames of a lane go out in their order"
        self._advance(frame.offset)
        self._inflight[frame.offset] = (frame, now_ns)

    def on_acknowledged(self, offset: int) -> SpooledFrame | None:
        """A PUBACK came that frees: returns the frame, or None if it is not in flight over this connection."""
        sent = self._inflight.pop(offset, None)
        return None if sent is None else sent[0]

    def on_taken(self, offset: int) -> None:
        """A PUBACK came that does not free: a broker has it, the hub perhaps not yet."""
        if (sent := self._inflight.pop(offset, None)) is not None:
            self._taken[offset] = sent

    def on_committed(self, is_committed: Callable[[SpooledFrame], bool]) -> list[SpooledFrame]:
        """The hub told what it has: returns the frames to free."""
        found = [frame for waits in (self._taken, self._inflight) for frame, _ in waits.values() if is_committed(frame)]
        for frame in found:
            self._taken.pop(frame.offset, None)
        return found

    def waiting_since_ns(self) -> int | None:
        """When the frame was sent that has waited longest for its PUBACK; None when none waits."""
        return min((sent_ns for _, sent_ns in self._inflight.values()), default=None)

    def uncommitted_since_ns(self) -> int | None:
        """When the frame was sent that has waited longest for the hub to commit it; None when none waits."""
        return next((sent_ns for _, sent_ns in self._taken.values()), None)

    def _advance(self, offset: int) -> None:
        if self.is_backlog(offset):
            self._backlog_next = offset + 1
        else:
            self._live_next = offset + 1
