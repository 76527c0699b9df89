from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.commands import ENDED, Command, Commands, State, queued_body, step_body
from hub.events import dump
from hub.keys import Keys, check_key
from streams.clock import ManualClock
from streams.errors import MisuseError
from streams.record import NewRecord
from tests.hub.records import NOW_MS, event, result


def queued(key: str = "k", device: str = "press", deadline_ms: int = NOW_MS + 60_000) -> Any:
    command = Command(key, device, "identify", {"seconds": 3}, NOW_MS, deadline_ms)
    return event(NewRecord(key.encode(), dump(queued_body(command)), NOW_MS))


def by_hub(state: State, key: str = "k", device: str = "press", error: str | None = None) -> Any:
    command = Command(key, device, "", {}, 0, 0)
    return event(NewRecord(key.encode(), dump(step_body(command, state, NOW_MS + 1, error)), NOW_MS + 1))


def by_device(step: int, state: str, key: str = "k", device: str = "press", **more: Any) -> Any:
    return event(result(device, key, step, state, time_ms=NOW_MS + 10 + step, **more))


def folded(*events: Any) -> Commands:
    commands = Commands()
    for each in events:
        commands.fold(each)
    return commands


def state_after(*events: Any) -> State:
    command = folded(queued(), *events).find("k")
    assert command is not None
    return command.state


def test_a_command_walks_to_its_end_and_tells_its_history() -> None:
    commands = folded(
        queued(),
        by_hub(State.SENT),
        by_device(1, "accepted"),
        by_device(2, "running", progress=0.5),
        by_device(3, "succeeded", result={"ok": True}),
    )
    command = commands.find("k")
    assert command is not None
    assert command.to_json() == {
        "key": "k",
        "device": "press",
        "name": "identify",
        "arguments": {"seconds": 3},
        "state": "succeeded",
        "created_ms": NOW_MS,
        "deadline_ms": NOW_MS + 60_000,
        "ended_ms": NOW_MS + 13,
        "result": {"ok": True},
        "error": None,
        "progress": 0.5,
        "history": [
            {"state": "queued", "time_ms": NOW_MS},
            {"state": "sent", "time_ms": NOW_MS + 1},
            {"state": "accepted", "time_ms": NOW_MS + 11},
            {"state": "running", "time_ms": NOW_MS + 12},
            {"state": "succeeded", "time_ms": NOW_MS + 13},
        ],
    }
    assert commands.open_of("press") == [] and commands.ignored == 0


@pytest.mark.parametrize("end", sorted(ENDED))
def test_an_end_stands_for_good(end: State) -> None:
    ending = by_hub(end) if end is State.CANCELLED else by_device(1, end.value)
    later = [by_device(9, "succeeded"), by_hub(State.CANCELLED), by_hub(State.FAILED), by_device(10, "running")]
    assert state_after(ending, *later) is end


def test_steps_that_are_not_newer_are_ignored() -> None:
    assert state_after(by_device(2, "running"), by_device(1, "accepted"), by_device(2, "failed")) is State.RUNNING


def test_a_device_cannot_lead_a_command_backwards() -> None:
    assert state_after(by_device(1, "running"), by_device(2, "accepted")) is State.RUNNING


def test_progress_does_not_lengthen_the_history() -> None:
    commands = folded(queued(), *(by_device(step, "running", progress=step / 10) for step in range(1, 9)))
    command = commands.find("k")
    assert command is not None and command.progress == 0.8 and len(command.history) == 2


def test_sent_after_accepted_changes_nothing() -> None:
    assert state_after(by_device(1, "accepted"), by_hub(State.SENT)) is State.ACCEPTED


@pytest.mark.parametrize("end", [State.CANCELLED, State.EXPIRED])
def test_the_hub_ends_only_what_no_device_has(end: State) -> None:
    assert state_after(by_hub(end)) is end
    assert state_after(by_hub(State.SENT), by_hub(end)) is State.SENT
    assert state_after(by_device(1, "running"), by_hub(end)) is State.RUNNING


@pytest.mark.parametrize("state", ["queued", "sent", "cancelled", "done", ""])
def test_a_device_may_not_say_what_is_the_hubs_to_say(state: str) -> None:
    assert state_after(by_device(1, state)) is State.QUEUED


def test_a_device_may_not_speak_for_the_hub_or_for_another_device() -> None:
    forged = event(result("press", "k", 0, "cancelled"))
    assert state_after(forged) is State.QUEUED
    assert state_after(by_device(1, "failed", device="other")) is State.QUEUED
    commands = folded(event(result("press", "new", 0, "queued", name="x", deadline_ms=NOW_MS)))
    assert len(commands) == 0 and commands.ignored == 1


def test_asked_twice_is_once() -> None:
    commands = folded(queued(), by_device(1, "succeeded"), queued())
    assert len(commands) == 1 and commands.find("k").state is State.SUCCEEDED  # type: ignore[union-attr]


def test_open_commands_are_listed_oldest_first_and_all_newest_first() -> None:
    commands = folded(queued("a"), queued("b", "other"), queued("c"), queued("d"), by_device(1, "failed", "c"))
    assert [each.key for each in commands.open_of("press")] == ["a", "d"]
    assert commands.open_count("press") == 2 and commands.devices_with_open() == ["press", "other"]
    assert [each.key for each in commands.newest_first()] == ["d", "c", "b", "a"]
    assert [each.key for each in commands.newest_first(device="other")] == ["b"]


def test_only_the_last_ended_commands_are_kept() -> None:
    commands = Commands(kept_max=2)
    for key in "abcd":
        commands.fold(queued(key))
    for key in "abc":
        commands.fold(by_device(1, "succeeded", key))
    assert [each.key for each in commands.newest_first()] == ["d", "c", "b"]


def overdue(commands: Commands, now_ms: int) -> list[tuple[str, State]]:
    return [(command.key, state) for command, state, _ in commands.overdue(now_ms, silence_ms=1000)]


def test_a_command_that_nobody_got_expires_at_its_deadline() -> None:
    commands = folded(queued(deadline_ms=NOW_MS + 5))
    assert overdue(commands, NOW_MS + 4) == []
    assert overdue(commands, NOW_MS + 5) == [("k", State.EXPIRED)]


@pytest.mark.parametrize("step", [by_hub(State.SENT), by_device(1, "accepted"), by_device(1, "running")])
def test_a_device_that_keeps_silent_has_failed_the_command_long_after_the_deadline(step: Any) -> None:
    commands = folded(queued(deadline_ms=NOW_MS + 5), step)
    assert overdue(commands, NOW_MS + 1004) == []
    assert overdue(commands, NOW_MS + 1005) == [("k", State.FAILED)]
    commands.fold(by_hub(State.FAILED, error="silent"))
    assert commands.find("k").error == "silent"  # type: ignore[union-attr]


keys = st.sampled_from(["a", "b", "c"])
devices = st.sampled_from(["press", "other"])
events = st.lists(
    st.one_of(
        st.builds(queued, keys, devices),
        st.builds(by_hub, st.sampled_from([State.SENT, State.CANCELLED, State.EXPIRED, State.FAILED]), keys, devices),
        st.builds(by_device, st.integers(1, 5), st.sampled_from([*State, "junk"]), keys, devices),
    ),
    max_size=40,
)


@given(events)
def test_whatever_comes_ends_stand_steps_grow_and_history_tells_the_state(story: list[Any]) -> None:
    commands = Commands()
    before: dict[str, tuple[State, int]] = {}
    for each in story:
        commands.fold(each)
        for command in commands.newest_first():
            state, step = before.get(command.key, (State.QUEUED, 0))
            assert command.step >= step
            assert state not in ENDED or command.state is state
            assert command.history[-1][0] == command.state
            assert command.ended == (command.ended_ms is not None)
            assert command.ended != (command in commands.open_of(command.device))
            before[command.key] = (command.state, command.step)


@given(events, events)
def test_a_restored_store_goes_on_like_the_one_that_was_never_stopped(first: list[Any], second: list[Any]) -> None:
    original, restored = Commands(kept_max=2), Commands(kept_max=2)
    for each in first:
        original.fold(each)
    restored.restore(original.snapshot())
    for each in second:
        original.fold(each)
        restored.fold(each)
    assert restored.snapshot() == original.snapshot()
    assert {device: restored.open_of(device) for device in ("press", "other")} == {
        device: original.open_of(device) for device in ("press", "other")
    }


def test_keys_grow_also_within_a_millisecond_and_when_the_clock_goes_back() -> None:
    clock = ManualClock()
    keys = Keys(clock, lambda size: b"\x10" * size)
    made = [keys.make(), keys.make()]
    clock.advance(0.001)
    made.append(keys.make())
    clock.set_time_ns(clock.time_ns() - 10**12)
    made.append(keys.make())
    assert made == sorted(made) and len(set(made)) == 4
    assert all(len(key) == 26 and check_key(key) for key in made)


def test_a_key_shows_its_time_as_ulid_says() -> None:
    clock = ManualClock(time_ns=1_469_918_176_385 * 1_000_000)
    assert Keys(clock, lambda size: bytes(size)).make() == "01ARYZ6S41" + "0" * 16


@pytest.mark.parametrize("key", ["", "a b", "x" * 65, "ä", "a/b", "k\n"])
def test_a_bad_key_is_refused(key: str) -> None:
    with pytest.raises(MisuseError, match="cannot be the key"):
        check_key(key)
