"""The ledger against a simulated history: every number is in exactly one place, and lost only if it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.ledger import Amounts, Ledger, reconcile
from streams.sequences import SequenceSet


def hub_answer(*accounts: dict[str, Any], offset: int = 0) -> dict[str, Any]:
    empty = {"device": "d", "epoch": 1, "produced": 0, "held": [], "dropped": [], "thinned": [], "received": []}
    rows = [{**empty, "account_time_ms": None, "duplicates": 0, **account} for account in accounts]
    return {"partitions": [{"partition": 0, "offset": offset}], "accounts": rows}


def processors_answer(*accounts: dict[str, Any], offset: int = 0) -> dict[str, Any]:
    empty = {"device": "d", "epoch": 1, "stored": [], "quarantined": [], "parked": [], "rows": 0, "duplicate_rows": 0}
    rows = [{**empty, **account} for account in accounts]
    return {"partitions": [{"partition": 0, "offset": offset}], "accounts": rows, "undecodable": 0}


def given_up(start: int, stop: int) -> dict[str, Any]:
    return {"start": start, "stop": stop, "reason": "test"}


def assert_identity(ledger: Ledger) -> None:
    for amounts in [*(line.amounts for line in ledger.accounts), ledger.totals]:
        kinds = ("stored", "thinned", "dropped", "quarantined", "held", "logged", "lost")
        assert amounts.produced == sum(getattr(amounts, kind) for kind in kinds)
    for line in ledger.accounts:
        assert sum(stop - start for start, stop in line.lost_ranges) == line.amounts.lost


@dataclass
class History:
    """One device, the hub and the processors, moved step by step; `truth` is what really was lost."""

    produced: int = 0
    unsent: SequenceSet = field(default_factory=SequenceSet)
    sent: list[tuple[int, int]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    thinned: list[dict[str, Any]] = field(default_factory=list)
    account: dict[str, Any] = field(default_factory=dict)
    log: list[tuple[int, int]] = field(default_factory=list)
    received: SequenceSet = field(default_factory=SequenceSet)
    duplicates: int = 0
    read: int = 0
    stored: SequenceSet = field(default_factory=SequenceSet)
    quarantined: SequenceSet = field(default_factory=SequenceSet)
    parked: list[tuple[int, int]] = field(default_factory=list)

    def produce(self, count: int) -> None:
        self.unsent.add(self.produced, self.produced + count)
        self.produced += count

    def give_up(self, kind: str, place: int, count: int) -> None:
        spans = self.unsent.spans()
        if spans:
            start, stop = spans[place % len(spans)]
            stop = min(stop, start + count)
            getattr(self, kind).append(given_up(start, stop))
            self.unsent.remove(start, stop)

    def send(self, place: int, count: int) -> None:
        """The hub logs a frame; the device does not know yet."""
        spans = self.unsent.spans()
        if spans:
            start, stop = spans[place % len(spans)]
            self.deliver(start, min(stop, start + count))

    def deliver(self, start: int, stop: int) -> None:
        self.sent.append((start, stop))
        self.log.append((start, stop))
        self.duplicates += (stop - start) - self.received.add(start, stop)

    def acknowledge(self, place: int) -> None:
        if self.sent:
            start, stop = self.sent.pop(place % len(self.sent))
            self.unsent.remove(start, stop)

    def tell(self) -> None:
        self.account = {
            "produced": self.produced,
            "held": [list(span) for span in self.unsent],
            "dropped": list(self.dropped),
            "thinned": list(self.thinned),
        }

    def process(self, fate: str) -> None:
        if self.read < len(self.log):
            start, stop = self.log[self.read]
            self.read += 1
            if fate == "park":
                self.parked.append((start, stop))
            elif fate == "quarantine":
                self.quarantined.add(start, stop)
            else:
                self.stored.add(start, stop)

    def unpark(self) -> None:
        if self.parked:
            self.stored.add(*self.parked.pop())

    def hub(self) -> dict[str, Any]:
        received = [list(span) for span in self.received]
        return hub_answer({**self.account, "received": received, "duplicates": self.duplicates}, offset=len(self.log))

    def processors(self) -> dict[str, Any]:
        sets = {"stored": self.stored, "quarantined": self.quarantined, "parked": SequenceSet(self.parked)}
        row = {name: [list(span) for span in numbers] for name, numbers in sets.items()}
        return processors_answer(row, offset=self.read)


numbers = st.integers(0, 7)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("produce"), st.integers(1, 20)),
        st.tuples(st.just("give_up"), st.sampled_from(["dropped", "thinned"]), numbers, st.integers(1, 10)),
        st.tuples(st.just("send"), numbers, st.integers(1, 10)),
        st.tuples(st.just("acknowledge"), numbers),
        st.tuples(st.just("tell")),
        st.tuples(st.just("process"), st.sampled_from(["store", "store", "store", "park", "quarantine"])),
        st.tuples(st.just("unpark")),
    ),
    max_size=60,
)


def run(history: History, story: list[Any]) -> None:
    for name, *arguments in story:
        getattr(history, name)(*arguments)


@given(steps, steps)
@settings(max_examples=300)
def test_nothing_is_lost_in_any_history_whichever_answer_is_taken_first(before: list[Any], between: list[Any]) -> None:
    history = History()
    run(history, before)
    hub_first, processors_first = history.hub(), history.processors()
    run(history, between)
    answers = [
        (hub_first, history.processors()),
        (history.hub(), processors_first),
        (history.hub(), None),
        (hub_first, processors_first),
    ]
    for hub, processors in answers:
        ledger = reconcile(hub, processors)
        assert_identity(ledger)
        assert ledger.balanced, ledger


@given(steps, steps, st.integers(1, 10))
@settings(max_examples=200)
def test_a_range_that_the_log_lost_shows_up_as_lost(before: list[Any], after: list[Any], count: int) -> None:
    history = History()
    run(history, before)
    history.produce(count)
    hole = (history.produced - count, history.produced)
    history.unsent.remove(*hole)  # acknowledged, and nowhere
    run(history, after)
    history.tell()
    ledger = reconcile(history.hub(), history.processors())
    assert_identity(ledger)
    assert ledger.accounts[0].lost_ranges == (hole,)
    assert not ledger.balanced


@given(steps, st.integers(1, 10))
@settings(max_examples=200)
def test_a_frame_that_the_processors_passed_over_shows_up_as_lost(story: list[Any], count: int) -> None:
    history = History()
    run(history, story)
    history.produce(count)
    hole = (history.produced - count, history.produced)
    history.deliver(*hole)
    assert reconcile(history.hub(), history.processors()).balanced, "not read yet, so it is in flight"
    while history.read < len(history.log) - 1:
        history.process("store")
    history.read += 1
    history.tell()
    ledger = reconcile(history.hub(), history.processors())
    assert_identity(ledger)
    assert ledger.accounts[0].lost_ranges == (hole,), "though the device holds it until it hears of the PUBACK"


def test_each_number_counts_once_in_the_order_of_kinds() -> None:
    everywhere = [[0, 70]]
    hub = hub_answer(
        {
            "produced": 70,
            "received": [[0, 30]],
            "dropped": [given_up(0, 40)],
            "thinned": [given_up(0, 50)],
            "held": [[0, 60]],
        }
    )
    hub["partitions"] = [{"partition": 0, "offset": 9}]
    processors = processors_answer({"stored": [[0, 10]], "quarantined": [[0, 20]]}, offset=3)
    amounts = reconcile(hub, processors).totals
    assert everywhere and amounts == Amounts(
        produced=70, stored=10, quarantined=10, logged=10, dropped=10, thinned=10, held=10, lost=10
    )


def test_what_was_numbered_after_the_account_is_held_not_lost() -> None:
    hub = hub_answer({"produced": 100, "received": [[0, 100], [120, 150]]})
    amounts = reconcile(hub, None).totals
    assert (amounts.produced, amounts.held, amounts.logged, amounts.lost) == (150, 20, 130, 0)


@pytest.mark.parametrize("told", [{"produced": 100}, {"produced": 150, "held": [[100, 150]]}])
def test_what_was_destroyed_on_the_log_is_lost_though_the_devices_last_account_is_older(told: dict[str, Any]) -> None:
    """The device is away: it will never say that it does not hold any more what the hub had."""
    hub = hub_answer({**told, "received": [[0, 120], [130, 150]]}, offset=7)
    behind = reconcile(hub, processors_answer({"stored": [[0, 110]]}, offset=6))
    assert (behind.totals.logged, behind.totals.held, behind.totals.lost) == (30, 10, 0)
    caught_up = reconcile(hub, processors_answer({"stored": [[0, 110]], "parked": [[140, 150]]}, offset=7))
    assert caught_up.accounts[0].lost_ranges == ((110, 120), (130, 140))
    assert (caught_up.totals.logged, caught_up.totals.held, caught_up.verdict) == (10, 10, "not balanced")


def test_a_reading_under_the_number_of_another_unbalances_the_ledger() -> None:
    hub = hub_answer({"produced": 5, "received": [[0, 5]], "conflicts": 3})
    ledger = reconcile(hub, processors_answer({"stored": [[0, 5]]}))
    assert ledger.totals.lost == 0 and ledger.totals.conflicts == 3
    assert not ledger.balanced and ledger.verdict == "not balanced"


def test_the_verdict_is_unknown_when_the_processors_do_not_answer() -> None:
    hub = hub_answer({"produced": 5, "received": [[0, 5]]})
    assert reconcile(hub, None).verdict == "unknown"
    assert reconcile(hub, processors_answer({"stored": [[0, 5]]})).verdict == "balanced"
    lost = hub_answer({"produced": 6, "received": [[0, 5]]})
    assert reconcile(lost, None).verdict == "not balanced", "what the hub never had needs no store to be lost"


def test_without_an_account_what_is_missing_counts_as_held() -> None:
    amounts = reconcile(hub_answer({"received": [[10, 20]]}), None).totals
    assert (amounts.produced, amounts.held, amounts.logged) == (20, 10, 10)


def test_stored_beyond_everything_the_hub_knows_is_produced() -> None:
    ledger = reconcile(hub_answer(), processors_answer({"stored": [[0, 50]]}))
    assert ledger.totals == Amounts(produced=50, stored=50)


def test_devices_and_epochs_are_kept_apart_and_summed() -> None:
    hub = hub_answer({"produced": 5, "held": [[0, 5]]}, {"epoch": 2, "produced": 7, "received": [[0, 7]]})
    processors = processors_answer({"device": "e", "stored": [[0, 3]]})
    ledger = reconcile(hub, processors)
    assert [(line.device, line.epoch, line.amounts.produced) for line in ledger.accounts] == [
        ("d", 1, 5),
        ("d", 2, 7),
        ("e", 1, 3),
    ]
    assert ledger.totals.produced == 15


def test_a_row_that_is_stored_twice_unbalances_the_ledger() -> None:
    ledger = reconcile(hub_answer(), processors_answer({"stored": [[0, 5]], "duplicate_rows": 1}))
    assert ledger.totals.lost == 0 and not ledger.balanced


def test_numbers_sent_again_are_duplicates_and_do_no_harm() -> None:
    ledger = reconcile(hub_answer({"produced": 5, "received": [[0, 5]], "duplicates": 5}), None)
    assert ledger.totals.duplicates == 5 and ledger.balanced


@pytest.mark.parametrize("processors", [None, {"partitions": [], "accounts": [], "undecodable": 0}])
def test_the_empty_ledger_is_balanced(processors: Any) -> None:
    ledger = reconcile({"accounts": []}, processors)
    assert ledger.to_json() == {
        "accounts": [],
        "totals": {
            "produced": 0,
            "stored": 0,
            "thinned": 0,
            "dropped": 0,
            "quarantined": 0,
            "in_flight": {"held": 0, "logged": 0},
            "lost": 0,
            "duplicates": 0,
            "duplicate_rows": 0,
            "conflicts": 0,
        },
        "undecodable": 0,
        "balanced": True,
        "verdict": "unknown" if processors is None else "balanced",
    }


def test_the_json_has_the_lost_ranges() -> None:
    line = reconcile(hub_answer({"produced": 9, "held": [[0, 3]]}), None).to_json()["accounts"][0]
    assert line["device"] == "d" and line["lost"] == 6 and line["lost_ranges"] == [[3, 9]]
