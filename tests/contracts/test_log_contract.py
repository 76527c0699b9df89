"""What every engine of the event log owes those who append and those who read, run over all that there are.

Today that is the embedded log. Another engine (a Kafka cluster) joins by a class of its own in ENGINES: it makes an
empty log with a stream of so many partitions, gives a writer, readers and groups of it, and restarts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from streams.clock import ManualClock, SystemClock
from streams.errors import MisuseError
from streams.files import DiskFiles
from streams.log import Appended, EventLog, GroupOffsets, LogSettings, OffsetOutOfRange, StreamReader
from streams.record import NewRecord, Record

STREAM = "telemetry"
NOW_MS = 1_700_000_000_000


class Writer(Protocol):
    def append(self, stream: str, records: Sequence[NewRecord], token: object = None) -> None: ...
    def append_durable(self, stream: str, records: Sequence[NewRecord], *, timeout_s: float = 30.0) -> int: ...
    def append_batch(self, stream: str, partition: int, batch: bytes, *, timeout_s: float = 30.0) -> int: ...
    def flush(self, timeout_s: float = 30.0) -> None: ...
    def end_offset(self, stream: str, partition: int = 0) -> int: ...
    def health(self) -> list[str]: ...


class Reader(Protocol):
    @property
    def end(self) -> int: ...
    @property
    def earliest(self) -> int: ...
    def read(self, offset: int, *, bytes_max: int = ...) -> list[Record]: ...
    def offset_for_time(self, timestamp_ms: int) -> int: ...
    def close(self) -> None: ...


class Groups(Protocol):
    def committed(self, stream: str, partition: int = 0) -> int | None: ...
    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None: ...


class Engine(Protocol):
    """One log with one stream, empty at first."""

    def __init__(self, directory: Path, partitions: int) -> None: ...
    def writer(self) -> Writer:
        """The writer; what it tells of appends goes to `told`."""
        ...

    def reader(self, partition: int = 0) -> Reader: ...
    def group(self, name: str) -> Groups: ...
    def restart(self) -> None:
        """The process that writes ends and is started again; readers and groups are made anew."""
        ...

    def close(self) -> None: ...

    told: list[Appended]


class Embedded:
    """Segments on this machine's disk, written by this process."""

    def __init__(self, directory: Path, partitions: int) -> None:
        self._directory = directory
        self._settings = LogSettings(partitions=partitions, segment_bytes=4096)
        self.told: list[Appended] = []
        self._log = self._opened()

    def writer(self) -> Writer:
        return self._log

    def reader(self, partition: int = 0) -> Reader:
        return StreamReader(self._directory, STREAM, partition, files=DiskFiles())

    def group(self, name: str) -> Groups:
        return GroupOffsets(self._directory, name, files=DiskFiles())

    def restart(self) -> None:
        self._log.close()
        self._log = self._opened()

    def close(self) -> None:
        self._log.close()

    def _opened(self) -> EventLog:
        streams = {STREAM: self._settings}
        return EventLog.open(
            self._directory,
            streams,
            files=DiskFiles(),
            clock=SystemClock(),
            on_commit=lambda fates: self.told.extend(fates),
        )


ENGINES: dict[str, type[Engine]] = {"embedded": Embedded}


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = ENGINES[request.param](tmp_path, 3)
    yield made
    made.close()


def record(number: int, *, key: bytes | None = b"press-7") -> NewRecord:
    return NewRecord(key, b"%d" % number, NOW_MS + number, (("name", b"content"), ("empty", b"")))


def records_of(reader: Reader, offset: int | None = None) -> list[Record]:
    offset = reader.earliest if offset is None else offset
    found: list[Record] = []
    while more := reader.read(offset):
        found += more
        offset = more[-1].offset + 1
    return found


def place_of(engine: Engine) -> int:
    """The partition that the key of our records falls into."""
    (number,) = [number for number in range(3) if engine.reader(number).end]
    return number


def test_what_is_appended_is_read_as_it_was_with_growing_offsets(engine: Engine) -> None:
    made = [record(number) for number in range(100)]
    assert engine.writer().append_durable(STREAM, made[:60]) == 0
    assert engine.writer().append_durable(STREAM, made[60:]) == 60
    reader = engine.reader(place_of(engine))
    found = records_of(reader)
    assert [each.offset for each in found] == list(range(100))
    assert [NewRecord(each.key, each.value, each.timestamp_ms, each.headers) for each in found] == made
    assert (reader.earliest, reader.end) == (0, 100)


def test_keys_and_values_may_be_missing_or_empty(engine: Engine) -> None:
    made = [NewRecord(None, b"x", 1), NewRecord(None, None, 2), NewRecord(None, b"", 3)]
    engine.writer().append_durable(STREAM, made)
    found = records_of(engine.reader(place_of(engine)))
    assert [(each.key, each.value, each.timestamp_ms, each.headers) for each in found] == [
        (None, b"x", 1, ()), (None, None, 2, ()), (None, b"", 3, ()),
    ]  # fmt: skip


def test_a_key_always_goes_to_the_same_partition_and_keys_are_spread(engine: Engine) -> None:
    keys = [b"device-%d" % number for number in range(40)]
    for number in range(200):
        engine.writer().append(STREAM, [record(number, key=keys[number % 40])])
    engine.writer().flush()
    seen: dict[bytes | None, int] = {}
    for partition in range(3):
        found = records_of(engine.reader(partition))
        assert found, "each has some"
        for key in {each.key for each in found}:
            assert key not in seen
            seen[key] = partition
            numbers = [int(each.value or b"") for each in found if each.key == key]
            assert numbers == sorted(numbers), "in the order of their appends"
    assert len(seen) == 40


def test_every_append_is_told_once_and_after_it_can_be_read(engine: Engine) -> None:
    for number in range(50):
        engine.writer().append(STREAM, [record(number), record(number)], number)
    engine.writer().flush()
    assert [fate.token for fate in engine.told] == list(range(50))
    assert [fate.error for fate in engine.told] == [None] * 50
    assert [fate.offset for fate in engine.told] == list(range(0, 100, 2))
    partition = place_of(engine)
    assert {(fate.stream, fate.partition, fate.count) for fate in engine.told} == {(STREAM, partition, 2)}
    assert engine.reader(partition).end == engine.writer().end_offset(STREAM, partition) == 100
    assert engine.writer().health() == []


def test_a_reader_follows_and_finds_nothing_at_the_end(engine: Engine) -> None:
    engine.writer().append_durable(STREAM, [record(0)])
    reader = engine.reader(place_of(engine))
    offset = 0
    for number in range(1, 60):
        found = reader.read(offset)
        assert [int(each.value or b"") for each in found] == [number - 1]
        offset = found[-1].offset + 1
        assert reader.read(offset) == []
        engine.writer().append_durable(STREAM, [record(number)])
    reader.close()


def test_offsets_that_are_not_there_are_refused_with_what_is(engine: Engine) -> None:
    engine.writer().append_durable(STREAM, [record(0), record(1)])
    for offset in (3, 1000, -1):
        with pytest.raises(OffsetOutOfRange, match=rf"offset {offset} is not in .* it holds 0 to 2") as error:
            engine.reader(place_of(engine)).read(offset)
        assert (error.value.earliest, error.value.end) == (0, 2)


def test_by_time_the_first_batch_that_holds_something_as_new(engine: Engine) -> None:
    for number in range(0, 100, 10):
        engine.writer().append_durable(STREAM, [record(number + more) for more in range(10)])
    reader = engine.reader(place_of(engine))
    for number in range(0, 100, 7):
        assert reader.offset_for_time(NOW_MS + number) == number // 10 * 10
    assert reader.offset_for_time(0) == 0
    assert reader.offset_for_time(NOW_MS + 100) == 100


def test_a_restart_changes_nothing(engine: Engine) -> None:
    engine.writer().append_durable(STREAM, [record(number) for number in range(70)])
    partition = place_of(engine)
    before = records_of(engine.reader(partition))
    engine.restart()
    assert records_of(engine.reader(partition)) == before
    assert engine.writer().append_durable(STREAM, [record(70)]) == 70
    assert records_of(engine.reader(partition), 69)[-1].offset == 70


def test_a_group_goes_on_where_it_committed(engine: Engine) -> None:
    engine.writer().append_durable(STREAM, [record(number) for number in range(10)])
    group = engine.group("store")
    assert group.committed(STREAM, 0) is None
    group.commit({(STREAM, 0): 4, (STREAM, 2): 1})
    group.commit({(STREAM, 0): 7})
    engine.restart()
    again = engine.group("store")
    assert [again.committed(STREAM, partition) for partition in range(3)] == [7, None, 1]
    assert engine.group("another").committed(STREAM, 0) is None


def test_what_cannot_be_appended_is_a_misuse_and_leaves_no_trace(engine: Engine) -> None:
    for stream, records in [("unknown", [record(0)]), (STREAM, []), (STREAM, [NewRecord(None, b"", -1)])]:
        with pytest.raises(MisuseError):
            engine.writer().append(stream, records)
    engine.writer().flush()
    assert engine.told == []
    assert [engine.reader(partition).end for partition in range(3)] == [0, 0, 0]


def test_a_clock_that_stands_still_or_goes_back_does_no_harm(engine: Engine) -> None:
    clock = ManualClock()
    for number in range(5):
        clock.set_time_ns(clock.time_ns() - 10**9)
        engine.writer().append_durable(STREAM, [NewRecord(b"k", b"%d" % number, clock.time_ns() // 10**6)])
    assert [each.value for each in records_of(engine.reader(place_of(engine)))] == [b"%d" % n for n in range(5)]
