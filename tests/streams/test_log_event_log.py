"""Group commit: what shares a round, what is told and when, what fails alone, and how much may wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from streams.clock import ManualClock, SystemClock
from streams.errors import DiskError, MisuseError, TryLaterError
from streams.files import DiskFiles
from streams.log import Appended, EventLog, LogSettings
from streams.log.appends import BATCH_BYTES
from streams.log.batch import BATCH_BYTES_MAX
from streams.log.partitioner import partition_of
from streams.record import NewRecord
from tests.simulation.disk import Mount
from tests.streams.log_parts import NOW_MS, STREAM, Fates, memory, number_of, offsets, read_all, record

ROOT = Path("/log")


def opened(
    mount: Mount, tell: Callable[[Sequence[Appended]], None] | None = None, *, streams: Any = None, **settings: Any
) -> EventLog:
    wanted = streams or {STREAM: LogSettings(**settings)}
    return EventLog.open(ROOT, wanted, files=mount, clock=ManualClock(), on_commit=tell, threaded=False)


def on_disk(directory: Path, tell: Any = None, owner: str = "penstock", **settings: Any) -> EventLog:
    streams = {STREAM: LogSettings(**settings)}
    return EventLog.open(directory, streams, files=DiskFiles(), clock=SystemClock(), on_commit=tell, owner=owner)


def batches(log: EventLog) -> list[int]:
    """How many records each batch of the log holds."""
    return [found.header.records for found in log.reader(STREAM).read_batches(0, bytes_max=1 << 30)]


# -- rounds ------------------------------------------------------------------------------------------------------------


def test_nothing_is_told_or_shown_before_the_round() -> None:
    fates = Fates()
    log = opened(memory(), fates)
    log.append(STREAM, [record(0), record(1)], "a")
    log.append(STREAM, [record(2)], "b")
    assert (fates.all, log.end_offset(STREAM)) == ([], 0)
    assert log.pending_bytes > 0
    assert log.commit() == 2
    assert fates.all == [Appended("a", STREAM, 0, 0, 2, None), Appended("b", STREAM, 0, 2, 1, None)]
    assert (log.end_offset(STREAM), log.pending_bytes, log.commit()) == (3, 0, 0)
    assert [number_of(each) for each in log.reader(STREAM).read(0)] == [0, 1, 2]


def test_a_round_syncs_each_partition_once_however_much_is_in_it() -> None:
    mount = memory()
    log = opened(mount, partitions=2)
    synced: list[str] = []
    real = mount.disk.sync
    mount.disk.sync = lambda path, inode: (synced.append(str(path)), real(path, inode))[1]  # type: ignore[method-assign]
    for number in range(100):
        log.append(STREAM, [record(number)])
    log.commit()
    assert sorted(synced) == [f"/log/{STREAM}/{number}/{0:020d}.log" for number in range(2)]


def test_what_came_together_shares_batches_of_a_bounded_size() -> None:
    log = opened(memory())
    for number in range(1000):
        log.append(STREAM, [record(number, size=200)])
    log.commit()
    counts = batches(log)
    assert sum(counts) == 1000
    assert 3 < len(counts) < 8
    sizes = [found.header.size for found in log.reader(STREAM).read_batches(0, bytes_max=1 << 30)]
    assert max(sizes) <= BATCH_BYTES + 100
    assert offsets(read_all(log.reader(STREAM))[0]) == list(range(1000))


def test_an_append_is_never_cut_in_two() -> None:
    """A power cut takes all of it or nothing."""
    log = opened(memory())
    for first in range(0, 60, 20):
        log.append(STREAM, [record(number, size=2000) for number in range(first, first + 20)])
    log.append(STREAM, [record(60, size=500_000)])
    log.append(STREAM, [record(61)])
    log.commit()
    assert batches(log) == [20, 20, 20, 1, 1]


def test_records_go_to_the_partition_of_their_key_and_are_told_for_each() -> None:
    fates = Fates()
    log = opened(memory(), fates, partitions=4)
    records = [record(number) for number in range(40)]
    log.append(STREAM, records, "token")
    log.commit()
    assert {fate.token for fate in fates.all} == {"token"}
    assert sum(fate.count for fate in fates.all) == 40
    for number in range(4):
        expected = [each.value for each in records if partition_of(each.key, 4) == number]
        assert [each.value for each in read_all(log.reader(STREAM, number))[0]] == expected


def test_durable_when_it_returns() -> None:
    mount = memory()
    log = opened(mount)
    assert log.append_durable(STREAM, [record(0), record(1)]) == 0
    assert log.append_durable(STREAM, [record(2)]) == 2
    mount.disk.lose_power()
    again = opened(mount.disk.mount(lambda: None))
    assert [number_of(each) for each in again.reader(STREAM).read(0)] == [0, 1, 2]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_failed_sync_fails_the_round_and_is_said_until_it_is_well_again() -> None:
    mount, fates = memory(), Fates()
    log = opened(mount, fates)
    log.append_durable(STREAM, [record(0)])
    assert log.health() == []
    mount.disk.failing_syncs = 1
    log.append(STREAM, [record(1)], "lost")
    log.append(STREAM, [record(2)], "lost too")
    log.commit()
    assert [(fate.token, fate.offset) for fate in fates.all] == [("lost", -1), ("lost too", -1)]
    assert all(isinstance(fate.error, DiskError) for fate in fates.all)
    (problem,) = log.health()
    assert "cannot sync" in problem and "not acknowledged" in problem
    mount.disk.failing_syncs = 2
    with pytest.raises(DiskError, match="cannot be repaired"):
        log.append_durable(STREAM, [record(3)])
    assert log.end_offset(STREAM) == 1
    mount.disk.failing_syncs = 0
    assert log.append_durable(STREAM, [record(4)]) == 1
    assert log.health() == []
    assert [number_of(each) for each in read_all(log.reader(STREAM))[0]] == [0, 4]


def test_a_full_disk_is_said_and_passes() -> None:
    mount, fates = memory(), Fates()
    log = opened(mount, fates)
    mount.disk.free_bytes = 1000
    log.append(STREAM, [record(0, size=2000)], "too large")
    log.commit()
    log.append(STREAM, [record(1)], "fits")
    log.commit()
    assert [fate.offset for fate in fates.all] == [-1, 0]
    assert "make room" in fates.errors[0]


def test_a_partition_that_fails_leaves_the_others_alone() -> None:
    mount, fates = memory(), Fates()
    log = opened(mount, fates, streams={"a": LogSettings(), "b": LogSettings()})
    mount.disk.failing_syncs = 1
    log.append("a", [record(0)])
    log.append("b", [record(1)])
    log.commit()
    assert [(fate.stream, fate.offset) for fate in fates.all] == [("a", -1), ("b", 0)]


def test_too_much_that_waits_is_refused_and_does_not_grow() -> None:
    log = opened(memory(), pending_bytes_max=1 << 16)
    accepted = 0
    with pytest.raises(TryLaterError, match=r"bytes wait for the disk of /log; the limit is 65536"):
        for number in range(1000):
            log.append(STREAM, [record(number, size=1000)])
            accepted += 1
    assert 50 < accepted < 66
    assert log.pending_bytes <= 1 << 16
    log.commit()
    log.append(STREAM, [record(0, size=100_000)])  # one alone may be larger
    log.commit()
    assert log.end_offset(STREAM) == accepted + 1


def test_misuse_is_said_to_who_did_it_and_nobody_else_suffers() -> None:
    log = opened(memory())
    log.append(STREAM, [record(0)])
    for wrong, words in [
        ([], "at least one record"),
        ([NewRecord(None, "text", NOW_MS)], "bytes or None, not NoneType and str"),  # type: ignore[arg-type]
        ([NewRecord("text", b"", NOW_MS)], "bytes or None, not str and bytes"),  # type: ignore[arg-type]
        ([NewRecord(None, b"", -1)], "-1 ms; it must be from 1970 on"),
        ([NewRecord(None, b"", 1 << 63)], "must be from 1970 on"),
        ([NewRecord(None, bytes(BATCH_BYTES_MAX), 0)], "append fewer at once"),
    ]:
        with pytest.raises(MisuseError, match=words):
            log.append(STREAM, wrong)
    with pytest.raises(MisuseError, match="does not write the stream 'other'; it writes events"):
        log.append("other", [record(1)])
    with pytest.raises(MisuseError, match="no partition 3 of stream 'events'"):
        log.reader(STREAM, 3)
    assert log.commit() == 1


def test_the_largest_append_that_is_taken_can_be_written() -> None:
    log = opened(memory())
    sizes = range(BATCH_BYTES_MAX - 400, BATCH_BYTES_MAX, 100)
    taken = 0
    for size in sizes:
        try:
            log.append_durable(STREAM, [NewRecord(b"k", bytes(size), NOW_MS, (("name", b"content"),))])
            taken += 1
        except MisuseError:
            break
    assert 0 < taken < len(sizes)


# -- owners ------------------------------------------------------------------------------------------------------------


def test_two_owners_are_refused_by_name_and_the_second_may_try_again(tmp_path: Path) -> None:
    streams = {"first": LogSettings(), STREAM: LogSettings()}
    log = on_disk(tmp_path, owner="the hub")
    for _ in range(2):
        with pytest.raises(MisuseError, match=r"events is in use by the hub \(process \d+\); stop that one first"):
            EventLog.open(tmp_path, streams, files=DiskFiles(), clock=ManualClock())
    log.close()
    log.close()
    EventLog.open(tmp_path, streams, files=DiskFiles(), clock=ManualClock()).close()
    on_disk(tmp_path / ".." / tmp_path.name, owner="the hub again").close()


def test_a_log_that_cannot_be_opened_lets_go_of_what_it_took(tmp_path: Path) -> None:
    blocked = tmp_path / STREAM / "0"
    blocked.parent.mkdir()
    blocked.write_text("a file where the partition should be")
    for _ in range(2):
        with pytest.raises(DiskError, match="cannot open"):
            on_disk(tmp_path)
    blocked.unlink()
    on_disk(tmp_path).close()


# -- threads -----------------------------------------------------------------------------------------------------------


def test_many_threads_append_and_each_is_told_once(tmp_path: Path) -> None:
    told: dict[object, int] = {}
    log = on_disk(tmp_path, lambda fates: told.update({fate.token: fate.offset for fate in fates}))

    def work(worker: int) -> None:
        for number in range(100):
            log.append(STREAM, [record(number)], (worker, number))
        assert log.append_durable(STREAM, [record(worker)]) >= 0

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()
    assert log.pending_bytes == 0
    assert len(told) == 400
    assert sorted({*told.values()}) == sorted(told.values()), "no offset twice"
    for worker in range(4):
        own = [told[worker, number] for number in range(100)]
        assert own == sorted(own), "in the order in which one thread handed them over"
    records = read_all(log.reader(STREAM))[0]
    assert offsets(records) == list(range(404))
    log.close()


def test_a_flush_returns_though_others_go_on(tmp_path: Path) -> None:
    log = on_disk(tmp_path, lambda fates: None)
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            try:
                log.append(STREAM, [record(0, size=500)])
            except TryLaterError:
                stop.wait(0.001)

    other = threading.Thread(target=go_on)
    other.start()
    try:
        for _ in range(5):
            log.flush(timeout_s=20)
    finally:
        stop.set()
        other.join()
        log.close()


def test_closing_commits_what_waits_and_takes_nothing_more(tmp_path: Path) -> None:
    fates = Fates()
    log = on_disk(tmp_path, fates, commit_interval_ms=1000.0)
    log.append(STREAM, [record(0)], "last")
    log.close()
    assert fates.offsets == [0]
    with pytest.raises(TryLaterError, match="is closing"):
        log.append(STREAM, [record(1)])
    again = on_disk(tmp_path)
    assert again.end_offset(STREAM) == 1
    again.close()


def test_an_append_that_wants_to_be_sooner_is(tmp_path: Path) -> None:
    """A stream that waits for company does not hold up one that does not."""
    streams = {"slow": LogSettings(commit_interval_ms=1000.0), "fast": LogSettings()}
    fates, done = Fates(), threading.Event()

    def tell(told: Sequence[Appended]) -> None:
        fates(told)
        done.set()

    clock = ManualClock()  # it stands still: the slow one alone would wait for a second of real time
    log = EventLog.open(tmp_path, streams, files=DiskFiles(), clock=clock, on_commit=tell)
    log.append("slow", [record(0)])
    log.append("fast", [record(1)])
    assert done.wait(0.9)
    assert {fate.stream for fate in fates.all} == {"slow", "fast"}
    log.close()


def test_a_listener_that_fails_does_not_stop_the_rounds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[int] = []

    def tell(fates: Sequence[Appended]) -> None:
        told.extend(fate.offset for fate in fates)
        raise ValueError("a defect of the listener")

    log = on_disk(tmp_path, tell)
    for number in range(3):
        log.append(STREAM, [record(number)])
        log.flush()
    log.close()
    assert told == [0, 1, 2]
    assert "a commit round failed in a way that it should not" in caplog.text


def test_rounds_of_several_partitions_sync_side_by_side(tmp_path: Path) -> None:
    fates = Fates()
    log = on_disk(tmp_path, fates, partitions=4)
    for number in range(200):
        log.append(STREAM, [record(number)])
    log.flush()
    log.close()
    assert fates.errors == []
    again = on_disk(tmp_path, partitions=4)
    assert sum(again.end_offset(STREAM, number) for number in range(4)) == 200
    assert again.size_bytes(STREAM) == sum(path.stat().st_size for path in tmp_path.rglob("*.log"))
    again.close()
