"""What the tests of the event log share: records, batches, files in memory, partitions on a disk of their own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from streams.files import File, Files
from streams.log import LogSettings
from streams.log.appends import Appended
from streams.log.batch import NewBatch, encode_batch
from streams.log.partition import Partition
from streams.log.reader import DamagedRange, StreamReader
from streams.record import NewRecord, Record
from tests.simulation.disk import Disk, Mount

NOW_MS = 1_700_000_000_000
STREAM = "events"


def record(number: int, *, size: int = 20, time_ms: int | None = None) -> NewRecord:
    """A record that says its number."""
    value = b"%d:" % number + bytes(number % 251 for _ in range(size))
    return NewRecord(b"key%d" % (number % 7), value, NOW_MS + number if time_ms is None else time_ms)


def number_of(each: Record) -> int:
    assert each.value is not None
    return int(each.value.split(b":")[0])


def batch(first: int, count: int = 1, *, size: int = 20) -> NewBatch:
    return encode_batch([record(number, size=size) for number in range(first, first + count)])


def laid_out(batches: Sequence[NewBatch], base: int = 0) -> tuple[bytes, list[int]]:
    """Batches one after the other, as in a segment, and where each begins."""
    data, starts = b"", []
    for each in batches:
        starts.append(len(data))
        data += each.at(base)
        base += each.offsets
    return data, starts


def memory() -> Mount:
    """An empty disk in memory."""
    return Disk(random.Random(0)).mount(lambda: None)


def file_of(data: bytes) -> File:
    """A file that holds `data`."""
    mount = memory()
    file = mount.open(Path("/file"), write=True, create=True)
    file.append([data])
    return file


class Place:
    """One partition in a directory, its writer opened and closed as a test says."""

    def __init__(self, root: Path, files: Files, **settings: int | float | None) -> None:
        self.root, self.files = root, files
        self.directory = root / STREAM / "0"
        self.settings = LogSettings(**({"segment_bytes": 4096, "index_interval_bytes": 512} | settings))  # type: ignore[arg-type]
        self.partition = Partition(self.directory, self.settings, files=files)
        self.number = self.partition.next_offset

    def append(self, count: int = 1, *, size: int = 20) -> None:
        """So many records, each a batch and a sync of its own."""
        for _ in range(count):
            self.partition.write([batch(self.number, size=size)])
            self.partition.sync()
            self.number += 1

    def reopen(self, *, close: bool = True, check_all: bool = False) -> Partition:
        if close:
            self.partition.close()
        self.partition = Partition(self.directory, self.settings, files=self.files, check_all=check_all)
        self.number = self.partition.next_offset
        return self.partition

    def reader(self) -> StreamReader:
        return StreamReader(self.root, STREAM, 0, files=self.files)

    def segments(self) -> list[Path]:
        return [self.directory / name for name in self.files.listing(self.directory) if name.endswith(".log")]

    def names(self, suffix: str) -> list[str]:
        return [name for name in self.files.listing(self.directory) if name.endswith(suffix)]

    def content(self, path: Path) -> bytes:
        file = self.files.open(path)
        return file.read(0, file.size())

    def put(self, path: Path, data: bytes) -> None:
        """Make a file hold exactly this."""
        file = self.files.open(path, write=True, create=True)
        file.truncate(0)
        file.append([data])
        file.close()

    def damage(self, path: Path, at: int, data: bytes) -> None:
        file = self.files.open(path, write=True)
        file.write(at, data)
        file.close()


def read_all(
    reader: StreamReader, offset: int | None = None, *, bytes_max: int = 1
) -> tuple[list[Record], list[tuple[int, int]]]:
    """Everything from `offset` to the end, and the ranges that were named as damaged."""
    offset = reader.earliest if offset is None else offset
    records: list[Record] = []
    damaged: list[tuple[int, int]] = []
    while offset < reader.end:
        try:
            more = reader.read(offset, bytes_max=bytes_max)
        except DamagedRange as error:
            damaged.append((error.offset, error.resume))
            assert error.resume > offset
            offset = error.resume
            continue
        assert more, "the end is not reached, so there is something"
        records += more
        offset = more[-1].offset + 1
    return records, damaged


def offsets(records: Sequence[Record]) -> list[int]:
    return [each.offset for each in records]


class Fates:
    """Takes what a log tells of its appends."""

    def __init__(self) -> None:
        self.all: list[Appended] = []

    def __call__(self, fates: Sequence[Appended]) -> None:
        self.all += fates

    @property
    def offsets(self) -> list[int]:
        return [fate.offset for fate in self.all]

    @property
    def errors(self) -> list[str]:
        return [str(fate.error) for fate in self.all if fate.error]
