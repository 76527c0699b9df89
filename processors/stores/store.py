"""The contract of a store.

`load` is called once, first; it returns what the last commit left. `commit` is called by one thread, one call at a
time; when it returns everything of the chunk is durable. It is all or nothing, or the rows come first and writing them
a second time changes nothing. The queries may be called from other threads meanwhile; they never wait for a commit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from processors.alarms import Alarm
from processors.chunk import Chunk, Outgoing, Parked
from processors.latest import Last
from processors.manifests import SeriesInfo
from streams.sequences import SequenceSet


@dataclass(slots=True)
class State:
    """What a store knows when it is opened."""

    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    series: list[tuple[int, SeriesInfo]] = field(default_factory=list)
    ranges: list[tuple[str, int, SequenceSet, SequenceSet]] = field(default_factory=list)
    """device, epoch, stored, quarantined"""
    manifests: list[tuple[str, bytes]] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    open_alarms: list[Alarm] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    """Records that may not have been published."""
    detectors: dict[str, bytes] = field(default_factory=dict)
    latest: list[tuple[int, Last]] = field(default_factory=list)
    readings: int = 0
    undecodable: int = 0


class Store(Protocol):
    """See the head of this file."""

    name: str

    def load(self) -> State: ...

    def commit(self, chunk: Chunk) -> None:
        """Make a chunk durable. TryLaterError: nothing of it counts, the same call may succeed later."""
        ...

    def series(
        self, number: int, *, device: str, metric: str, start_ns: int, end_ns: int, bucket_ns: int
    ) -> dict[str, list[Any]]:
        """Buckets of a series in [start_ns, end_ns): lists time_ns, mean, min, max, count.

        `bad_ns` lists the buckets in which the device itself calls a reading bad, with or without a value.
        """
        ...

    def readings(self, device: str, *, start_ns: int, end_ns: int, limit: int) -> dict[str, list[Any]]:
        """Readings of a device as columns: metric, time_ns, value, text, quality, epoch, sequence."""
        ...

    def alarms(self, *, device: str | None, state: str, limit: int) -> list[dict[str, Any]]:
        """Alarms, newest first; state is open, closed or all."""
        ...

    def ledger(self) -> dict[str, Any]:
        """Offsets, ranges and row counts of one moment: the answer of GET /ledger."""
        ...

    def problems(self) -> list[str]:
        """Sentences on what is wrong now."""
        ...

    def close(self) -> None: ...
