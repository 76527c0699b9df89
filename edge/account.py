"""The account: what became of every reading that was numbered (docs/protocol.md, account). Pure.

Every number below `produced` is acknowledged by the hub, held, dropped or thinned; so what is neither held nor dropped
here was acknowledged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from streams.errors import CorruptError
from streams.sequences import SequenceSet, Span

JsonObject = dict[str, Any]


@dataclasses.dataclass(slots=True)
class EpochBook:
    """One epoch: the first number that is not sealed yet, what waits for the hub, what was given up or thinned."""

    sealed: int = 0
    held: SequenceSet = dataclasses.field(default_factory=SequenceSet)
    dropped: dict[str, SequenceSet] = dataclasses.field(default_factory=dict)
    thinned: dict[str, SequenceSet] = dataclasses.field(default_factory=dict)
    unnumbered: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    """Readings that were thinned before they got numbers, by series and reason."""
    of_series: dict[tuple[str, str, str], int] = dataclasses.field(default_factory=dict)
    """How many of the numbered ones became what ("dropped", "thinned"), by series, that and reason."""

    def hold(self, start: int, stop: int) -> None:
        """[start, stop) is in the spool."""
        self.held.add(start, stop)
        self._remove(start, stop)
        self.sealed = max(self.sealed, stop)

    def acknowledge(self, start: int, stop: int) -> None:
        """The hub has [start, stop), even if it had been given up here in the meantime."""
        self.held.remove(start, stop)
        self._remove(start, stop)

    def drop(self, start: int, stop: int, reason: str) -> None:
        """[start, stop) is given up, because of `reason`."""
        self.held.remove(start, stop)
        self.dropped.setdefault(reason, SequenceSet()).add(start, stop)
        self.sealed = max(self.sealed, stop)

    def thin(self, start: int, stop: int, reason: str) -> None:
        """[start, stop) is replaced by fewer readings, because of `reason`."""
        self.held.remove(start, stop)
        self.thinned.setdefault(reason, SequenceSet()).add(start, stop)
        self.sealed = max(self.sealed, stop)

    def count_unnumbered(self, counts: Mapping[tuple[str, str], int]) -> None:
        """So many readings of each series were thinned for each reason, and never got numbers."""
        for key, count in counts.items():
            self.unnumbered[key] = self.unnumbered.get(key, 0) + count

    def count_of_series(self, state: str, reason: str, counts: Mapping[str, int]) -> None:
        """Say of which series the readings were that `drop` or `thin` took."""
        for series, count in counts.items():
            key = (series, state, reason)
            self.of_series[key] = self.of_series.get(key, 0) + count

    def dropped_count(self) -> int:
        return sum(spans.count() for spans in self.dropped.values())

    def thinned_count(self) -> int:
        return sum(spans.count() for spans in self.thinned.values()) + sum(self.unnumbered.values())

    def _remove(self, start: int, stop: int) -> None:
        for spans in (*self.dropped.values(), *self.thinned.values()):
            spans.remove(start, stop)

    def to_json(self) -> JsonObject:
        return {
            "sealed": self.sealed,
            "held": self.held.spans(),
            "dropped": {reason: spans.spans() for reason, spans in self.dropped.items()},
            "thinned": {reason: spans.spans() for reason, spans in self.thinned.items()},
            "unnumbered": [[*key, count] for key, count in self.unnumbered.items()],
            "of_series": [[*key, count] for key, count in self.of_series.items()],
        }

    @classmethod
    def from_json(cls, kept: JsonObject) -> EpochBook:
        """Read what `to_json` made. CorruptError for anything else."""
        try:
            dropped = {str(reason): SequenceSet(spans) for reason, spans in kept["dropped"].items()}
            thinned = {str(reason): SequenceSet(spans) for reason, spans in kept.get("thinned", {}).items()}
            unnumbered = {(str(series), str(why)): int(n) for series, why, n in kept.get("unnumbered", ())}
            of_series = {(str(a), str(b), str(c)): int(n) for a, b, c, n in kept.get("of_series", ())}
            return cls(int(kept["sealed"]), SequenceSet(kept["held"]), dropped, thinned, unnumbered, of_series)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptError(f"not the book of an epoch: {error}") from None


def account(books: dict[int, EpochBook], *, epoch: int, produced: int, pending: Span, time_ms: int) -> JsonObject:
    """The account to publish. `pending` are the numbers in the journal, not in the spool yet."""
    held = books.get(epoch, EpochBook()).held.copy()
    held.add(*pending)
    earlier = [
        {"epoch": number, **_entry(book, book.sealed, book.held)}
        for number, book in sorted(books.items())
        if number != epoch and (len(book.held) or book.dropped_count() or book.thinned_count())
    ]
    now = _entry(books.get(epoch, EpochBook()), produced, held)
    return {"epoch": epoch, "time_ms": time_ms, **now, "earlier": earlier}


def _entry(book: EpochBook, produced: int, held: SequenceSet) -> JsonObject:
    entry: JsonObject = {
        "produced": produced,
        "held": [list(span) for span in held],
        "dropped": _ranges(book.dropped),
        "thinned": _ranges(book.thinned),
    }
    if book.unnumbered:
        entry["unnumbered"] = [
            {"series": series, "reason": reason, "count": count}
            for (series, reason), count in sorted(book.unnumbered.items())
        ]
    if book.of_series:
        entry["of_series"] = [
            {"series": series, "state": state, "reason": reason, "count": count}
            for (series, state, reason), count in sorted(book.of_series.items())
        ]
    return entry


def _ranges(given_up: Mapping[str, SequenceSet]) -> list[JsonObject]:
    ranges = [(start, stop, reason) for reason, spans in given_up.items() for start, stop in spans]
    return [{"start": start, "stop": stop, "reason": reason} for start, stop, reason in sorted(ranges)]
