"""The account: what became of every reading that was numbered (docs/protocol.md, account). Pure.

Every number below `produced` is acknowledged by the hub, held, dropped or thinned; so what is neither held nor dropped
here was acknowledged.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from streams.errors import CorruptError
from streams.sequences import SequenceSet, Span

JsonObject = dict[str, Any]


@dataclasses.dataclass(slots=True)
class EpochBook:
    """One epoch: the first number that is not sealed yet, what waits for the hub, and what was given up."""

    sealed: int = 0
    held: SequenceSet = dataclasses.field(default_factory=SequenceSet)
    dropped: dict[str, SequenceSet] = dataclasses.field(default_factory=dict)

    def hold(self, start: int, stop: int) -> None:
        """[start, stop) is in the spool."""
        self.held.add(start, stop)
        for spans in self.dropped.values():
            spans.remove(start, stop)
        self.sealed = max(self.sealed, stop)

    def acknowledge(self, start: int, stop: int) -> None:
        """The hub has [start, stop), even if it had been given up here in the meantime."""
        self.held.remove(start, stop)
        for spans in self.dropped.values():
            spans.remove(start, stop)

    def drop(self, start: int, stop: int, reason: str) -> None:
        """[start, stop) is given up, because of `reason`."""
        self.held.remove(start, stop)
        self.dropped.setdefault(reason, SequenceSet()).add(start, stop)
        self.sealed = max(self.sealed, stop)

    def dropped_count(self) -> int:
        return sum(spans.count() for spans in self.dropped.values())

    def to_json(self) -> JsonObject:
        return {
            "sealed": self.sealed,
            "held": self.held.spans(),
            "dropped": {reason: spans.spans() for reason, spans in self.dropped.items()},
        }

    @classmethod
    def from_json(cls, kept: JsonObject) -> EpochBook:
        """Read what `to_json` made. CorruptError for anything else."""
        try:
            dropped = {str(reason): SequenceSet(spans) for reason, spans in kept["dropped"].items()}
            return cls(int(kept["sealed"]), SequenceSet(kept["held"]), dropped)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptError(f"not the book of an epoch: {error}") from None


def account(books: dict[int, EpochBook], *, epoch: int, produced: int, pending: Span, time_ms: int) -> JsonObject:
    """The account to publish. `pending` are the numbers in the journal, not in the spool yet."""
    held = books.get(epoch, EpochBook()).held.copy()
    held.add(*pending)
    earlier = [
        {"epoch": number, **_entry(book, book.sealed, book.held)}
        for number, book in sorted(books.items())
        if number != epoch and (len(book.held) or book.dropped_count())
    ]
    now = _entry(books.get(epoch, EpochBook()), produced, held)
    return {"epoch": epoch, "time_ms": time_ms, **now, "earlier": earlier}


def _entry(book: EpochBook, produced: int, held: SequenceSet) -> JsonObject:
    dropped = [
        {"start": start, "stop": stop, "reason": reason}
        for reason, spans in book.dropped.items()
        for start, stop in spans
    ]
    return {
        "produced": produced,
        "held": [list(span) for span in held],
        "dropped": sorted(dropped, key=lambda each: int(str(each["start"]))),
        "thinned": [],
    }
