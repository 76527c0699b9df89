"""Which readings were stored already: per device and epoch a set of sequence numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.sequences import SequenceSet, Span


@dataclass(slots=True)
class Seen:
    """The numbers of one device and epoch, by what became of them."""

    stored: SequenceSet = field(default_factory=SequenceSet)
    quarantined: SequenceSet = field(default_factory=SequenceSet)


class Dedupe:
    """Tells what is new, and remembers it. `changed` are the books that differ from what was last committed."""

    def __init__(self) -> None:
        self._books: dict[tuple[str, int], Seen] = {}
        self._changed: set[tuple[str, int]] = set()

    def book(self, device: str, epoch: int) -> Seen:
        return self._books.setdefault((device, epoch), Seen())

    def admit(self, device: str, epoch: int, start: int, stop: int) -> list[Span]:
        """The parts of [start, stop) that were not stored yet; they count as stored from here on."""
        stored = self.book(device, epoch).stored
        new = stored.missing(start, stop)
        if new:
            stored.add(start, stop)
            self._changed.add((device, epoch))
        return new

    def quarantine(self, device: str, epoch: int, start: int, stop: int) -> None:
        """These readings are kept aside, undecoded."""
        if self.book(device, epoch).quarantined.add(start, stop):
            self._changed.add((device, epoch))

    def take_changed(self) -> list[tuple[str, int, Seen]]:
        changed = [(device, epoch, self._books[device, epoch]) for device, epoch in sorted(self._changed)]
        self._changed.clear()
        return changed

    def __iter__(self) -> Iterator[tuple[str, int, Seen]]:
        for (device, epoch), seen in sorted(self._books.items(), key=lambda item: item[0]):
            yield device, epoch, seen
