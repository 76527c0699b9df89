"""Numbering, journal and sealing together, on disks that fail."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edge.account import EpochBook
from edge.manifest import Manifest, make_manifest
from edge.recorder import DISK_FULL, NOT_A_FRAME, Recorder
from edge.sensors.sensor import Series
from edge.settings import EdgeSettings
from edge.storage import Storage, open_storage
from edge.tick import Tick
from streams.clock import ManualClock
from streams.files import DiskFiles
from streams.frames import ClockQuality, decode
from tests.edge.disks import Died, FaultyDisk
from tests.edge.ticks import tick

SECOND = 1_000_000_000
SERIES = [(0, Series(name="count", type="int64")), (1, Series(name="level", type="float64"))]
MANIFEST: Manifest = make_manifest(SERIES, model="m", agent="a", labels={})


class Bench:
    """A recorder on a clock and a disk in the test's hands. Values of series 0 count up, whatever happens."""

    def __init__(self, directory: Path, disk: Any = None, **changed: Any) -> None:
        self.directory, self.disk = directory, disk or DiskFiles()
        self.settings = EdgeSettings(device="d", **changed)
        self.clock = ManualClock()
        self.next_value = 0
        self.storage: Storage | None = None
        self.recorder = self._recorder()

    def _recorder(self) -> Recorder:
        return Recorder(self.settings, clock=self.clock, executor=None, clock_quality=lambda: ClockQuality.SYNCHRONISED)

    def open(self) -> Storage:
        """Start, or start again after a kill."""
        self.recorder = self._recorder()
        self.storage = open_storage(self.settings, self.directory, MANIFEST, files=self.disk, clock=self.clock)
        self.recorder.start(self.storage)
        return self.storage

    def record(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock.advance(0.01)
            self.recorder.record(tick(self.clock.time_ns(), self.next_value, self.next_value / 2))
            self.next_value += 1

    def kill(self) -> None:
        if self.storage is not None:
            self.storage.journal.close()
            self.storage.spool.close()
        self.storage = None


def counts(storage: Storage) -> list[int]:
    """Values of series 0 in the spool, in order."""
    spool = storage.spool
    return [
        value
        for frame in spool.read(spool.oldest, 10_000)
        for block in decode(frame.payload).blocks
        for column in block.columns
        if column.series == 0
        for value in column.values
    ]


def held(storage: Storage) -> list[tuple[int, int]]:
    return storage.spool.books.get(storage.identity.epoch, EpochBook()).held.spans()


async def test_readings_are_numbered_as_they_come_and_sealed_in_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    storage = bench.open()
    bench.record(5)
    assert bench.recorder.produced == 10
    assert counts(storage) == []
    await bench.recorder.seal_all()
    bench.record(5)
    await bench.recorder.seal_all()
    assert counts(storage) == list(range(10))
    assert held(storage) == [(0, 20)]
    bench.kill()


async def test_a_frame_is_sealed_when_it_is_full_or_old(tmp_path: Path) -> None:
    bench = Bench(tmp_path, frame_readings_max=10, frame_age_s=3600.0, commit_interval_s=60.0)
    storage = bench.open()
    sealed = asyncio.Event()
    bench.recorder.on_sealed = sealed.set
    stop = asyncio.Event()
    running = asyncio.create_task(bench.recorder.run(stop))
    bench.record(10)
    await asyncio.wait_for(sealed.wait(), 5)
    assert counts(storage) == list(range(10))
    bench.record(3)
    stop.set()
    await running
    assert counts(storage) == list(range(13)), "what is left is sealed at the end"
    bench.kill()


async def test_killed_before_the_seal_the_journal_has_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.open()
    bench.record(7)
    bench.kill()
    storage = bench.open()
    assert counts(storage) == list(range(7))
    assert bench.recorder.produced == 14
    bench.record(1)
    await bench.recorder.seal_all()
    assert counts(storage) == list(range(8))
    bench.kill()


async def test_what_waited_for_the_disk_to_open_comes_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.record(3)
    waiting = bench.recorder
    storage = open_storage(bench.settings, tmp_path, MANIFEST, files=DiskFiles(), clock=bench.clock)
    waiting.start(storage)
    bench.record(2)
    await waiting.seal_all()
    assert counts(storage) == [0, 1, 2, 3, 4]
    storage.close()


async def test_while_the_disk_is_full_readings_wait_and_go_on_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FaultyDisk()
    bench = Bench(tmp_path, disk)
    storage = bench.open()
    bench.record(3)
    disk.full = True
    bench.record(4)
    await bench.recorder.seal_all()
    assert bench.recorder.waiting_readings == 8
    assert bench.recorder.disk_error is not None
    disk.full = False
    bench.record(2)
    await bench.recorder.seal_all()
    await bench.recorder.seal_all()
    assert counts(storage) == list(range(9))
    assert held(storage) == [(0, 18)]
    assert bench.recorder.disk_error is None
    assert caplog.text.count("the disk does not take readings") == 1
    assert "the disk takes readings again" in caplog.text
    bench.kill()


async def test_half_a_record_of_a_full_disk_does_not_hide_what_is_written_after_it(tmp_path: Path) -> None:
    disk = FaultyDisk()
    bench = Bench(tmp_path, disk)
    bench.open()
    bench.record(3)
    disk.full = True
    bench.record(1)
    disk.full = False
    bench.record(4)
    bench.kill()
    assert counts(bench.open()) == list(range(8))
    bench.kill()


async def test_when_memory_is_full_too_the_oldest_are_dropped_numbered_and_declared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FaultyDisk()
    bench = Bench(tmp_path, disk, memory_readings_max=100)
    storage = bench.open()
    bench.record(5)
    disk.full = True
    bench.record(200)
    assert bench.recorder.waiting_readings == 100
    assert bench.recorder.given_up == 300
    assert caplog.text.count("the oldest are dropped from now on") == 1
    disk.full = False
    for _ in range(3):
        await bench.recorder.seal_all()
    bench.record(1)
    await bench.recorder.seal_all()
    assert counts(storage) == [*range(5), *range(155, 206)]
    told = storage.spool.account(epoch=storage.identity.epoch, produced=bench.recorder.produced, time_ms=0)
    assert told["dropped"] == [{"start": 10, "stop": 310, "reason": DISK_FULL}]
    assert told["held"] == [[0, 10], [310, 412]]
    assert told["produced"] == 412
    bench.kill()


async def test_a_disk_that_fails_while_a_frame_is_sealed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    disk = FaultyDisk()
    bench = Bench(tmp_path, disk)
    storage = bench.open()
    bench.record(5)
    for _ in range(3):
        disk.full = True
        await bench.recorder.seal_all()
        disk.full = False
        bench.record(2)
    for _ in range(3):
        await bench.recorder.seal_all()
    assert counts(storage) == list(range(11))
    assert held(storage) == [(0, 22)]
    bench.kill()
    assert counts(bench.open()) == list(range(11))
    bench.kill()


async def test_readings_that_no_frame_can_hold_are_dropped_by_name_and_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path)
    storage = bench.open()
    bench.recorder.record(Tick(bench.clock.time_ns(), (0,), ("no number",), (0,)))
    await bench.recorder.seal_all()
    bench.record(1)
    await bench.recorder.seal_all()
    assert counts(storage) == [0]
    told = storage.spool.account(epoch=storage.identity.epoch, produced=3, time_ms=0)
    assert told["dropped"] == [{"start": 0, "stop": 1, "reason": NOT_A_FRAME}]
    assert "are dropped" in caplog.text
    bench.kill()


async def test_only_what_is_synced_is_told_as_produced(tmp_path: Path) -> None:
    disk = FaultyDisk()
    bench = Bench(tmp_path, disk)
    bench.open()
    bench.record(3)
    produced = await bench.recorder.sync()
    assert produced == 6
    bench.record(3)
    disk.power_cut(random.Random(1))
    bench.kill()
    storage = bench.open()
    assert storage.spool.sealed_to(storage.identity.epoch) >= produced
    bench.kill()


async def run_until_it_dies(bench: Bench) -> int:
    """A little life: start, record, seal, start again; returns how many ticks were certainly numbered."""
    numbered = 0
    try:
        bench.open()
        for _ in range(4):
            for _ in range(3):
                bench.record(1)
                assert bench.recorder.disk_error is None
                numbered = bench.next_value
            await bench.recorder.seal_all()
            assert bench.storage is not None
            bench.storage.spool.save()
    except Died:
        pass
    return numbered


async def test_killed_at_every_step_of_the_disk_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    whole = FaultyDisk()
    bench = Bench(tmp_path / "whole", whole)
    await run_until_it_dies(bench)
    bench.kill()
    assert whole.steps > 30
    for step in range(1, whole.steps + 1):
        disk = FaultyDisk()
        disk.dies_at = step
        bench = Bench(tmp_path / str(step), disk)
        numbered = await run_until_it_dies(bench)
        disk.dies_at = None
        bench.kill()
        storage = bench.open()
        found = counts(storage)
        assert found == list(range(len(found))), f"killed at step {step}"
        assert numbered <= len(found) <= numbered + 1, f"killed at step {step}"
        assert held(storage) == ([(0, 2 * len(found))] if found else []), f"killed at step {step}"
        bench.record(1)
        await bench.recorder.seal_all()
        assert len(counts(storage)) == len(found) + 1
        bench.kill()


@hypothesis_settings(deadline=None, max_examples=25)  # it syncs the disk
@given(st.integers(0, 2**32), st.lists(st.sampled_from(["record", "record", "sync", "seal", "cut"]), max_size=20))
def test_a_power_cut_takes_nothing_that_was_told_and_no_number_twice(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: list[str]
) -> None:
    """What was told to the hub as produced is there afterwards, with the same value under the same number."""
    asyncio.run(_power_cuts(tmp_path_factory.mktemp("power"), random.Random(seed), steps))


async def _power_cuts(directory: Path, dice: random.Random, steps: list[str]) -> None:
    disk = FaultyDisk()
    bench = Bench(directory, disk)
    bench.open()
    told = 0
    sealed: dict[int, int] = {}
    for step in steps:
        assert bench.storage is not None
        if step == "record":
            bench.record(2)
        elif step == "sync":
            told = max(told, await bench.recorder.sync())
        elif step == "seal":
            await bench.recorder.seal_all()
        else:
            before = bench.storage.identity.epoch
            bench.kill()
            disk.power_cut(dice)
            storage = bench.open()
            assert storage.identity.epoch == before
            assert storage.spool.sealed_to(before) >= told
        _same_as_before(bench, sealed)
    bench.kill()


def _same_as_before(bench: Bench, sealed: dict[int, int]) -> None:
    """Each frame's first number has had one first value for ever."""
    assert bench.storage is not None
    spool = bench.storage.spool
    for frame in spool.read(spool.oldest, 10_000):
        value = decode(frame.payload).blocks[0].columns[0].values[0]
        assert sealed.setdefault(frame.first, value) == value
    stop = spool.sealed_to(bench.storage.identity.epoch)
    assert held(bench.storage) == ([(0, stop)] if stop else [])


async def test_a_new_epoch_takes_what_this_start_numbered_and_leaves_what_earlier_ones_did(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.open()
    bench.record(5)
    bench.kill()
    storage = bench.open()
    old = storage.identity.epoch
    bench.record(3)
    await bench.recorder.seal_all()
    bench.record(2)
    await bench.recorder.begin_epoch(old + (1 << 30))
    new = storage.identity.epoch
    assert new > old + (1 << 30)
    assert (bench.recorder.produced, held(storage)) == (10, [(0, 10)])
    bench.record(1)
    await bench.recorder.seal_all()
    numbered = [(frame.epoch, frame.first, frame.stop) for frame in storage.spool.read(0, 100)]
    assert numbered == [(old, 0, 10), (new, 0, 6), (new, 6, 10), (new, 10, 12)]
    assert counts(storage) == list(range(11)), "nothing is lost, nothing comes twice"
    bench.kill()
    assert bench.open().identity.epoch == new
    assert bench.recorder.produced == 12
    bench.kill()


async def test_while_the_disk_does_not_take_a_new_epoch_nothing_is_numbered_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.recorder._RETRY_S", 0.001)
    disk = FaultyDisk()
    bench = Bench(tmp_path, disk)
    storage = bench.open()
    old = storage.identity.epoch
    bench.record(2)
    disk.full = True
    beginning = asyncio.create_task(bench.recorder.begin_epoch(old))
    while bench.recorder.disk_error is None:
        await asyncio.sleep(0)
    bench.record(3)
    assert (storage.identity.epoch, bench.recorder.waiting_readings) == (old, 6)
    disk.full = False
    await beginning
    assert storage.identity.epoch > old and bench.recorder.waiting_readings == 0
    await bench.recorder.seal_all()
    assert counts(storage) == list(range(5)) and held(storage) == [(0, 10)]
    bench.kill()


@pytest.mark.parametrize("after_steps", range(1, 14))
async def test_killed_while_a_new_epoch_begins_no_reading_is_lost(tmp_path: Path, after_steps: int) -> None:
    disk = FaultyDisk()
    bench = Bench(tmp_path, disk)
    bench.open()
    bench.record(4)
    await bench.recorder.seal_all()
    assert bench.storage is not None
    disk.dies_at = disk.steps + after_steps
    with contextlib.suppress(Died):
        await bench.recorder.begin_epoch(bench.storage.identity.epoch)
    disk.dies_at = None
    bench.kill()
    storage = bench.open()
    assert sorted(set(counts(storage))) == list(range(4))
    bench.kill()
