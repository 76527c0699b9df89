"""A set of sequence numbers held as disjoint half-open ranges: what was received, stored, dropped.

Readings are numbered 0, 1, 2 ... per device and epoch. They arrive as ranges, mostly in order, so the
set stays a handful of spans however many numbers it holds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Span = tuple[int, int]


class SequenceSet:
    """Disjoint, sorted, half-open ranges [start, stop) of non-negative integers."""

    __slots__ = ("_starts", "_stops")

    def __init__(self, spans: Iterable[Iterable[int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in spans:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> int:
        """Add [start, stop); returns how many of its numbers were new."""
        if not 0 <= start <= stop:
            raise ValueError(f"not a range of sequence numbers: [{start}, {stop})")
        if start == stop:
            return 0
        first = bisect_left(self._stops, start)  # the first span that touches or follows [start, stop)
        last = bisect_right(self._starts, stop)  # one past the last span that touches it
        new = (stop - start) - self._overlap(first, last, start, stop)
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]
        return new

    def remove(self, start: int, stop: int) -> int:
        """Take [start, stop) out; returns how many of its numbers were there."""
        if not 0 <= start <= stop:
            raise ValueError(f"not a range of sequence numbers: [{start}, {stop})")
        first = bisect_right(self._stops, start)
        last = bisect_left(self._starts, stop)
        if start == stop or first >= last:
            return 0
        taken = self._overlap(first, last, start, stop)
        kept: list[Span] = []
        if self._starts[first] < start:
            kept.append((self._starts[first], start))
        if self._stops[last - 1] > stop:
            kept.append((stop, self._stops[last - 1]))
        self._starts[first:last] = [span[0] for span in kept]
        self._stops[first:last] = [span[1] for span in kept]
        return taken

    def missing(self, start: int, stop: int) -> list[Span]:
        """The parts of [start, stop) that are not in the set, in order."""
        gaps: list[Span] = []
        at = start
        for index in range(bisect_right(self._stops, start), len(self._starts)):
            if self._starts[index] >= stop:
                break
            if self._starts[index] > at:
                gaps.append((at, self._starts[index]))
            at = max(at, self._stops[index])
        if at < stop:
            gaps.append((at, stop))
        return gaps

    def contains(self, start: int, stop: int) -> bool:
        """Whether every number of [start, stop) is in the set."""
        index = bisect_right(self._starts, start) - 1
        return start == stop or (index >= 0 and self._stops[index] >= stop)

    def count(self) -> int:
        """How many numbers the set holds."""
        return sum(self._stops) - sum(self._starts)

    def spans(self) -> list[Span]:
        """The ranges, sorted and disjoint."""
        return list(zip(self._starts, self._stops))

    def copy(self) -> SequenceSet:
        twin = SequenceSet()
        twin._starts, twin._stops = self._starts.copy(), self._stops.copy()
        return twin

    def union(self, other: SequenceSet) -> SequenceSet:
        """All numbers of either set, as a new set."""
        both = self.copy()
        for start, stop in other:
            both.add(start, stop)
        return both

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans())

    def __len__(self) -> int:
        """How many spans the set is held in."""
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SequenceSet):
            return NotImplemented
        return self._starts == other._starts and self._stops == other._stops

    def __repr__(self) -> str:
        return f"SequenceSet({self.spans()})"

    def _overlap(self, first: int, last: int, start: int, stop: int) -> int:
        return sum(max(0, min(stop, self._stops[i]) - max(start, self._starts[i])) for i in range(first, last))
