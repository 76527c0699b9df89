from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.accounts import Accounts
from hub.events import FrameEvent
from hub.ledger import reconcile
from tests.hub.records import NOW_MS, account, event, header


def folded(*events: Any) -> Accounts:
    accounts = Accounts()
    for each in events:
        accounts.fold(each)
    return accounts


def frame(sequence: int, count: int, *, device: str = "press", epoch: int = 7) -> FrameEvent:
    return FrameEvent(device, NOW_MS, header(epoch, sequence, count))


def test_an_account_row_is_as_the_control_api_promises() -> None:
    told = account(
        "press",
        7,
        100,
        held=[[90, 100]],
        dropped=[{"start": 1, "stop": 2, "reason": "disk full"}],
        thinned=[{"start": 3, "stop": 4}],
    )
    accounts = folded(frame(0, 10), frame(20, 5), event(told))
    assert accounts.to_json() == [
        {
            "device": "press",
            "epoch": 7,
            "produced": 100,
            "held": [[90, 100]],
            "dropped": [{"start": 1, "stop": 2, "reason": "disk full"}],
            "thinned": [{"start": 3, "stop": 4, "reason": None}],
            "account_time_ms": NOW_MS,
            "received": [[0, 10], [20, 25]],
            "duplicates": 0,
        }
    ]


def test_a_frame_that_comes_again_is_counted_as_duplicates_only() -> None:
    accounts = folded(frame(0, 10), frame(0, 10), frame(10, 5))
    assert accounts.to_json()[0]["duplicates"] == 10
    assert accounts.frames_and_readings("press") == (2, 15)


def test_epochs_are_kept_apart_and_earlier_ones_are_accounted_for_too() -> None:
    told = account("press", 8, 5, earlier=[{"epoch": 7, "produced": 30, "held": [[20, 30]]}])
    accounts = folded(frame(0, 20), frame(0, 5, epoch=8), event(told))
    assert [(row["epoch"], row["produced"], row["held"]) for row in accounts.to_json()] == [
        (7, 30, [[20, 30]]),
        (8, 5, []),
    ]
    assert accounts.frames_and_readings("press") == (2, 25)
    assert reconcile({"accounts": accounts.to_json()}, None).totals.held == 10


def test_what_a_device_held_in_an_epoch_that_it_no_longer_speaks_of_is_lost() -> None:
    accounts = folded(
        event(account("press", 7, 100, held=[[80, 100]])),
        frame(0, 80),
        frame(90, 5),
        frame(105, 5),
    )
    before = reconcile({"accounts": accounts.to_json()}, None)
    assert before.balanced and before.totals.held == 20
    accounts.fold(event(account("press", 8, 0)))
    after = reconcile({"accounts": accounts.to_json()}, None)
    assert after.accounts[0].lost_ranges == ((80, 90), (95, 105))


def test_an_earlier_epoch_is_open_as_long_as_it_is_listed() -> None:
    earlier = [{"epoch": 7, "produced": 100, "held": [[80, 100]]}]
    accounts = folded(
        event(account("press", 7, 100, held=[[80, 100]])),
        frame(0, 80),
        event(account("press", 8, 0, earlier=earlier)),
    )
    assert reconcile({"accounts": accounts.to_json()}, None).totals.held == 20
    accounts.fold(event(account("press", 8, 5, held=[[0, 5]])))
    assert reconcile({"accounts": accounts.to_json()}, None).totals.lost == 20
    accounts.fold(event(account("press", 8, 5, held=[[0, 5]], earlier=earlier)))
    assert reconcile({"accounts": accounts.to_json()}, None).totals.lost == 0


def test_an_older_account_that_comes_late_changes_nothing() -> None:
    accounts = folded(
        event(account("press", 7, 100, held=[])),
        event(account("press", 7, 50, held=[[0, 50]])),
    )
    assert accounts.to_json()[0]["produced"] == 100 and accounts.to_json()[0]["held"] == []


def test_of_two_accounts_of_the_same_amount_the_later_stands() -> None:
    accounts = folded(
        event(account("press", 7, 100, held=[[0, 100]])),
        event(account("press", 7, 100, held=[])),
    )
    assert accounts.to_json()[0]["held"] == []


def test_a_device_that_was_never_heard_has_nothing() -> None:
    assert Accounts().frames_and_readings("press") == (0, 0) and Accounts().to_json() == []


frames = st.builds(frame, st.integers(0, 50), st.integers(0, 20), epoch=st.integers(1, 2))
tellings = st.builds(
    lambda epoch, produced: event(account("press", epoch, produced, held=[[0, produced]])),
    st.integers(1, 2),
    st.integers(0, 99),
)
stories = st.lists(st.one_of(frames, tellings), max_size=25)


@given(stories, stories)
def test_restored_accounts_go_on_like_those_that_were_never_stopped(first: list[Any], second: list[Any]) -> None:
    original, restored = folded(*first), Accounts()
    restored.restore(json.loads(json.dumps(original.snapshot())))
    for each in second:
        original.fold(each)
        restored.fold(each)
    assert restored.to_json() == original.to_json()
    assert restored.snapshot() == original.snapshot()


@given(st.lists(frames, max_size=25))
def test_every_number_is_received_once_and_the_rest_are_duplicates(story: list[FrameEvent]) -> None:
    accounts = folded(*story)
    sent = [(each.header.epoch, each.header.sequence, each.header.count) for each in story]
    numbers = {(epoch, n) for epoch, start, count in sent for n in range(start, start + count)}
    assert accounts.frames_and_readings("press")[1] == len(numbers)
    duplicates = sum(row["duplicates"] for row in accounts.to_json())
    assert duplicates == sum(count for _, _, count in sent) - len(numbers)
