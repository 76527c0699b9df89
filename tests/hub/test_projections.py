"""State is a folded log: with snapshots, without them, or with damaged ones, the same state comes out."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.accounts import Accounts
from hub.commands import Command, Commands, queued_body
from hub.events import JunkEvent, dump
from hub.projections import Place, Projections
from hub.registry import Registry
from streams import names
from streams.files import DiskFiles
from streams.record import NewRecord, Record
from tests.hub.records import NOW_MS, account, at, connection, manifest, result, state


class ListReader:
    """A partition in memory."""

    def __init__(self, records: Sequence[Record], earliest: int = 0) -> None:
        self._records = records
        self.earliest = earliest
        self.end = records[-1].offset + 1 if records else 0

    def read(self, offset: int) -> Sequence[Record]:
        return [record for record in self._records if record.offset >= offset][:2]


def queued(key: str) -> NewRecord:
    return NewRecord(key.encode(), dump(queued_body(Command(key, "press", "go", {}, NOW_MS, NOW_MS + 1))), NOW_MS)


STORY: dict[Place, list[NewRecord]] = {
    (names.DEVICES, 0): [
        connection("press", True),
        manifest("press"),
        state("press", epoch=7, boot="b"),
        account("press", 7, 100, held=[[0, 100]]),
        NewRecord(b"press/state", b"junk", NOW_MS),
        account("press", 7, 120, held=[[100, 120]]),
    ],
    (names.COMMANDS, 0): [
        queued("a"),
        queued("b"),
        result("press", "a", 1, "running"),
        result("press", "a", 2, "failed"),
    ],
}


class World:
    """Projections over the same log at different moments."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.registry, self.accounts, self.commands = Registry(), Accounts(), Commands()
        self.projections = Projections(directory, DiskFiles(), [self.registry, self.accounts, self.commands])

    def state(self) -> Any:
        parts = (self.registry, self.accounts, self.commands)
        return json.loads(json.dumps([part.snapshot() for part in parts]))

    def start(self, upto: int = 99) -> int:
        return self.projections.start(readers(upto))

    def save(self) -> list[str]:
        changed = self.projections.changed()
        self.projections.write(changed)
        return [each.held.projection.name for each in changed]


def readers(upto: int = 99, earliest: int = 0) -> dict[Place, ListReader]:
    return {
        place: ListReader([at(offset, record) for offset, record in enumerate(records[:upto])][earliest:], earliest)
        for place, records in STORY.items()
    }


@pytest.fixture
def folded(tmp_path: Path) -> Any:
    world = World(tmp_path / "elsewhere")
    assert world.start() == 10
    return world.state()


@pytest.mark.parametrize("upto", range(7))
def test_a_snapshot_and_the_rest_of_the_log_are_the_whole_log(tmp_path: Path, folded: Any, upto: int) -> None:
    before = World(tmp_path)
    before.start(upto)
    before.save()
    after = World(tmp_path)
    assert after.start() == 10 - sum(min(upto, len(records)) for records in STORY.values())
    assert after.state() == folded


def test_any_snapshot_may_be_taken_away(tmp_path: Path, folded: Any) -> None:
    before = World(tmp_path)
    before.start()
    assert before.save() == ["registry", "ledger", "commands"]
    for name in ("registry", "ledger", "commands"):
        (tmp_path / f"{name}.json").unlink()
        after = World(tmp_path)
        after.start()
        assert after.state() == folded
        after.save()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 2, "positions": [], "state": {"devices": []}}', b"\xff"],
)
def test_a_damaged_snapshot_is_folded_from_the_log_and_said(
    tmp_path: Path, folded: Any, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    before = World(tmp_path)
    before.start()
    before.save()
    (tmp_path / "registry.json").write_bytes(damage)
    after = World(tmp_path)
    after.start()
    assert after.state() == folded
    assert "registry.json is not used" in caplog.text


def test_a_snapshot_of_a_log_that_is_gone_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = World(tmp_path)
    before.start()
    before.save()
    after = World(tmp_path)
    assert after.start(upto=1) == 2
    assert [device.boot for device in after.registry.all()] == [None]
    assert "records that the log does not have" in caplog.text


def test_only_what_changed_is_saved(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    world.save()
    assert world.save() == []
    world.projections.feed(names.COMMANDS, 0, at(4, queued("c")))
    assert world.save() == ["commands"]


def test_a_snapshot_that_could_not_be_written_is_written_the_next_time(tmp_path: Path) -> None:
    world = World(tmp_path / "blocked")
    (tmp_path / "blocked").write_text("a file in the place of the directory")
    world.start()
    with pytest.raises(OSError, match="blocked"):
        world.save()
    (tmp_path / "blocked").unlink()
    assert len(world.save()) == 3


def test_records_deleted_before_they_were_folded_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = World(tmp_path)
    before.start(upto=1)
    before.save()
    after = World(tmp_path)
    after.projections.start(readers(earliest=3))
    assert "devices/0: records 1 to 3 were deleted" in caplog.text
    assert after.projections.position(names.DEVICES, 0) == 6


def test_a_new_hub_on_an_old_log_with_deleted_records_starts_quietly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    World(tmp_path).projections.start(readers(earliest=3))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_record_that_is_fed_twice_is_folded_once(tmp_path: Path, folded: Any) -> None:
    world = World(tmp_path)
    world.start()
    for (stream, partition), records in STORY.items():
        for offset, record in enumerate(records):
            world.projections.feed(stream, partition, at(offset, record))
    assert world.state() == folded


def test_a_defect_in_one_projection_stops_neither_the_others_nor_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)

    def fail(event: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(world.registry, "fold", fail)
    world.start()
    assert len(world.registry) == 0 and world.accounts.to_json()[0]["produced"] == 120
    assert "registry cannot fold devices/0 0" in caplog.text


def test_a_defect_in_decoding_is_junk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("hub.projections.decode", fail)
    event = World(tmp_path).projections.feed(names.DEVICES, 0, at(0, state("press")))
    assert isinstance(event, JunkEvent) and "a defect" in event.reason
