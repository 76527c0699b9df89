from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inbox import FILE_NAME, Inbox
from edge.inbox_entry import InboxEntry, parse_command
from streams.clock import ManualClock
from streams.errors import JunkError
from streams.files import DiskFiles

CLOCK = ManualClock()
NOW_MS = CLOCK.time_ns() // 1_000_000


def payload(key: str = "k1", **changed: Any) -> bytes:
    command = {"key": key, "name": "identify", "arguments": {}, "deadline_ms": NOW_MS + 60_000, "created_ms": NOW_MS}
    return json.dumps({**command, **changed}).encode()


def opened(directory: Path, *, kept_max: int = 10, clock: ManualClock = CLOCK) -> tuple[Inbox, list[InboxEntry]]:
    inbox = Inbox(directory, files=DiskFiles(), clock=clock, kept_max=kept_max)
    return inbox, inbox.open()


def test_steps_count_up_from_one(tmp_path: Path) -> None:
    inbox, _ = opened(tmp_path)
    entry = inbox.accept(payload(), "accepted")
    steps = [entry.last, inbox.step(entry, "running"), inbox.step(entry, "succeeded", result={"a": 1})]
    assert steps == [
        {"key": "k1", "step": 1, "state": "accepted", "time_ms": NOW_MS},
        {"key": "k1", "step": 2, "state": "running", "time_ms": NOW_MS},
        {"key": "k1", "step": 3, "state": "succeeded", "time_ms": NOW_MS, "result": {"a": 1}},
    ]


@pytest.mark.parametrize("state", ["accepted", "running", "succeeded"])
def test_killed_in_any_state_the_next_start_knows_it(tmp_path: Path, state: str) -> None:
    inbox, _ = opened(tmp_path)
    entry = inbox.accept(payload(arguments={"x": [1]}), "accepted")
    for step in ["running", "succeeded"][: ["accepted", "running", "succeeded"].index(state)]:
        inbox.step(entry, step)
    again, unended = opened(tmp_path)  # the first was killed: it never closed
    seen = again.get("k1")
    assert seen is not None
    assert (seen.state, seen.last, seen.arguments) == (state, entry.last, {"x": [1]})
    assert unended == ([] if state == "succeeded" else [seen])


def test_a_torn_record_is_cut_and_the_inbox_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inbox, _ = opened(tmp_path)
    entry = inbox.accept(payload(), "accepted")
    inbox.step(entry, "running")
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-5])
    again, (seen,) = opened(tmp_path)
    assert seen.state == "accepted"
    assert "they are cut" in caplog.text
    again.step(seen, "running")
    _, (last,) = opened(tmp_path)
    assert last.state == "running"


def test_damage_in_the_middle_loses_that_record_alone(tmp_path: Path) -> None:
    inbox, _ = opened(tmp_path)
    for key in ("k1", "k2", "k3"):
        inbox.accept(payload(key), "accepted")
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[data.index(b"k2")] ^= 1
    path.write_bytes(data)
    again, unended = opened(tmp_path)
    assert [entry.key for entry in unended] == ["k1", "k3"]
    again.accept(payload("k4"), "accepted")
    assert [entry.key for entry in opened(tmp_path)[1]] == ["k1", "k3", "k4"]


def test_old_ended_commands_are_forgotten_beyond_the_bound_but_not_before_their_deadline(tmp_path: Path) -> None:
    clock = ManualClock()
    inbox, _ = opened(tmp_path, kept_max=10, clock=clock)
    for number in range(20):
        inbox.accept(payload(f"k{number}"), "rejected", error="x")
    assert inbox.get("k0") is not None, "it could still come again and be run"
    clock.advance(61)
    inbox.accept(payload("last", deadline_ms=NOW_MS + 10**9), "rejected", error="x")
    assert [inbox.get(f"k{number}") is None for number in range(20)] == [True] * 11 + [False] * 9


def test_a_flood_of_commands_is_bounded_even_before_their_deadlines(tmp_path: Path) -> None:
    inbox, _ = opened(tmp_path, kept_max=10)
    for number in range(100):
        inbox.accept(payload(f"k{number}"), "rejected", error="x")
    assert sum(inbox.get(f"k{number}") is not None for number in range(100)) <= 40


def test_the_file_is_written_anew_when_most_of_it_is_old(tmp_path: Path) -> None:
    clock = ManualClock()
    inbox, _ = opened(tmp_path, kept_max=10, clock=clock)
    for number in range(300):
        clock.advance(100)
        deadline_ms = clock.time_ns() // 1_000_000 + 1000
        entry = inbox.accept(payload(f"k{number}", deadline_ms=deadline_ms), "accepted")
        inbox.step(entry, "succeeded", result={"text": "x" * 1500})
    assert (tmp_path / FILE_NAME).stat().st_size < 300_000
    again, _ = opened(tmp_path, kept_max=10, clock=clock)
    assert again.get("k299") is not None
    assert again.get("k299").last["state"] == "succeeded"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"key": ""}, "key must be text"),
        ({"key": 5}, "key must be text"),
        ({"key": "k" * 200}, "key must be text"),
        ({"name": None}, "command k1: name must be text"),
        ({"arguments": []}, "command k1: arguments must be an object"),
        ({"deadline_ms": "soon"}, "command k1: deadline_ms must be a whole number"),
        ({"deadline_ms": True}, "command k1: deadline_ms must be a whole number"),
    ],
)
def test_a_command_that_is_not_as_the_protocol_says_is_junk_with_a_reason(changed: Any, sentence: str) -> None:
    with pytest.raises(JunkError, match=sentence):
        parse_command(payload(**changed))


@given(
    st.one_of(
        st.binary(max_size=100), st.recursive(st.none() | st.integers(), st.lists).map(lambda x: json.dumps(x).encode())
    )
)
def test_any_bytes_are_a_command_or_junk_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(JunkError):
        assert parse_command(data).key


def test_unknown_keys_of_a_command_are_ignored() -> None:
    assert parse_command(payload(priority=7)).key == "k1"
