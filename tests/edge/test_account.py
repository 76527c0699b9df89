from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.account import EpochBook, account
from streams.errors import CorruptError
from streams.sequences import SequenceSet

STEPS = st.lists(
    st.tuples(st.sampled_from(["hold", "drop", "acknowledge"]), st.integers(1, 20), st.integers(0, 30)), max_size=40
)


def test_the_account_says_what_is_held_dropped_and_pending() -> None:
    book = EpochBook()
    book.hold(0, 10)
    book.hold(10, 20)
    book.acknowledge(0, 10)
    book.drop(20, 25, "disk full")
    book.hold(25, 30)
    earlier = EpochBook()
    earlier.hold(0, 5)
    done = EpochBook(sealed=9)
    told = account({5: book, 3: earlier, 2: done}, epoch=5, produced=33, pending=(30, 33), time_ms=1)
    assert told == {
        "epoch": 5,
        "produced": 33,
        "time_ms": 1,
        "held": [[10, 20], [25, 33]],
        "dropped": [{"start": 20, "stop": 25, "reason": "disk full"}],
        "thinned": [],
        "earlier": [{"epoch": 3, "produced": 5, "held": [[0, 5]], "dropped": [], "thinned": []}],
    }


def test_an_epoch_that_nothing_was_sealed_in_yet() -> None:
    told = account({}, epoch=5, produced=3, pending=(0, 3), time_ms=1)
    assert (told["produced"], told["held"], told["earlier"]) == (3, [[0, 3]], [])


@given(STEPS)
def test_every_number_is_held_dropped_or_acknowledged_and_only_one_of_them(steps: list[tuple[str, int, int]]) -> None:
    """Acknowledged here means: was held or dropped, and the hub said that it has it."""
    book, acknowledged = EpochBook(), SequenceSet()
    for what, count, at in steps:
        if what == "hold":
            book.hold(book.sealed, book.sealed + count)
        elif what == "drop" and at < book.sealed:
            start, stop = at, min(book.sealed, at + count)
            for span in acknowledged.copy().missing(start, stop):
                book.drop(*span, "x")
        elif what == "acknowledge" and at < book.sealed:
            stop = min(book.sealed, at + count)
            book.acknowledge(at, stop)
            acknowledged.add(at, stop)
    dropped = book.dropped.get("x", SequenceSet())
    assert book.held.count() + dropped.count() + acknowledged.count() == book.sealed
    assert book.held.union(dropped).union(acknowledged).count() == book.sealed
    assert EpochBook.from_json(json.loads(json.dumps(book.to_json()))) == book


def test_what_was_given_up_and_arrived_after_all_is_not_dropped() -> None:
    book = EpochBook()
    book.hold(0, 10)
    book.drop(0, 10, "x")
    book.acknowledge(0, 10)
    assert book.dropped_count() == 0


@pytest.mark.parametrize("kept", [{}, {"sealed": 1, "held": [[2, 1]], "dropped": {}}, {"sealed": 1, "held": 3}, []])
def test_a_book_that_is_none_is_corrupt(kept: object) -> None:
    with pytest.raises(CorruptError):
        EpochBook.from_json(kept)  # type: ignore[arg-type]
