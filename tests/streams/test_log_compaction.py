"""Compaction: what stays, what goes, and who looks on meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka.record.memory_records import MemoryRecords

from streams.clock import ManualClock
from streams.errors import MisuseError
from streams.files import DiskFiles
from streams.log import EventLog, LogSettings, StreamReader, offline
from streams.log.batch import decode_batch, encode_batch, read_header
from streams.log.compaction import Compaction
from streams.record import NewRecord, Record
from tests.streams.log_parts import STREAM, Place, read_all

SETTINGS = LogSettings(segment_bytes=4096, index_interval_bytes=512, compact=True, tombstone_s=100.0)


def opened(directory: Path, clock: ManualClock) -> EventLog:
    return EventLog.open(directory, {STREAM: SETTINGS}, files=DiskFiles(), clock=clock)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(tmp_path: Path, clock: ManualClock) -> Iterator[EventLog]:
    made = opened(tmp_path, clock)
    yield made
    made.close()


def say(log: EventLog, clock: ManualClock, key: bytes | None, value: bytes | None) -> int:
    return log.append_durable(STREAM, [NewRecord(key, value, clock.time_ns() // 1_000_000)])


def fill(log: EventLog, clock: ManualClock, count: int, keys: int = 5, *, first: int = 0) -> None:
    for number in range(first, first + count):
        say(log, clock, b"key-%d" % (number % keys), b"%d" % number + b"x" * 100)


def there(directory: Path) -> list[Record]:
    records, damaged = read_all(StreamReader(directory, STREAM, files=DiskFiles()), 0, bytes_max=1)
    assert damaged == []
    return records


def segments(directory: Path) -> list[Path]:
    return sorted((directory / STREAM / "0").glob("*.log"))


def test_the_last_record_of_each_key_stays_at_its_offset(tmp_path: Path, log: EventLog, clock: ManualClock) -> None:
    fill(log, clock, 200)
    before = {each.offset: each for each in there(tmp_path)}
    active = int(segments(tmp_path)[-1].stem)
    size = log.size_bytes(STREAM)
    assert log.compact() == size - log.size_bytes(STREAM) > 0
    found = there(tmp_path)
    assert [before[each.offset] for each in found] == found, "nothing is changed or moved"
    assert [each.offset for each in found if each.offset >= active] == list(range(active, 200)), "the last is untouched"
    assert [each.offset for each in found if each.offset < active] == list(range(active - 5, active))
    assert log.compact() == 0, "it is not worth it"
    report = offline.verify(tmp_path / STREAM / "0", files=DiskFiles())
    assert (report.problems, report.first_offset, report.next_offset) == ([], 0, 200)
    assert [each.offset for each in offline.dump(tmp_path / STREAM / "0", files=DiskFiles())] == [
        each.offset for each in found
    ]
    assert offline.verify(tmp_path / STREAM / "0", files=DiskFiles()).records == len(found)


def test_many_runs_leave_few_segments(tmp_path: Path, log: EventLog, clock: ManualClock) -> None:
    for first in range(0, 2000, 100):
        fill(log, clock, 100, first=first)
        log.compact()
    assert len(segments(tmp_path)) < 10, "2000 records take more than 70"
    assert log.size_bytes(STREAM) < 20_000


def test_records_without_a_key_stay(tmp_path: Path, log: EventLog, clock: ManualClock) -> None:
    for number in range(50):
        say(log, clock, None, b"%d" % number)
        fill(log, clock, 5)
    log.compact()
    values = [each.value for each in there(tmp_path) if each.key is None]
    assert values == [b"%d" % number for number in range(50)]


def test_a_tombstone_stays_for_its_time_and_takes_its_key_with_it(
    tmp_path: Path, log: EventLog, clock: ManualClock
) -> None:
    say(log, clock, b"gone", b"value")
    at = say(log, clock, b"gone", None)
    fill(log, clock, 100)
    log.compact()
    assert [each.offset for each in there(tmp_path) if each.key == b"gone"] == [at]
    clock.advance(101)
    fill(log, clock, 200)
    log.compact()
    assert [each.offset for each in there(tmp_path) if each.key == b"gone"] == []


def test_whatever_offset_is_asked_for_reading_goes_on_behind_the_gap(
    tmp_path: Path, log: EventLog, clock: ManualClock
) -> None:
    fill(log, clock, 200)
    log.compact()
    kept = [each.offset for each in there(tmp_path)]
    for offset in range(200):
        reader = log.reader(STREAM)
        assert reader.read(offset, bytes_max=1)[0].offset == min(each for each in kept if each >= offset)
        reader.close()
    reader = log.reader(STREAM)
    assert reader.read(200) == []
    time_ms = clock.time_ns() // 1_000_000
    assert reader.offset_for_time(time_ms) <= kept[0] and reader.offset_for_time(time_ms + 1) == 200


def test_a_restart_changes_nothing(tmp_path: Path, log: EventLog, clock: ManualClock) -> None:
    fill(log, clock, 200)
    log.compact()
    found = there(tmp_path)
    log.close()
    for index in (tmp_path / STREAM / "0").glob("*.index"):
        index.unlink()
    (tmp_path / STREAM / "0" / "durable").unlink()
    again = opened(tmp_path, clock)
    assert again.recovered[STREAM, 0].damaged == [] and again.recovered[STREAM, 0].cut_bytes == 0
    assert there(tmp_path) == found
    assert say(again, clock, b"key-0", b"next") == 200
    again.close()


def test_a_reader_with_an_old_segment_open_reads_on(tmp_path: Path, log: EventLog, clock: ManualClock) -> None:
    """It holds the file that was, and then meets those that are: merged, with fewer records."""
    for first in range(0, 600, 100):
        fill(log, clock, 100, first=first)
        readers = [(log.reader(STREAM), place) for place in range(log.reader(STREAM).earliest, first + 100, 7)]
        places = [(reader, reader.read(place, bytes_max=1)[-1].offset + 1) for reader, place in readers]
        log.compact()
        kept = [each.offset for each in there(tmp_path)]
        for reader, place in places:
            records, damaged = read_all(reader, place, bytes_max=1)
            assert damaged == []
            seen = [each.offset for each in records]
            assert seen == sorted(set(seen)) and {each for each in kept if each >= place} <= set(seen)
            reader.close()


def test_a_reader_at_the_end_comes_back_when_its_segment_is_one_of_several_in_another(
    tmp_path: Path, log: EventLog, clock: ManualClock
) -> None:
    fill(log, clock, 110)
    for first in range(110, 2000, 210):
        reader = log.reader(STREAM)
        place = reader.read(reader.end - 1)[-1].offset + 1
        for more in (first, first + 70, first + 140):
            fill(log, clock, 70, first=more)
            log.compact()
        records, damaged = read_all(reader, place, bytes_max=1)
        kept = [each.offset for each in there(tmp_path)]
        assert damaged == [] and {each for each in kept if each >= place} <= {each.offset for each in records}
        reader.close()


class Watched(DiskFiles):
    """A disk that somebody looks at before each removal: between the two halves of a swap as well."""

    def __init__(self) -> None:
        self.look: Callable[[], None] = lambda: None

    def remove(self, path: Path) -> None:
        self.look()
        super().remove(path)


def test_in_the_middle_of_a_swap_all_is_there(tmp_path: Path, clock: ManualClock) -> None:
    files = Watched()
    log = EventLog.open(tmp_path, {STREAM: SETTINGS}, files=files, clock=clock)
    together: set[str] = set()

    def look() -> None:
        """Also with a reader that begins in what is about to go."""
        names = {path.name for path in (tmp_path / STREAM / "0").iterdir()}
        together.update(name for name in names if "swap" in names and name.endswith(".log"))
        assert len({each.key for each in there(tmp_path)}) == 5
        for base in (int(path.stem) for path in segments(tmp_path)):
            assert read_all(log.reader(STREAM), base)[1] == []
        problems = offline.verify(tmp_path / STREAM / "0", files=DiskFiles()).problems
        assert [each for each in problems if "index" not in each] == []

    fill(log, clock, 100)
    files.look = look
    for first in range(100, 500, 100):
        fill(log, clock, 100, first=first)
        log.compact()
    assert len(together) > 5
    log.close()


def test_readers_beside_it_lose_nothing(tmp_path: Path, log: EventLog, clock: ManualClock) -> None:
    """Threads that read from the start again and again while segments are exchanged."""
    failures: list[str] = []
    ending = threading.Event()

    def look_on() -> None:
        reader = StreamReader(tmp_path, STREAM, files=DiskFiles())
        while not ending.is_set():
            records, damaged = read_all(reader, 0, bytes_max=1)
            last = {each.key: each.offset for each in records}
            if damaged or [each.offset for each in records] != sorted({each.offset for each in records}):
                failures.append(f"{damaged}")
            if records and len(last) < min(5, len(records)):
                failures.append(f"keys are missing: {last}")

    fill(log, clock, 50)
    threads = [threading.Thread(target=look_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    for first in range(50, 1550, 50):
        fill(log, clock, 50, first=first)
        log.compact()
    ending.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_what_cannot_be_read_is_left_as_it_stands(tmp_path: Path, log: EventLog, clock: ManualClock) -> None:
    fill(log, clock, 200)
    path = segments(tmp_path)[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before, _ = read_all(log.reader(STREAM), 0)
    log.compact()
    assert path.read_bytes() == data
    found, damaged = read_all(log.reader(STREAM), 0)
    assert len(damaged) == 1 and len(found) < len(before)
    assert {each.key: each for each in found} == {each.key: each for each in before}


def test_more_keys_than_memory_has_room_for_take_more_runs(tmp_path: Path) -> None:
    place = Place(tmp_path, DiskFiles())
    dice = random.Random(3)
    for _ in range(400):
        key = b"%d" % dice.randrange(60)
        place.partition.write([encode_batch([NewRecord(key, None if dice.random() < 0.3 else key * 20, 1)])])
        place.partition.sync()
    before = read_all(place.reader(), 0)[0]
    bases = [(int(path.stem), path.stat().st_size) for path in place.segments()]
    end = bases[-1][0]
    last = {each.key: each for each in before if each.offset < end}
    run = Compaction(place.directory, bases[:-1], end, files=DiskFiles(), state_key=lambda each: each.key, keys_max=10)
    run.survey(0)
    assert 10 <= run.surveyed_to < end
    (draft,) = run.rewrite(tombstones_before_ms=100, segment_bytes=1 << 20)
    data = (place.directory / f"{0:020d}.compacted").read_bytes()
    found: list[Record] = []
    for note in draft.notes:
        header = read_header(data, note.position)
        assert header is not None
        found += decode_batch(data, note.position, header)
    kept = {each.offset for each in before if each.offset >= run.surveyed_to}
    newest = {each.key: each.offset for each in before if each.offset < run.surveyed_to}
    for record in before:
        if record.offset >= end:
            continue
        is_there = record.offset in {each.offset for each in found}
        if record.offset in kept and last[record.key].offset == record.offset:
            assert is_there, "nobody knows yet whether it is the last"
        if is_there and record.offset < run.surveyed_to and record.value is not None:
            assert newest[record.key] == record.offset
    place.partition.close()


def test_a_stream_has_a_chain_or_is_compacted(tmp_path: Path, clock: ManualClock) -> None:
    with pytest.raises(MisuseError, match="cannot have a hash chain and be compacted too"):
        EventLog.open(tmp_path, {STREAM: LogSettings(chain=True, compact=True)}, files=DiskFiles(), clock=clock)


def test_a_kafka_client_reads_what_is_left(tmp_path: Path, log: EventLog, clock: ManualClock) -> None:
    fill(log, clock, 200)
    log.compact()
    ours = there(tmp_path)
    theirs: list[tuple[int, bytes, bytes]] = []
    for path in segments(tmp_path):
        read = MemoryRecords(path.read_bytes())
        while read.has_next():
            theirs += [(each.offset, each.key, each.value) for each in read.next_batch()]
    assert theirs == [(each.offset, each.key, each.value) for each in ours]
