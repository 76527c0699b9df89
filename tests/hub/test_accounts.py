from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.account import PRODUCED_MAX
from hub.accounts import FRAMES_REMEMBERED, PROBLEM_MS, Accounts
from hub.events import AccountEvent, Event, FrameEvent
from hub.ledger import reconcile
from streams.record import NewRecord
from tests.hub import records
from tests.hub.records import NOW_MS, account, connection, event, header, state


def folded(*events: Any) -> Accounts:
    accounts = Accounts()
    for each in events:
        accounts.fold(each)
    return accounts


def frame(sequence: int, count: int, *, device: str = "press", epoch: int = 7, checksum: int = 0) -> FrameEvent:
    return FrameEvent(device, NOW_MS, header(epoch, sequence, count), checksum)


def born(boot: str, address: str, *, device: str = "press", epoch: int = 7) -> list[Event]:
    """What the log has of an agent that connects from `address`."""
    return [event(connection(device, True, address=address)), event(state(device, boot=boot, epoch=epoch))]


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
            "conflicts": 0,
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


def test_another_frame_under_numbers_that_are_taken_is_a_conflict() -> None:
    accounts = folded(frame(0, 10, checksum=1), frame(10, 10, checksum=2), frame(0, 10, checksum=1))
    assert (accounts.to_json()[0]["duplicates"], accounts.to_json()[0]["conflicts"]) == (10, 0)
    accounts.fold(frame(10, 10, checksum=3))
    assert (accounts.to_json()[0]["duplicates"], accounts.to_json()[0]["conflicts"]) == (10, 10)
    accounts.fold(frame(10, 10, checksum=3))
    assert accounts.to_json()[0]["conflicts"] == 10, "sent again it is no other conflict"
    accounts.fold(frame(2, 5, checksum=4))
    accounts.fold(frame(18, 4, checksum=5))
    assert accounts.to_json()[0]["conflicts"] == 17, "another cut is another frame; of the last two numbers are new"
    assert accounts.frames_and_readings("press") == (3, 22)


def test_a_frame_that_comes_again_after_many_others_is_taken_for_what_it_was() -> None:
    many = [frame(10 * each, 10, checksum=each) for each in range(3 * FRAMES_REMEMBERED)]
    accounts = folded(*many, many[0], many[-1])
    assert (accounts.to_json()[0]["duplicates"], accounts.to_json()[0]["conflicts"]) == (20, 0)
    remembered = len(bytes.fromhex(accounts.snapshot()["books"][0]["recent"])) / 24
    assert FRAMES_REMEMBERED <= remembered <= 2 * FRAMES_REMEMBERED


def test_a_conflict_is_a_problem_for_a_day_that_names_device_and_addresses() -> None:
    accounts = folded(*born("a", "10.0.0.1:5"), frame(0, 10, checksum=1), *born("b", "10.0.0.2:6"))
    assert accounts.problems(NOW_MS) == []
    accounts.fold(frame(0, 10, checksum=2))
    (problem,) = accounts.problems(NOW_MS)
    assert problem.startswith("press: 10 readings came under numbers that other readings have")
    assert "10.0.0.1:5 and 10.0.0.2:6" in problem
    assert accounts.problems(NOW_MS + PROBLEM_MS) == []


def test_an_agent_that_comes_back_after_another_has_spoken_makes_two_at_the_same_time() -> None:
    accounts = folded(*born("a", "10.0.0.1:5"), *born("a", "10.0.0.1:6"), *born("b", "10.0.0.2:7", epoch=8))
    assert not accounts.is_shared("press") and accounts.problems(NOW_MS) == [], "a restart is none"
    for each in born("a", "10.0.0.1:8"):
        accounts.fold(each)
    assert accounts.is_shared("press")
    (problem,) = accounts.problems(NOW_MS)
    assert problem.startswith("press: two agents use this device id at the same time, from 10.0.0.2:7 and 10.0.0.1:8;")
    assert accounts.problems(NOW_MS + PROBLEM_MS) == []


def test_problems_are_bounded() -> None:
    accounts = folded(*[frame(0, 5, device=f"d{at}", checksum=c) for at in range(30) for c in (1, 2)])
    found = accounts.problems(NOW_MS)
    assert len(found) == 21 and found[-1] == "10 more problems of devices"


def test_an_account_that_claims_more_than_a_device_can_number_is_not_believed() -> None:
    accounts = folded(
        event(account("press", 7, 100, held=[[90, 100]])),
        event(account("press", 7, 1 << 53)),
        event(account("press", 7, 100, held=[[0, 1 << 53]])),
    )
    assert accounts.to_json()[0]["produced"] == 100 and accounts.to_json()[0]["held"] == [[90, 100]]
    (problem,) = accounts.problems(NOW_MS)
    assert problem.startswith("press: its account is not believed") and str(PRODUCED_MAX) in problem
    accounts.fold(event(account("press", 7, 101)))
    assert accounts.problems(NOW_MS) == [] and accounts.to_json()[0]["produced"] == 101


def later(epoch: int, produced: int, **more: Any) -> Event:
    """An account that the device made after the others."""
    return event(account("press", epoch, produced, time_ms=NOW_MS + 1000, **more))


def test_an_account_that_cannot_have_been_true_gives_way_to_a_later_one() -> None:
    accounts = folded(frame(0, 10), event(account("press", 7, 1 << 40)), later(7, 10))
    assert accounts.to_json()[0]["produced"] == 10


@pytest.mark.parametrize("time_ms", [None, NOW_MS * 1000])
def test_an_account_that_says_no_time_or_one_to_come_gives_way_too(time_ms: int | None) -> None:
    wrong = event(account("press", 7, 1 << 40, time_ms=NOW_MS))
    assert isinstance(wrong, AccountEvent)
    timed = tuple(dataclasses.replace(each, time_ms=time_ms) for each in wrong.accounts)
    accounts = folded(frame(0, 10), dataclasses.replace(wrong, accounts=timed), later(7, 10))
    assert accounts.to_json()[0]["produced"] == 10


def test_frames_are_told_apart_by_their_bytes() -> None:
    one, other = (NewRecord(b"press", records.frame(7, 0, 10, manifest), NOW_MS) for manifest in (1, 2))
    accounts = folded(event(one), event(one))
    assert accounts.to_json()[0]["conflicts"] == 0
    accounts.fold(event(other))
    assert accounts.to_json()[0]["conflicts"] == 10


def test_what_an_earlier_account_held_is_not_forgotten_for_one_of_a_device_that_was_set_back() -> None:
    accounts = folded(frame(0, 80), event(account("press", 7, 100, held=[[80, 100]])), later(7, 90))
    assert accounts.to_json()[0]["produced"] == 100
    accounts = folded(frame(0, 100), event(account("press", 7, 120)), later(7, 90))
    assert accounts.to_json()[0]["produced"] == 120, (
        "the hub has more than it now says: it is the later one that is wrong"
    )


frames = st.builds(frame, st.integers(0, 50), st.integers(0, 20), epoch=st.integers(1, 2), checksum=st.integers(0, 1))
births = st.builds(lambda boot: event(state("press", boot=boot, epoch=1)), st.sampled_from("abc"))
tellings = st.builds(
    lambda epoch, produced: event(account("press", epoch, produced, held=[[0, produced]])),
    st.integers(1, 2),
    st.integers(0, 99),
)
stories = st.lists(st.one_of(frames, tellings, births), max_size=25)


@given(stories, stories)
def test_restored_accounts_go_on_like_those_that_were_never_stopped(first: list[Any], second: list[Any]) -> None:
    original, restored = folded(*first), Accounts()
    restored.restore(json.loads(json.dumps(original.snapshot())))
    for each in second:
        original.fold(each)
        restored.fold(each)
    assert restored.to_json() == original.to_json()
    assert restored.snapshot() == original.snapshot()
    assert restored.problems(NOW_MS) == original.problems(NOW_MS)


@given(st.lists(frames, max_size=25))
def test_every_number_is_received_once_and_the_rest_are_duplicates_or_conflicts(story: list[FrameEvent]) -> None:
    accounts = folded(*story)
    sent = [(each.header.epoch, each.header.sequence, each.header.count) for each in story]
    numbers = {(epoch, n) for epoch, start, count in sent for n in range(start, start + count)}
    assert accounts.frames_and_readings("press")[1] == len(numbers)
    duplicates = sum(row["duplicates"] + row["conflicts"] for row in accounts.to_json())
    assert duplicates == sum(count for _, _, count in sent) - len(numbers)
