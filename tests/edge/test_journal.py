from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.journal import NAMES, Journal, Recovered
from edge.tick import Tick
from streams.files import DiskFiles
from tests.edge.ticks import tick, ticks


def nothing_sealed(epoch: int) -> int:
    return 0


def started(directory: Path) -> Journal:
    journal = Journal(directory, files=DiskFiles())
    journal.start(epoch=7, manifest=9)
    return journal


def recovered(directory: Path, sealed_to: Callable[[int], int] = nothing_sealed) -> Recovered:
    """What the next start finds, after the one before was killed: it never closed anything."""
    return Journal(directory, files=DiskFiles()).recover(sealed_to)


def numbers(found: Recovered) -> list[tuple[int, int]]:
    return [(entry.sequence, entry.stop) for entry in found.entries]


def fill(journal: Journal, count: int, first: int = 0) -> int:
    for at in range(first, first + count):
        journal.append(at * 2, tick(at, 1.5, 2.5))
    return first + count


@settings(deadline=None, max_examples=40)  # it syncs the disk
@given(st.lists(ticks(), max_size=10))
def test_what_was_appended_is_there_after_a_kill(
    tmp_path_factory: pytest.TempPathFactory, given_ticks: list[Tick]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal, at = started(directory), 0
    for each in given_ticks:
        journal.append(at, each)
        at += each.count
    found = recovered(directory)
    assert [repr(entry.tick) for entry in found.entries] == [repr(each) for each in given_ticks]
    assert {(entry.epoch, entry.manifest) for entry in found.entries} <= {(7, 9)}
    assert (found.torn_bytes, found.damage) == (0, [])
    journal.close()


def test_a_first_start_finds_nothing(tmp_path: Path) -> None:
    assert recovered(tmp_path) == Recovered([], 0, [])


def test_killed_between_the_seal_and_the_clearing_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    journal = started(tmp_path)
    fill(journal, 3)
    full = journal.switch()
    fill(journal, 2, first=3)
    assert numbers(recovered(tmp_path)) == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)], "killed before the seal"
    assert numbers(recovered(tmp_path, lambda _: 6)) == [(6, 8), (8, 10)], "killed after the seal"
    journal.clear(full)
    assert numbers(recovered(tmp_path, lambda _: 6)) == [(6, 8), (8, 10)], "killed after the clearing"


def test_the_files_take_turns_and_stay_small(tmp_path: Path) -> None:
    journal, at = started(tmp_path), 0
    for _ in range(20):
        at = fill(journal, 5, first=at)
        journal.clear(journal.switch())
    assert numbers(recovered(tmp_path, lambda _: at * 2)) == []
    assert journal.bytes() < 300


def test_a_torn_tail_is_cut_and_counted(tmp_path: Path) -> None:
    fill(started(tmp_path), 3)
    path = tmp_path / NAMES[0]
    whole = path.read_bytes()
    for lost in range(1, 30):
        path.write_bytes(whole[:-lost])
        found = recovered(tmp_path)
        assert numbers(found) == [(0, 2), (2, 4)]
        assert found.torn_bytes > 0
        assert found.damage == []


def test_damage_before_readings_that_are_intact_is_told_from_a_torn_tail(tmp_path: Path) -> None:
    fill(started(tmp_path), 4)
    path = tmp_path / NAMES[0]
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    found = recovered(tmp_path)
    assert len(found.entries) < 4
    assert "with readings behind the damage" in found.damage[0]


def test_left_overs_of_an_earlier_filling_are_no_damage(tmp_path: Path) -> None:
    """The power went after the file was emptied, before its new end was on disk: old records lie behind new ones."""
    journal = started(tmp_path)
    fill(journal, 4)
    old = (tmp_path / NAMES[0]).read_bytes()
    journal.clear(journal.switch())
    fill(journal, 1, first=4)  # goes to the other file
    journal.clear(journal.switch())
    fill(journal, 1, first=5)
    new = (tmp_path / NAMES[0]).read_bytes()
    (tmp_path / NAMES[0]).write_bytes(new + old[len(new) - 3 :])
    found = recovered(tmp_path, lambda _: 10)
    assert numbers(found) == [(10, 12)]
    assert found.damage == []


@pytest.mark.parametrize("head", [b"", b"\0" * 100, b"something else entirely"])
def test_a_file_without_a_head_is_damage(tmp_path: Path, head: bytes) -> None:
    fill(started(tmp_path), 1)
    (tmp_path / NAMES[0]).write_bytes(head)
    assert "cannot be read" in recovered(tmp_path).damage[0]


@settings(deadline=None, max_examples=60)  # it syncs the disk
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5))
def test_whatever_bytes_are_damaged_no_reading_is_misread(
    tmp_path_factory: pytest.TempPathFactory, hits: list[tuple[int, int]]
) -> None:
    directory = tmp_path_factory.mktemp("journal")
    journal = started(directory)
    fill(journal, 6)
    whole = bytearray((directory / NAMES[0]).read_bytes())
    for at, value in hits:
        whole[at % len(whole)] = value
    (directory / NAMES[0]).write_bytes(whole)
    found = recovered(directory)
    for entry in found.entries:
        assert entry.tick == tick(entry.sequence // 2, 1.5, 2.5)
    if len(found.entries) < 5:
        assert found.damage or found.torn_bytes
    journal.close()


def test_a_new_start_empties_it(tmp_path: Path) -> None:
    fill(started(tmp_path), 3)
    again = Journal(tmp_path, files=DiskFiles())
    again.start(epoch=8, manifest=10)
    again.append(0, tick(1, 1.0))
    (entry,) = recovered(tmp_path).entries
    assert (entry.epoch, entry.manifest, entry.sequence) == (8, 10, 0)
