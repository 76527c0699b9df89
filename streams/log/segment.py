"""A segment: one file of batches, named by its first offset, with a sparse index by offset and one by time.

The indexes only save work: an entry that is missing or damaged makes a search longer, never wrong. They are written
behind the data and rebuilt when they do not fit it.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from streams.files import Buffer, File, Files
from streams.log.scan import scan

_INDEX = struct.Struct(">II")  # offset - base, position
_TIME = struct.Struct(">qI")  # largest timestamp so far in ms, offset - base


def segment_path(directory: Path, base: int, suffix: str = ".log") -> Path:
    return directory / f"{base:020d}{suffix}"


def segment_bases(directory: Path, files: Files) -> list[int]:
    """First offsets of all segments of a partition, sorted."""
    names = files.listing(directory)
    return [int(name[:20]) for name in names if name.endswith(".log") and len(name) == 24 and name[:20].isdigit()]


class Segment:
    """The writer's view of a segment."""

    def __init__(self, directory: Path, base: int, *, files: Files, index_interval_bytes: int) -> None:
        self.base = base
        self.path = segment_path(directory, base)
        self._files = files
        self._interval = index_interval_bytes
        self.file = files.open(self.path, write=True, create=True)
        self._index_file = files.open(segment_path(directory, base, ".index"), write=True, create=True)
        self._time_file = files.open(segment_path(directory, base, ".timeindex"), write=True, create=True)
        self.size = self.file.size()
        self.max_timestamp_ms = -1
        self._indexed_to = 0
        self._unwritten_index = bytearray()
        self._unwritten_times = bytearray()

    def rebuild_index(self) -> None:
        """Make both indexes anew from the headers of the data."""
        self._index_file.truncate(0)
        self._time_file.truncate(0)
        self._indexed_to = 0
        self.max_timestamp_ms = -1
        for found in scan(self.file, 0, self.size, check=False):
            self.note(found.header.base_offset, found.position, found.header.size, found.header.max_timestamp_ms)
        self.write_index()

    def append(self, parts: Sequence[Buffer]) -> None:
        """Write at the end; on an error the end is where it was, or DiskError's cause is raised from truncating."""
        try:
            self.size += self.file.append(parts)
        except OSError:
            self.file.truncate(self.size)
            raise

    def note(self, offset: int, position: int, size: int, timestamp_ms: int) -> None:
        """A batch stands at `position`: take it into the indexes if it is far enough from the last entry."""
        self.max_timestamp_ms = max(self.max_timestamp_ms, timestamp_ms)
        if position == 0 or position + size - self._indexed_to >= self._interval:
            self._unwritten_index += _INDEX.pack(offset - self.base, position)
            self._unwritten_times += _TIME.pack(self.max_timestamp_ms, offset - self.base)
            self._indexed_to = position + size

    def write_index(self) -> None:
        """Write what was noted. An index that cannot be written is cut off here and rebuilt at the next start."""
        if self._unwritten_index:
            entries, times = bytes(self._unwritten_index), bytes(self._unwritten_times)
            self._unwritten_index.clear()
            self._unwritten_times.clear()
            self._index_file.append([entries])
            self._time_file.append([times])

    def finish(self) -> None:
        """No more will be written: note the newest time and bring the indexes to disk."""
        self._unwritten_times += _TIME.pack(self.max_timestamp_ms, 0xFFFFFFFF)
        self._time_file.append([bytes(self._unwritten_times)])
        self._unwritten_times.clear()
        self._index_file.sync()
        self._time_file.sync()

    def close(self) -> None:
        for file in (self.file, self._index_file, self._time_file):
            file.close()


def read_index(directory: Path, base: int, *, files: Files, size: int) -> tuple[list[int], list[int]]:
    """Offsets and positions in the index of a segment of `size` bytes, as far as they make sense; (0, 0) is always."""
    data = _whole(directory, base, ".index", files)
    offsets, positions = [0], [0]
    for relative, position in _INDEX.iter_unpack(data[: len(data) // _INDEX.size * _INDEX.size]):
        if position == 0 and relative == 0:
            continue
        if relative <= offsets[-1] or not positions[-1] < position < size:
            break
        offsets.append(relative)
        positions.append(position)
    return offsets, positions


def position_before(index: tuple[list[int], list[int]], relative: int) -> int:
    """A position at or before the batch that holds offset base + `relative`."""
    offsets, positions = index
    return positions[max(0, bisect_right(offsets, relative) - 1)]


def read_times(directory: Path, base: int, *, files: Files) -> list[tuple[int, int]]:
    """Entries of the time index: (largest timestamp so far in ms, offset - base)."""
    data = _whole(directory, base, ".timeindex", files)
    return list(_TIME.iter_unpack(data[: len(data) // _TIME.size * _TIME.size]))


def _whole(directory: Path, base: int, suffix: str, files: Files) -> bytes:
    try:
        file: File = files.open(segment_path(directory, base, suffix))
    except FileNotFoundError:
        return b""
    try:
        return file.read(0, file.size())
    finally:
        file.close()
