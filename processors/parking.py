"""Frames that are ahead of their manifest, in the order of the log, up to a bound of bytes. Pure.

A frame that waits is in the store, so that a restart forgets none, and counts as in flight in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from processors.chunk import Parked

OVERHEAD_BYTES = 512  # what a frame takes in memory beside its data
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for one manifest."""

    device: str
    manifest: int
    frames: int
    since_ms: int
    """When the hub got the first of them."""


class Parking:
    """See the head of this file. Changed by one thread; `queues` may be asked from any."""

    def __init__(self, bytes_max: int, parked: Iterable[Parked] = ()) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._waiting: dict[Key, list[Parked]] = {}
        for each in sorted(parked, key=_place):
            self._add(each)

    def park(self, each: Parked) -> bool:
        """Let a frame wait; False when no more may."""
        if self._bytes + _size(each) > self._bytes_max:
            return False
        self._add(each)
        return True

    def release(self, keys: Iterable[Key]) -> list[Parked]:
        """The frames that waited for these (device, manifest), in the order of the log; they wait no longer."""
        ready = [each for key in keys for each in self._waiting.pop(key, ())]
        self._bytes -= sum(map(_size, ready))
        return sorted(ready, key=_place)

    def awaited(self) -> set[Key]:
        """The manifests that are waited for, as (device, manifest)."""
        return set(self._waiting)

    def queues(self) -> list[Queue]:
        """What waits now, the longest wait first."""
        waiting = list(self._waiting.items())  # a copy: the other thread goes on
        found = [
            Queue(device, manifest, len(frames), frames[0].frame.time_ms) for (device, manifest), frames in waiting
        ]
        return sorted(found, key=lambda queue: queue.since_ms)

    def _add(self, each: Parked) -> None:
        self._waiting.setdefault((each.frame.device, each.manifest), []).append(each)
        self._bytes += _size(each)


def _size(each: Parked) -> int:
    return len(each.frame.data) + OVERHEAD_BYTES


def _place(each: Parked) -> tuple[int, int]:
    return each.frame.partition, each.frame.offset
