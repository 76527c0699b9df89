"""Alarms and quarantined frames reach their streams exactly once, whatever happens on the way."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

import processors.outbox
from processors.chunk import Outgoing
from processors.outbox import STREAMS, Outbox
from streams.clock import ManualClock
from streams.errors import DiskError
from streams.files import Buffer, DiskFile, DiskFiles, Files
from streams.log import EventLog, LogSettings
from streams.names import ALERTS, QUARANTINE
from tests.edge.disks import Died, FaultyDisk
from tests.processors.damage import flip
from tests.processors.world import ids, published

NOW_MS = 1_790_000_000_000


def opened(directory: Path, files: Files | None = None, settings: LogSettings | None = None) -> EventLog:
    streams = {stream: settings or LogSettings() for stream in STREAMS}
    return EventLog.open(directory, streams, files=files or DiskFiles(), clock=ManualClock(), owner="test")


def some(*numbers: int, stream: str = ALERTS, value: bytes = b"{}", time_ms: int = 0) -> list[Outgoing]:
    return [
        Outgoing(f"{stream} {number}", stream, f"key {number}", value, (("a", b"b"),), time_ms) for number in numbers
    ]


def mixed(count: int) -> list[Outgoing]:
    return [each for at in range(count) for stream in STREAMS for each in some(at, stream=stream)]


def test_records_go_to_their_streams_with_their_id_in_order(tmp_path: Path) -> None:
    log = opened(tmp_path)
    outbox = Outbox(log, ManualClock(time_ns=NOW_MS * 10**6))
    outbox.add(mixed(3))
    outbox.add(some(7, time_ms=55))
    assert not outbox.is_idle()
    assert outbox.take_published() == [], "nothing is forgotten before it is published"
    outbox.publish()
    outbox.publish()
    found = published(log, ALERTS)
    assert ids(found) == ["alerts 0", "alerts 1", "alerts 2", "alerts 7"]
    assert ids(published(log, QUARANTINE)) == ["quarantine 0", "quarantine 1", "quarantine 2"]
    assert [(each.key, each.value, each.timestamp_ms) for each in found[2:]] == [
        (b"key 2", b"{}", NOW_MS),
        (b"key 7", b"{}", 55),
    ]
    assert dict(found[0].headers) == {"a": b"b", "id": b"alerts 0"}
    assert sorted(outbox.take_published()) == sorted([*ids(found), *ids(published(log, QUARANTINE))])
    assert outbox.is_idle()
    log.close()


def after_a_crash(directory: Path, outgoing: Sequence[Outgoing]) -> tuple[Outbox, EventLog]:
    """The next start: the store remembers `outgoing`, the outbox publishes what is missing."""
    log = opened(directory)
    outbox = Outbox(log, ManualClock())
    outbox.recover(outgoing)
    outbox.publish()
    return outbox, log


@pytest.mark.parametrize("power_cut", [False, True], ids=["kill", "power cut"])
def test_a_crash_at_any_step_publishes_nothing_twice_and_loses_nothing(
    tmp_path: Path, power_cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors.outbox, "BATCH_BYTES", 1000)  # several batches for each stream
    outgoing = mixed(9)
    earlier = [*some(100, 101), *some(100, stream=QUARANTINE)]
    steps = 0
    for step in range(1, 200):
        directory, disk = tmp_path / str(step), FaultyDisk()
        log = opened(directory, disk)
        outbox = Outbox(log, ManualClock())
        outbox.add(earlier)
        outbox.publish()
        outbox.add(outgoing)
        disk.dies_at = disk.steps + step
        try:
            outbox.publish()
        except Died:
            if power_cut:
                disk.power_cut(random.Random(step))
        else:
            break
        steps = step
        after, log = after_a_crash(directory, outgoing)
        for stream in STREAMS:
            wanted = [each.id for each in (*earlier, *outgoing) if each.stream == stream]
            assert ids(published(log, stream)) == wanted, f"step {step}"
        assert sorted(after.take_published()) == sorted(each.id for each in outgoing)
        log.close()
    assert steps > 10, "there were steps to die at"


def test_everything_was_published_and_the_store_does_not_know_yet(tmp_path: Path) -> None:
    outgoing = [*some(*range(12_000)), *some(*range(3), stream=QUARANTINE)]
    log = opened(tmp_path)
    outbox = Outbox(log, ManualClock())
    outbox.add(outgoing)
    outbox.publish()
    log.close()
    after, log = after_a_crash(tmp_path, outgoing)
    assert len(published(log, ALERTS)) == 12_000
    assert len(published(log, QUARANTINE)) == 3
    assert len(after.take_published()) == 12_003
    log.close()


class Picky(FaultyDisk):
    """A disk that refuses to write where the path holds a certain word."""

    refuses = ""

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> DiskFile:
        file = super().open(path, write=write, create=create)
        return _PickyFile(file, self) if write else file


class _PickyFile(DiskFile):
    def __init__(self, inner: DiskFile, disk: Picky) -> None:
        super().__init__(inner.path, inner.fileno())
        self._disk = disk

    def append(self, parts: Sequence[Buffer]) -> int:
        if self._disk.refuses and self._disk.refuses in str(self.path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().append(parts)


def test_what_one_stream_took_is_not_published_again_when_another_refuses(tmp_path: Path) -> None:
    disk = Picky()
    log = opened(tmp_path, disk)
    outbox = Outbox(log, ManualClock())
    outbox.add(mixed(2))
    disk.refuses = f"{QUARANTINE}/"
    for _ in range(3):
        with pytest.raises(DiskError, match="No space left"):
            outbox.publish()
    assert outbox.take_published() == ["alerts 0", "alerts 1"]
    assert not outbox.is_idle()
    disk.refuses = ""
    outbox.publish()
    assert outbox.take_published() == ["quarantine 0", "quarantine 1"]
    assert [ids(published(log, stream)) for stream in STREAMS] == [
        ["alerts 0", "alerts 1"],
        ["quarantine 0", "quarantine 1"],
    ]
    log.close()


def test_damage_at_the_end_of_a_stream_does_not_keep_the_processors_from_starting(tmp_path: Path) -> None:
    log = opened(tmp_path)
    outbox = Outbox(log, ManualClock())
    outgoing = [*some(0), *some(1, value=b'{"hit": 1}'), *some(2)]
    for each in outgoing:  # each in a batch of its own
        outbox.add([each])
        outbox.publish()
    log.close()
    flip(tmp_path / ALERTS / "0", b'{"hit": 1}')
    after, log = after_a_crash(tmp_path, outgoing)
    assert sorted(after.take_published()) == [each.id for each in outgoing]
    reader = log.reader(ALERTS)
    assert ids(reader.read(2)) == ["alerts 2", "alerts 1"], "what cannot be read any more is published anew"
    reader.close()
    log.close()


def test_its_streams_are_kept_to_their_size(tmp_path: Path) -> None:
    log = opened(tmp_path, settings=LogSettings(segment_bytes=10_000, retention_bytes=40_000))
    outbox = Outbox(log, ManualClock())
    for at in range(100):
        outbox.add(some(at, stream=QUARANTINE, value=bytes(1000)))
        outbox.publish()
    assert log.size_bytes(QUARANTINE) < 55_000
    reader = log.reader(QUARANTINE)
    assert reader.end == 100
    assert reader.earliest > 40
    reader.close()
    log.close()


def test_it_says_when_nothing_more_should_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors.outbox, "WAITING_BYTES_MAX", 1 << 20)
    disk = FaultyDisk()
    log = opened(tmp_path, disk)
    outbox = Outbox(log, ManualClock())
    disk.full = True
    for at in range(16):
        assert not outbox.is_full()
        outbox.add(some(at, stream=QUARANTINE, value=bytes(1 << 16)))
    assert outbox.is_full()
    with pytest.raises(DiskError):
        outbox.publish()
    assert outbox.is_full()
    disk.full = False
    outbox.publish()
    assert not outbox.is_full()
    assert len(outbox.take_published()) == 16
    log.close()
