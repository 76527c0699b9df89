"""What the hub has received and what devices say they produced: the hub's half of the ledger, folded from the log."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.account import Account, GivenUp
from hub.events import AccountEvent, ConnectionEvent, Event, FrameEvent, JunkEvent, StateEvent
from hub.starts import Starts
from streams import names
from streams.sequences import SequenceSet

FRAMES_REMEMBERED = 32
"""Of each epoch, at least: what comes once more is compared with these."""
PROBLEM_MS = 86_400_000
"""How long a conflict is a problem of the hub. In the ledger it stays."""
PROBLEMS_MAX = 20


@dataclass(slots=True)
class Book:
    """The numbers of one device and epoch."""

    received: SequenceSet = field(default_factory=SequenceSet)
    frames: int = 0
    """Frames that brought something new."""
    duplicates: int = 0
    """Readings that came once more."""
    account: Account | None = None
    closed: bool = False
    """The device has gone on to a newer epoch and says no more of this one: it holds nothing of it."""
    conflicts: int = 0
    """Readings that came under numbers that other readings have. They are on the log, and not stored."""
    recent: array[int] = field(default_factory=lambda: array("Q"))
    """First number, stop and checksum of the last frames, one after the other: there may be many books."""

    def receive(self, start: int, stop: int, checksum: int) -> bool:
        """Take a frame; whether it is another one than that which brought its numbers before."""
        new = self.received.add(start, stop)
        again, conflict = stop - start - new, False
        self.frames += new > 0
        if again:
            if (start, stop, checksum) in self._recent():
                self.duplicates += again
                return False
            conflict = new > 0 or any(first < stop and start < end for first, end, _ in self._recent())
            self.conflicts += again * conflict
            self.duplicates += again * (not conflict)
        recent = self.recent
        recent.append(start)
        recent.append(stop)
        recent.append(checksum)
        if len(recent) > 6 * FRAMES_REMEMBERED:  # seldom, because each time has its price
            del recent[: -3 * FRAMES_REMEMBERED]
        return conflict

    def _recent(self) -> Iterator[tuple[int, int, int]]:
        numbers = iter(self.recent)
        return zip(numbers, numbers, numbers)


class Accounts:
    """Received ranges by device and epoch, and the last account of each."""

    name = "ledger"
    streams = (names.TELEMETRY, names.DEVICES)

    def __init__(self) -> None:
        self._books: dict[str, dict[int, Book]] = {}
        self._starts: dict[str, Starts] = {}
        self._conflict_ms: dict[str, int] = {}
        """When a reading of a device last came under the number of another."""
        self._refused: dict[str, str] = {}
        """Why the last account of a device is not believed."""

    def fold(self, event: Event) -> None:
        """Take the next event of the log."""
        match event:
            case FrameEvent():
                self._receive(event)
            case AccountEvent():
                self._refused.pop(event.device, None)
                self._account(event)
            case StateEvent():
                if event.online and event.boot is not None:
                    self._starts.setdefault(event.device, Starts()).on_birth(event.boot, event.time_ms)
            case ConnectionEvent():
                if event.connected:
                    self._starts.setdefault(event.device, Starts()).address = event.address
            case JunkEvent():
                if event.device and event.channel == names.ACCOUNT:
                    self._refused[event.device] = event.reason

    def received_to(self, device: str, epoch: int) -> int:
        """One past the largest number of an epoch that the hub has received."""
        book = self._books.get(device, {}).get(epoch)
        spans = book.received.spans() if book else []
        return spans[-1][1] if spans else 0

    def epoch_newest(self, device: str) -> int:
        """The largest epoch that a device has numbered readings in itself; -1 when none is known."""
        return max((each for each in self._books.get(device, {}) if each < names.EPOCH_TRANSLATED), default=-1)

    def is_shared(self, device: str) -> bool:
        """Whether two agents have been seen to use this id at the same time."""
        return device in self._starts and self._starts[device].twin_ms is not None

    def problems(self, now_ms: int) -> list[str]:
        """What is wrong with devices, in sentences."""
        since_ms = now_ms - PROBLEM_MS
        found = [
            f"{device}: two agents use this device id at the same time, from {starts.where()}; "
            "stop one of them, or give it a device id and a state directory of its own"
            for device, starts in self._starts.items()
            if starts.twin_ms is not None and starts.twin_ms > since_ms
        ]
        found += [self._conflict(device) for device, at_ms in self._conflict_ms.items() if at_ms > since_ms]
        found += [
            f"{device}: its account is not believed, the ledger stands by the one before: {reason}"
            for device, reason in self._refused.items()
        ]
        more = len(found) - PROBLEMS_MAX
        return [*found[:PROBLEMS_MAX], *([f"{more} more problems of devices"] if more > 0 else [])]

    def _conflict(self, device: str) -> str:
        count = sum(book.conflicts for book in self._books[device].values())
        starts = self._starts.get(device, Starts())
        return (
            f"{device}: {count} readings came under numbers that other readings have, from {starts.where()}; they are "
            "on the log and not in the store: two agents share the id, or a copy of its state, or one was set back"
        )

    def frames_and_readings(self, device: str) -> tuple[int, int]:
        """How many frames and readings of a device the log has, each counted once."""
        books = self._books.get(device, {}).values()
        return sum(book.frames for book in books), sum(book.received.count() for book in books)

    def received_of(self, device: str) -> list[tuple[int, list[tuple[int, int]]]]:
        """What the hub has of a device: its own epochs, the newest first, each with the ranges of its numbers."""
        books = self._books.get(device, {})
        own = sorted((each for each in books if each < names.EPOCH_TRANSLATED), reverse=True)
        return [(epoch, list(books[epoch].received.spans())) for epoch in own]

    def to_json(self) -> list[dict[str, Any]]:
        """The accounts as the control API shows them, by device and epoch."""
        rows = [(device, epoch, book) for device, books in self._books.items() for epoch, book in books.items()]
        return [_row(device, epoch, book) for device, epoch, book in sorted(rows, key=lambda row: row[:2])]

    def snapshot(self) -> dict[str, Any]:
        """The state, as JSON: `restore` makes equal accounts of it."""
        rows = [(device, epoch, book) for device, books in self._books.items() for epoch, book in books.items()]
        return {
            "books": [_shown(device, epoch, book) for device, epoch, book in rows],
            "starts": {device: starts.snapshot() for device, starts in self._starts.items()},
            "conflict_ms": dict(self._conflict_ms),
            "refused": dict(self._refused),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a snapshot in place of what is there. KeyError, TypeError or ValueError when it cannot be one.

        One of an earlier version says nothing of conflicts.
        """
        books: dict[str, dict[int, Book]] = {}
        for each in state["books"]:
            books.setdefault(each["device"], {})[each["epoch"]] = _book(each)
        starts = {device: Starts.restored(each) for device, each in state.get("starts", {}).items()}
        self._conflict_ms = dict(state.get("conflict_ms", {}))
        self._refused = dict(state.get("refused", {}))
        self._books, self._starts = books, starts

    def _receive(self, event: FrameEvent) -> None:
        header = event.header
        book = self._book(event.device, header.epoch)
        if book.receive(header.sequence, header.sequence + header.count, event.checksum):
            self._conflict_ms[event.device] = max(event.time_ms, self._conflict_ms.get(event.device, 0))

    def _account(self, event: AccountEvent) -> None:
        device, accounts = event.device, event.accounts
        for account in accounts:
            _adopt(self._book(device, account.epoch), account, event.time_ms)
        for epoch in self._books[device].keys() - {account.epoch for account in accounts}:
            if epoch < accounts[0].epoch:
                self._books[device][epoch].closed = True

    def _book(self, device: str, epoch: int) -> Book:
        return self._books.setdefault(device, {}).setdefault(epoch, Book())


def _adopt(book: Book, account: Account, now_ms: int) -> None:
    book.closed = False
    if book.account is None or account.produced >= book.account.produced or _disproves(book, account, now_ms):
        book.account = account


def _disproves(book: Book, account: Account, now_ms: int) -> bool:
    """Whether an account that claims less shows that the one before it was wrong.

    It may be an older one that comes late, or that of a device that was set back: then the one before it stands. It was
    wrong when by its own words the hub has what the hub never received, and what the device now says was not used yet.
    """
    before = book.account
    assert before is not None
    if account.time_ms is not None and account.time_ms <= (before.time_ms or 0) <= now_ms:
        return False  # it comes late
    unknown = SequenceSet([(account.produced, before.produced)])
    for start, stop in before.held:
        unknown.remove(start, stop)
    for each in (*before.dropped, *before.thinned):
        unknown.remove(each.start, each.stop)
    return len(unknown) > 0 and not any(stop > account.produced for _, stop in book.received)


def _row(device: str, epoch: int, book: Book) -> dict[str, Any]:
    account = book.account or Account(epoch, 0)
    received = book.received.spans()
    produced, held = account.produced, account.held
    if book.closed:  # then what was not received is not in the device either
        produced, held = max(produced, received[-1][1] if received else 0), ()
    return {
        "device": device,
        "epoch": epoch,
        "produced": produced,
        "held": [list(span) for span in held],
        "dropped": [each.to_json() for each in account.dropped],
        "thinned": [each.to_json() for each in account.thinned],
        "account_time_ms": account.time_ms,
        "received": [list(span) for span in received],
        "duplicates": book.duplicates,
        "conflicts": book.conflicts,
    }


def _shown(device: str, epoch: int, book: Book) -> dict[str, Any]:
    account = book.account
    return {
        "device": device,
        "epoch": epoch,
        "received": book.received.spans(),
        "frames": book.frames,
        "duplicates": book.duplicates,
        "closed": book.closed,
        "conflicts": book.conflicts,
        "recent": book.recent.tobytes().hex(),
        "account": account
        and {
            "epoch": account.epoch,
            "produced": account.produced,
            "time_ms": account.time_ms,
            "held": list(account.held),
            "dropped": [each.to_json() for each in account.dropped],
            "thinned": [each.to_json() for each in account.thinned],
        },
    }


def _book(plain: Mapping[str, Any]) -> Book:
    book = Book(
        received=SequenceSet(plain["received"]),
        frames=plain["frames"],
        duplicates=plain["duplicates"],
        account=_account(plain["account"]),
        closed=plain["closed"],
        conflicts=plain.get("conflicts", 0),
    )
    book.recent.frombytes(bytes.fromhex(plain.get("recent", "")))
    return book


def _account(plain: Mapping[str, Any] | None) -> Account | None:
    if plain is None:
        return None
    return Account(
        epoch=plain["epoch"],
        produced=plain["produced"],
        time_ms=plain["time_ms"],
        held=tuple((start, stop) for start, stop in plain["held"]),
        dropped=tuple(GivenUp(**each) for each in plain["dropped"]),
        thinned=tuple(GivenUp(**each) for each in plain["thinned"]),
    )
