"""Readers: from any offset and time, beside the writer and from another process, never past what is durable."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from streams.errors import CorruptError
from streams.files import DiskFiles
from streams.log import DamagedRange, OffsetOutOfRange, StreamReader
from streams.log import reader as reader_module
from streams.log.batch import CRC_FROM, NewBatch, encode_batch
from streams.log.checksum import crc32c
from streams.log.reader import partitions
from streams.record import NewRecord
from tests.simulation.disk import Disk
from tests.streams.log_parts import NOW_MS, STREAM, Place, batch, memory, number_of, offsets, read_all, record

ROOT = Path("/log")
CHILD = Path(__file__).with_name("log_read_target.py")


def fresh(**settings: int | float | None) -> Place:
    return Place(ROOT, memory(), **settings)


def filled(count: int = 100, **settings: int | float | None) -> Place:
    place = fresh(**settings)
    place.append(count)
    return place


# -- where to begin ----------------------------------------------------------------------------------------------------


def test_from_every_offset() -> None:
    place = fresh()
    for first in range(0, 90, 3):
        place.partition.write([batch(first, 3)])
        place.partition.sync()
    reader = place.reader()
    order = list(range(90))
    random.Random(1).shuffle(order)
    for offset in order:
        records = reader.read(offset, bytes_max=1)
        assert records[0].offset == offset, "also in the middle of a batch"
        assert offsets(reader.read(offset)) == list(range(offset, offsets(reader.read(offset))[-1] + 1))
    assert offsets(read_all(reader)[0]) == list(range(90))


@pytest.mark.parametrize("bytes_max", [1, 500, 5000, 1 << 20])
def test_about_so_many_bytes_at_least_one_batch(bytes_max: int) -> None:
    place = filled(100, segment_bytes=1 << 20)
    records = place.reader().read(10, bytes_max=bytes_max)
    size = 68 + 30
    assert min(90, max(1, bytes_max // (size + 10))) <= len(records) <= min(90, bytes_max // (size - 10) + 1)


def test_what_is_not_there_is_said_with_what_is() -> None:
    place = filled()
    reader = place.reader()
    assert reader.read(100) == []
    place.partition.truncate_before(60)
    first = int(place.segments()[0].stem)
    assert (reader.earliest, reader.end) == (first, 100)
    for offset in (-1, 0, first - 1, 101, 1 << 40):
        with pytest.raises(OffsetOutOfRange, match=rf"offset {offset} is not in /log/events/0: it holds") as error:
            place.reader().read(offset)
        assert (error.value.earliest, error.value.end) == (first, 100)


def test_a_partition_that_was_never_written() -> None:
    reader = StreamReader(ROOT, STREAM, 5, files=memory())
    assert (reader.end, reader.earliest, reader.size_bytes, reader.read(0)) == (0, 0, 0, [])
    assert reader.offset_for_time(NOW_MS) == 0
    with pytest.raises(OffsetOutOfRange):
        reader.read(1)
    assert partitions(ROOT, STREAM, files=memory()) == []
    assert partitions(ROOT, STREAM, files=filled(1).files) == [0]


def test_by_time_the_first_that_is_as_new() -> None:
    place = filled()
    reader = place.reader()
    for number in range(100):
        assert reader.offset_for_time(NOW_MS + number) == number
    assert reader.offset_for_time(0) == 0
    assert reader.offset_for_time(NOW_MS + 100) == 100


def test_by_time_when_times_go_back_nothing_as_new_is_passed_over() -> None:
    place = fresh()
    dice = random.Random(2)
    times = [NOW_MS + dice.randrange(1000) for _ in range(300)]
    for number, time_ms in enumerate(times):
        place.partition.write([encode_batch([record(number, time_ms=time_ms)])])
        place.partition.sync()
    reader = place.reader()
    for wanted in range(NOW_MS - 1, NOW_MS + 1001, 13):
        expected = next((number for number, time_ms in enumerate(times) if time_ms >= wanted), 300)
        assert reader.offset_for_time(wanted) == expected
    place.reopen(close=False)
    assert place.reader().offset_for_time(max(times)) == times.index(max(times))


def test_by_time_beyond_damage() -> None:
    place = filled(50, segment_bytes=1 << 20)
    (path,) = place.segments()
    place.damage(path, place.content(path).index(b"20:") + 5, b"\xff")
    reader = place.reader()
    assert reader.offset_for_time(NOW_MS + 30) == 30
    assert reader.offset_for_time(NOW_MS + 20) == 21


# -- the durable point -------------------------------------------------------------------------------------------------


def test_what_is_written_and_not_synced_is_not_shown() -> None:
    place = filled(5, segment_bytes=1 << 20)
    reader = place.reader()
    assert offsets(reader.read(0)) == [0, 1, 2, 3, 4]
    place.partition.write([batch(5), batch(6)])
    assert (reader.end, reader.read(5)) == (5, [])
    assert offsets(place.reader().read(3)) == [3, 4]
    assert reader.offset_for_time(NOW_MS + 6) == 5
    assert sum(found.header.records for found in reader.read_batches(0, bytes_max=1 << 30)) == 5
    place.partition.sync()
    assert offsets(reader.read(5)) == [5, 6]


def test_a_segment_that_was_just_begun_is_not_looked_into() -> None:
    place = filled(45)
    while len(place.content(place.segments()[-1])) < 4096:
        place.append(1)
    end = place.number
    reader = place.reader()
    read_all(reader)
    place.partition.write([batch(end, size=50)])
    assert int(place.segments()[-1].stem) == end
    assert (reader.end, reader.read(end)) == (end, [])
    assert place.reader().offset_for_time(NOW_MS + end) == end
    place.partition.sync()
    assert offsets(reader.read(end)) == [end]
    assert place.reader().offset_for_time(NOW_MS + end) == end


class Child:
    """A reader in a process of its own, asked over its standard input."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.streams.log_read_target", str(directory), STREAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def read(self, offset: int) -> list[int]:
        """The numbers that it reads from `offset` on."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{offset}\n")
        self._process.stdin.flush()
        return [int(word) for word in self._process.stdout.readline().split()]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0


def test_another_process_follows_and_never_passes_what_is_durable(tmp_path: Path) -> None:
    place = Place(tmp_path, DiskFiles())
    child = Child(tmp_path)
    dice = random.Random(3)
    seen = 0
    for _ in range(60):
        count = dice.randint(1, 5)
        place.partition.write([batch(place.number + more, size=100) for more in range(count)])
        assert child.read(seen) == [], "written is not durable"
        place.partition.sync()
        assert child.read(seen) == list(range(place.number, place.number + count))
        place.number += count
        seen += count
    assert len(place.segments()) > 2
    place.reopen(close=False)
    place.append(3)
    assert child.read(seen) == list(range(seen, seen + 3)), "also when its writer was started again"
    child.close()


# -- what happens meanwhile --------------------------------------------------------------------------------------------


def test_a_reader_whose_segment_was_removed_goes_on_or_says_so() -> None:
    place = filled()
    bases = [int(path.stem) for path in place.segments()]
    behind, at_the_end = place.reader(), place.reader()
    behind.read(0, bytes_max=1)
    read_all(at_the_end, bases[1] - 1)
    at_the_end.read(bases[1] - 1, bytes_max=1)
    place.partition.truncate_before(bases[2])
    assert behind.read(1, bytes_max=1)[0].offset == 1, "what it holds open it may still read"
    with pytest.raises(OffsetOutOfRange) as error:
        read_all(behind, 1)
    assert error.value.earliest == bases[2]
    with pytest.raises(OffsetOutOfRange):
        at_the_end.read(bases[1])


def test_a_reader_at_the_end_of_a_segment_goes_on_when_all_before_is_removed() -> None:
    place = filled(38)
    reader = place.reader()
    read_all(reader)
    place.partition.truncate_before(38)
    assert len(place.segments()) == 1
    place.append(2)
    reader.close()
    assert offsets(reader.read(38)) == [38, 39]


def test_a_file_that_somebody_removed_is_damage_not_the_end() -> None:
    place = filled()
    gone = place.segments()[-1]
    place.files.remove(gone)
    with pytest.raises(DamagedRange) as error:
        place.reader().read(99)
    assert error.value.resume == 100


def test_a_reader_follows_a_writer_that_goes_on_after_a_disk_error() -> None:
    place = filled(10, segment_bytes=1 << 20)
    reader = place.reader()
    assert offsets(reader.read(0))[-1] == 9
    disk: Disk = place.files.disk  # type: ignore[attr-defined]
    place.partition.write([batch(77)])
    disk.failing_syncs = 1
    with pytest.raises(Exception, match="cannot sync"):
        place.partition.sync()
    assert reader.read(10) == []
    place.append(3)
    assert [number_of(each) for each in reader.read(10)] == [10, 11, 12]
    assert read_all(place.reader())[1] == []


def test_a_repair_does_not_leave_readers_behind() -> None:
    """They hold the durable point open: it is the same file ever after."""
    place = filled(10)
    reader = place.reader()
    read_all(reader)
    place.reopen(check_all=True)
    place.append(5)
    assert offsets(reader.read(10)) == [10, 11, 12, 13, 14]


# -- what cannot be read -----------------------------------------------------------------------------------------------


def misfit(number: int) -> NewBatch:
    """A batch with a right checksum whose record does not fit it."""
    made = batch(number)
    body = b"\x7e" + made.records[1:]
    data = made.head[:13] + bytes(4) + made.head[13:]
    checked = made.head[CRC_FROM - 8 :] + body
    head = data[:9] + crc32c(checked).to_bytes(4, "big") + made.head[13:]
    return NewBatch(head, (body,), made.size, 1, NOW_MS)


def test_a_batch_that_somebody_wrote_wrongly_is_one_damaged_range() -> None:
    place = fresh(segment_bytes=1 << 20)
    for each in (batch(0), misfit(1), batch(2)):
        place.partition.write([each])
        place.partition.sync()
    reader = place.reader()
    assert offsets(reader.read(0)) == [0]
    with pytest.raises(DamagedRange, match=r"the batch at offset 1: .* offsets 1 to 2 cannot be read"):
        reader.read(1)
    assert offsets(reader.read(2)) == [2]
    records, damaged = read_all(place.reader())
    assert (offsets(records), damaged) == ([0, 2], [(1, 2)])


def test_damage_is_named_with_file_and_byte() -> None:
    place = filled(20, segment_bytes=1 << 20)
    (path,) = place.segments()
    at = place.content(path).index(b"7:")
    place.damage(path, at + 4, b"\xff\xff\xff")
    with pytest.raises(CorruptError, match=rf"{path} from byte \d+ on is damaged: offsets 7 to 8 cannot be read"):
        place.reader().read(7)
    reader = place.reader()
    assert offsets(reader.read(0)) == list(range(7)), "what stands before it first"
    with pytest.raises(DamagedRange) as error:
        reader.read(7)
    assert offsets(reader.read(error.value.resume)) == list(range(8, 20))


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path) -> StreamReader:
    place = Place(tmp_path, DiskFiles(), segment_bytes=8 << 20)
    for number in range(24):
        place.partition.write([encode_batch([NewRecord(None, bytes(1000), NOW_MS)] * 1000)])
        place.partition.sync()
        assert place.partition.durable_end == (number + 1) * 1000
    place.partition.close()
    return StreamReader(tmp_path, STREAM, 0, files=DiskFiles())


def test_memory_is_bounded_whatever_is_read(large: StreamReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "READ_BYTES_MAX", 2 << 20)
    tracemalloc.start()
    try:
        count = 0
        while more := sum(found.header.records for found in large.read_batches(count, bytes_max=1 << 40)):
            count += more
        assert count == 24_000
        assert tracemalloc.get_traced_memory()[1] < 6 << 20, "a piece at a time"
        tracemalloc.reset_peak()
        assert len(large.read(0, bytes_max=1 << 40)) < 5000, "about the limit, whatever was asked for"
        offset = 0
        while records := large.read(offset, bytes_max=1 << 20):
            offset = records[-1].offset + 1
        assert offset == 24_000
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
        tracemalloc.reset_peak()
        large.offset_for_time(NOW_MS + 1)
        assert tracemalloc.get_traced_memory()[1] < 6 << 20
    finally:
        tracemalloc.stop()
        large.close()
