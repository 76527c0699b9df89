"""How far a partition is on disk, published to readers in other processes.

Two slots of 40 bytes are written in turn, each with its own checksum and a count that grows: a reader takes the whole
slot with the larger count, so it never sees half of an update. It is written after the sync of what it speaks of.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from streams.files import File, Files

NAME = "durable"

_SLOT = struct.Struct(">QqqqI4x")  # count, end offset, segment, position, CRC-32 of the rest
_CHECKED = struct.Struct(">Qqqq")


class Durable(NamedTuple):
    """Everything below offset `end` is on disk: it ends at byte `position` of the segment named by `segment`."""

    end: int
    segment: int
    position: int


class DurablePoint:
    """The writer's side."""

    def __init__(self, directory: Path, *, files: Files) -> None:
        self._file = files.open(directory / NAME, write=True, create=True)
        found = _newest(self._file.read(0, 2 * _SLOT.size))
        self._count = found[0] if found else 0
        self.point: Durable | None = found[1] if found else None
        if self._file.size() < 2 * _SLOT.size:
            self._file.write(0, self._file.read(0, 2 * _SLOT.size).ljust(2 * _SLOT.size, b"\0"))

    def publish(self, point: Durable) -> None:
        """Tell the readers; call it after the sync."""
        count = self._count + 1
        checked = _CHECKED.pack(count, *point)
        self._file.write((count & 1) * _SLOT.size, checked + struct.pack(">I4x", zlib.crc32(checked)))
        self._count, self.point = count, point

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()


def read_durable(file: File) -> Durable | None:
    """A reader's side; None when nothing was published yet."""
    found = _newest(file.read(0, 2 * _SLOT.size))
    return found[1] if found else None


def _newest(data: bytes) -> tuple[int, Durable] | None:
    best: tuple[int, Durable] | None = None
    for at in (0, _SLOT.size):
        if len(data) < at + _SLOT.size:
            continue
        count, end, segment, position, crc = _SLOT.unpack_from(data, at)
        if zlib.crc32(data[at : at + _CHECKED.size]) != crc or count == 0:
            continue
        if best is None or count > best[0]:
            best = (count, Durable(end, segment, position))
    return best


def trusted_bytes(base: int, size: int, point: Durable | None) -> int:
    """How much of a segment of `size` bytes is known to be on disk."""
    if point is None or base > point.segment:
        return 0
    return size if base < point.segment else min(point.position, size)
