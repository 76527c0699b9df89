"""What the hub has received and what devices say they produced: the hub's half of the ledger, folded from the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.account import Account, GivenUp
from hub.events import AccountEvent, Event, FrameEvent
from streams import names
from streams.sequences import SequenceSet


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


class Accounts:
    """Received ranges by device and epoch, and the last account of each."""

    name = "ledger"
    streams = (names.TELEMETRY, names.DEVICES)

    def __init__(self) -> None:
        self._books: dict[str, dict[int, Book]] = {}

    def fold(self, event: Event) -> None:
        """Take the next event of the log."""
        match event:
            case FrameEvent():
                self._receive(event)
            case AccountEvent():
                self._account(event.device, event.accounts)

    def frames_and_readings(self, device: str) -> tuple[int, int]:
        """How many frames and readings of a device the log has, each counted once."""
        books = self._books.get(device, {}).values()
        return sum(book.frames for book in books), sum(book.received.count() for book in books)

    def to_json(self) -> list[dict[str, Any]]:
        """The accounts as the control API shows them, by device and epoch."""
        rows = [(device, epoch, book) for device, books in self._books.items() for epoch, book in books.items()]
        return [_row(device, epoch, book) for device, epoch, book in sorted(rows, key=lambda row: row[:2])]

    def snapshot(self) -> dict[str, Any]:
        """The state, as JSON: `restore` makes equal accounts of it."""
        rows = [(device, epoch, book) for device, books in self._books.items() for epoch, book in books.items()]
        return {"books": [_shown(device, epoch, book) for device, epoch, book in rows]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a snapshot in place of what is there. KeyError, TypeError or ValueError when it cannot be one."""
        books: dict[str, dict[int, Book]] = {}
        for each in state["books"]:
            book = Book(
                received=SequenceSet(each["received"]),
                frames=each["frames"],
                duplicates=each["duplicates"],
                account=_account(each["account"]),
                closed=each["closed"],
            )
            books.setdefault(each["device"], {})[each["epoch"]] = book
        self._books = books

    def _receive(self, event: FrameEvent) -> None:
        header = event.header
        book = self._book(event.device, header.epoch)
        new = book.received.add(header.sequence, header.sequence + header.count)
        book.duplicates += header.count - new
        book.frames += new > 0

    def _account(self, device: str, accounts: tuple[Account, ...]) -> None:
        for account in accounts:
            _adopt(self._book(device, account.epoch), account)
        for epoch in self._books[device].keys() - {account.epoch for account in accounts}:
            if epoch < accounts[0].epoch:
                self._books[device][epoch].closed = True

    def _book(self, device: str, epoch: int) -> Book:
        return self._books.setdefault(device, {}).setdefault(epoch, Book())


def _adopt(book: Book, account: Account) -> None:
    book.closed = False
    if book.account is None or account.produced >= book.account.produced:  # an older one may come late
        book.account = account


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
