"""Which frames to send next and which may be freed: decisions only, fed with events. The uplink does the sending.

Frames stand in the spool at offsets; they are sent oldest first, at most `inflight_max` ahead of their PUBACK. Only a
PUBACK frees. When the connection ends, whatever was in flight is sent again over the next one, the same bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from edge.spooled import SpooledFrame


class Wanted(NamedTuple):
    """Read up to `frames` frames from `offset` on, and send them."""

    offset: int
    frames: int


class UplinkWindow:
    """The state of sending. Offsets of the spool come in, offsets to read and frames to free go out."""

    def __init__(self, inflight_max: int) -> None:
        self._inflight_max = inflight_max
        self._limit = inflight_max
        self._next = 0
        self._inflight: dict[int, tuple[SpooledFrame, int]] = {}

    @property
    def inflight(self) -> int:
        """Frames sent and not acknowledged."""
        return len(self._inflight)

    def on_connected(self, *, oldest: int, inflight_max: int) -> None:
        """A connection is up: begin with the oldest frame of the spool. `inflight_max` is what the broker takes."""
        self._inflight.clear()
        self._next = oldest
        self._limit = max(1, min(self._inflight_max, inflight_max))

    def wanted(self, *, oldest: int, end: int) -> Wanted | None:
        """What to read now, when the spool holds [oldest, end). None: nothing to send, or the window is full."""
        self._next = max(self._next, oldest)  # frames may have been dropped meanwhile
        room = self._limit - len(self._inflight)
        if room <= 0 or self._next >= end:
            return None
        return Wanted(self._next, min(room, end - self._next))

    def on_sent(self, frame: SpooledFrame, now_ns: int) -> None:
        """A frame goes out."""
        assert frame.offset >= self._next, "frames go out in their order"
        self._next = frame.offset + 1
        self._inflight[frame.offset] = (frame, now_ns)

    def on_acknowledged(self, offset: int) -> SpooledFrame | None:
        """A PUBACK came: returns the frame to free, or None if it is not in flight over this connection."""
        sent = self._inflight.pop(offset, None)
        return None if sent is None else sent[0]

    def waiting_since_ns(self) -> int | None:
        """When the frame was sent that has waited longest for its PUBACK; None when none waits."""
        return min((sent_ns for _, sent_ns in self._inflight.values()), default=None)
