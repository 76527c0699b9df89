"""The ledger: every reading accounted for, out of what the hub and the processors say.

For each device and epoch the numbers 0 .. produced - 1 are sorted into kinds. Sources overlap (a frame is acknowledged
before the device's account says so, a dropped frame may have arrived after all), so each number counts once, as the
first of these that holds for it:

    stored > quarantined > logged > dropped > thinned > held > lost

`logged` is received by the hub and not processed yet. `held` is in the device: its account says so, or it was numbered
after the account was made. What is left is `lost`. The two answers and the account are taken at different moments;
sets only move to the left as time goes by, so that a reading on its way is in flight whichever was taken first.
When the processors have read every frame that the hub has logged, nothing can be logged any more but what they have
parked, and nothing that the hub has received can be on its way from the device: then a reading that they passed over,
or that was destroyed on the log before they read it, is lost too, and shows, whatever the device's last account says.

Without an answer of the processors nobody knows what is stored: nothing may be lost as far as is known, and yet the
verdict is "unknown".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from streams.sequences import SequenceSet, Span

Row = Mapping[str, Any]
Verdict = Literal["balanced", "not balanced", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How many readings are where. produced is the sum of all but duplicates, duplicate_rows and conflicts."""

    produced: int = 0
    stored: int = 0
    thinned: int = 0
    dropped: int = 0
    quarantined: int = 0
    held: int = 0
    logged: int = 0
    lost: int = 0
    duplicates: int = 0
    """Readings that the hub was sent once more, which is harmless."""
    duplicate_rows: int = 0
    """Rows that the store has twice, which is not."""
    conflicts: int = 0
    """Readings that came under numbers of other readings: they are on the hub's log and not stored, which is not."""

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})

    def to_json(self) -> dict[str, Any]:
        return {
            "produced": self.produced,
            "stored": self.stored,
            "thinned": self.thinned,
            "dropped": self.dropped,
            "quarantined": self.quarantined,
            "in_flight": {"held": self.held, "logged": self.logged},
            "lost": self.lost,
            "duplicates": self.duplicates,
            "duplicate_rows": self.duplicate_rows,
            "conflicts": self.conflicts,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The account of one device and epoch."""

    device: str
    epoch: int
    amounts: Amounts
    lost_ranges: tuple[Span, ...]

    def to_json(self) -> dict[str, Any]:
        ranges = [list(span) for span in self.lost_ranges]
        return {"device": self.device, "epoch": self.epoch, **self.amounts.to_json(), "lost_ranges": ranges}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The accounts of all devices, and their sum."""

    accounts: tuple[Line, ...] = ()
    totals: Amounts = field(default_factory=Amounts)
    undecodable: int = 0
    """Frames without a readable header, whose readings cannot be told; their devices still hold or miss them."""

    store_known: bool = True
    """Whether the processors have answered."""

    @property
    def balanced(self) -> bool:
        """As far as is known no reading is lost, none is stored twice, none came under the number of another."""
        return self.totals.lost == 0 and self.totals.duplicate_rows == 0 and self.totals.conflicts == 0

    @property
    def verdict(self) -> Verdict:
        """Whether every reading is accounted for; "unknown" when what is stored is not known."""
        if not self.balanced:
            return "not balanced"
        return "balanced" if self.store_known else "unknown"

    def to_json(self) -> dict[str, Any]:
        return {
            "accounts": [line.to_json() for line in self.accounts],
            "totals": self.totals.to_json(),
            "undecodable": self.undecodable,
            "balanced": self.balanced,
            "verdict": self.verdict,
        }


def reconcile(hub_answer: Mapping[str, Any], processors_answer: Mapping[str, Any] | None) -> Ledger:
    """Make the ledger of the answers to `GET /ledger` of the hub and of the processors (None: they do not answer)."""
    processors = processors_answer or {}
    caught_up = _has_caught_up(hub_answer.get("partitions", ()), processors.get("partitions", ()))
    received = {(row["device"], row["epoch"]): row for row in hub_answer["accounts"]}
    stored = {(row["device"], row["epoch"]): row for row in processors.get("accounts", ())}
    lines = tuple(
        _line(device, epoch, received.get((device, epoch), {}), stored.get((device, epoch), {}), caught_up)
        for device, epoch in sorted(received.keys() | stored.keys())
    )
    totals = sum((line.amounts for line in lines), Amounts())
    undecodable = processors.get("undecodable", 0)
    return Ledger(accounts=lines, totals=totals, undecodable=undecodable, store_known=processors_answer is not None)


def _has_caught_up(logged: Iterable[Row], processed: Iterable[Row]) -> bool:
    """Whether the processors have read everything that the hub's answer speaks of."""
    ends = {row["partition"]: row["offset"] for row in logged}
    offsets = {row["partition"]: row["offset"] for row in processed}
    return bool(ends) and all(offsets.get(partition, -1) >= end for partition, end in ends.items())


def _line(device: str, epoch: int, hub: Row, processors: Row, caught_up: bool) -> Line:
    accounted = hub.get("produced", 0)
    stored = SequenceSet(processors.get("stored", ()))
    quarantined = SequenceSet(processors.get("quarantined", ()))
    parked = SequenceSet(processors.get("parked", ()))
    received = SequenceSet(hub.get("received", ()))
    dropped, thinned = _given_up(hub.get("dropped", ())), _given_up(hub.get("thinned", ()))
    held = SequenceSet(hub.get("held", ()))
    produced = max(
        accounted, *(_stop(each) for each in (stored, quarantined, parked, received, dropped, thinned, held))
    )
    if accounted < produced:
        held.add(accounted, produced)  # numbered after the account was made: what has not arrived is in the device
    if caught_up:
        for span in received:
            held.remove(*span)
    logged = parked if caught_up else received.union(parked)
    left = SequenceSet([(0, produced)])
    taken = [_take(left, each) for each in (stored, quarantined, logged, dropped, thinned, held)]
    amounts = Amounts(
        produced=produced,
        **dict(zip(("stored", "quarantined", "logged", "dropped", "thinned", "held"), taken)),
        lost=left.count(),
        duplicates=hub.get("duplicates", 0),
        duplicate_rows=processors.get("duplicate_rows", 0),
        conflicts=hub.get("conflicts", 0),
    )
    return Line(device=device, epoch=epoch, amounts=amounts, lost_ranges=tuple(left))


def _given_up(ranges: Iterable[Row]) -> SequenceSet:
    return SequenceSet((each["start"], each["stop"]) for each in ranges)


def _stop(numbers: SequenceSet) -> int:
    spans = numbers.spans()
    return spans[-1][1] if spans else 0


def _take(left: SequenceSet, numbers: SequenceSet) -> int:
    """Count the numbers that are still left, and take them out."""
    return sum(left.remove(start, stop) for start, stop in numbers)
