"""The sparse index of a segment: where to begin a search by offset or by time. It only saves work.

Entries of 20 bytes, each with a checksum of its own: offset - base (uint32), position in the segment (uint32), largest
timestamp in ms of all batches before that position (int64, -1: none), CRC-32 of these. The last entry of a finished
segment names its end. An entry that is missing or damaged makes a search longer, never wrong; an index that does not
fit its segment is made anew when the log is opened.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from streams.files import File, Files
from streams.log.batch import HEADER_BYTES, read_header

SUFFIX = ".index"

_log = logging.getLogger("penstock.log")

_ENTRY = struct.Struct(">IIqI")
_CHECKED = struct.Struct(">IIq")
_WAITING_BYTES = 200 * _ENTRY.size
"""Entries are written so many at a time: a reader at the end of the log needs none."""
_STEPS_MAX = 100


class Entry(NamedTuple):
    """At `position` the batch with offset base + `relative` begins; nothing before it is newer than `newest_ms`."""

    relative: int
    position: int
    newest_ms: int


START = Entry(0, 0, -1)


class Index:
    """The writer's side. Nothing fails because of it: what cannot be written is made anew at the next start."""

    def __init__(self, path: Path, *, files: Files, interval_bytes: int) -> None:
        self._file = files.open(path, write=True, create=True)
        self._interval_bytes = interval_bytes
        self._size = 0
        self._waiting = bytearray()
        self._due_position = 0
        self.newest_ms = -1
        """Largest timestamp of all batches that were noted."""

    def is_finished(self, size: int) -> bool:
        """Whether it names the end of a segment of `size` bytes; then it is taken as it is."""
        end = Table(self._file, 0).end(size)
        if end is None:
            return False
        self.newest_ms = end.newest_ms
        return True

    def restore(self, data: File, base: int, limit: int) -> Entry:
        """Keep the entries up to byte `limit` of the segment `data`; returns the last, where to go on with `note`."""
        table = Table(self._file, base)
        place = bisect_right(table, limit, key=lambda each: each.position)
        place, entry = table.last_right(place, lambda each: each.position < limit, data)
        self._restart(place, entry)
        return entry

    def cut(self, position: int) -> None:
        """The segment ends at `position` now."""
        place = bisect_left(Table(self._file, 0), position, key=lambda each: each.position)
        self._restart(place, Entry(0, position, self.newest_ms))

    def note(self, relative: int, position: int, size: int, timestamp_ms: int) -> None:
        """A batch of `size` bytes stands at `position`: it gets an entry if it is far enough from the last one."""
        if position >= self._due_position:
            self._waiting += _packed(Entry(relative, position, self.newest_ms))
            self._due_position = position + self._interval_bytes
        if timestamp_ms > self.newest_ms:
            self.newest_ms = timestamp_ms

    def write(self) -> None:
        """Write what was noted, when it is worth it."""
        if len(self._waiting) >= _WAITING_BYTES:
            self._write()

    def finish(self, relative: int, position: int) -> None:
        """The segment ends before offset base + `relative`, at `position`, for good."""
        self._waiting += _packed(Entry(relative, position, self.newest_ms))
        self._write()
        with contextlib.suppress(OSError):
            self._file.sync()

    def close(self) -> None:
        self._write()
        self._file.close()

    def _restart(self, place: int, entry: Entry) -> None:
        """Keep the first `place` entries."""
        self._waiting.clear()
        self._size = place * _ENTRY.size
        self._due_position = entry.position
        self.newest_ms = entry.newest_ms

    def _write(self) -> None:
        """What stands behind the last entry is older than it: nothing of it may stay."""
        if not self._waiting:
            return
        try:
            if self._file.size() > self._size:
                self._file.truncate(self._size)
            self._file.append([self._waiting])
        except OSError as error:
            _log.warning("%s cannot be written: %s; it is made anew at the next start", self._file.path, error)
        else:
            self._size += len(self._waiting)
        self._waiting.clear()


class Table:
    """The entries in the file of an index. They are not sorted where it is damaged: nothing is believed unseen."""

    def __init__(self, file: File | None, base: int) -> None:
        self._file = file
        self._base = base
        self._count = file.size() // _ENTRY.size if file else 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> Entry:
        """As it stands there."""
        relative, position, newest_ms, _ = _ENTRY.unpack(self._bytes(place))
        return Entry(relative, position, newest_ms)

    def is_right(self, place: int) -> bool:
        """Whether the checksum of an entry says so."""
        data = self._bytes(place)
        checksum: int = _ENTRY.unpack(data)[-1]
        return zlib.crc32(data[: _CHECKED.size]) == checksum

    def end(self, size: int) -> Entry | None:
        """The entry that names the end of a finished segment of `size` bytes; None when it does not."""
        if not self._count or not self.is_right(self._count - 1):
            return None
        entry = self[self._count - 1]
        return entry if entry.position == size else None

    def by_offset(self, offset: int, data: File, stop: int) -> Entry:
        """Where to begin to look for `offset` in the first `stop` bytes of the segment `data`."""
        due = offset - self._base
        place = bisect_right(self, due, key=lambda each: each.relative)
        return self.last_right(place, lambda each: each.relative <= due and each.position < stop, data)[1]

    def by_time(self, timestamp_ms: int, data: File, stop: int) -> Entry:
        """Where to begin to look for the first batch that holds something as new as `timestamp_ms`."""
        place = bisect_left(self, timestamp_ms, key=lambda each: each.newest_ms)
        return self.last_right(place, lambda each: each.newest_ms < timestamp_ms and each.position < stop, data)[1]

    def last_right(self, count: int, fits: Callable[[Entry], bool], data: File) -> tuple[int, Entry]:
        """The last of the first `count` entries that fits and behind which its batch stands in `data`; and its place.

        Where an index is damaged a search in it ends anywhere.
        """
        for place in range(count - 1, max(-1, count - 1 - _STEPS_MAX), -1):
            entry = self[place]
            if self.is_right(place) and fits(entry):
                header = read_header(data.read(entry.position, HEADER_BYTES), 0)
                if header is not None and header.base_offset == self._base + entry.relative:
                    return place, entry
        return 0, START

    def _bytes(self, place: int) -> bytes:
        data = self._file.read(place * _ENTRY.size, _ENTRY.size) if self._file else b""
        return data.ljust(_ENTRY.size, b"\0")  # its writer may have cut it a moment ago


@contextlib.contextmanager
def open_table(directory: Path, base: int, *, files: Files) -> Iterator[Table]:
    """The entries of a segment for a reader; none when it has no index."""
    try:
        file = files.open(directory / f"{base:020d}{SUFFIX}")
    except FileNotFoundError:
        yield Table(None, base)
        return
    try:
        yield Table(file, base)
    finally:
        file.close()


def _packed(entry: Entry) -> bytes:
    checked = _CHECKED.pack(*entry)
    return checked + zlib.crc32(checked).to_bytes(4, "big")
