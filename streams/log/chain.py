"""The hash chain of a partition: a head that stands for every batch before it, so that no change stays unseen.

It stands beside the segments, one file each, and the batches know nothing of it. A file begins with the head as it was
at the segment's begin; then comes an entry of 48 bytes for each batch, with its SHA-256. The head after an entry is the
SHA-256 of the head before and the entry (docs/log-format.md).

Who has written down a head elsewhere can tell from the files alone that nothing before it was changed, moved or left
out. Whoever can write the files can make a new chain, but none with that head. Entries are written for what is on disk
only, and some time after it: what is missing at the end is made anew from the segment.
"""

from __future__ import annotations

import hashlib
import logging
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streams.errors import MisuseError
from streams.files import Buffer, File, Files
from streams.log.batch import NewBatch
from streams.log.segment import segment_path

SUFFIX = ".chain"
GENESIS = bytes(32)
"""The head before the first batch that was ever chained."""
UNKNOWN = bytes(32)
"""The digest of what was damaged before it was chained."""

_log = logging.getLogger("penstock.log")

_MAGIC = b"PSCHAIN1"
_HEADER = struct.Struct(">8sq32s12xI")  # magic, base offset, head, CRC-32 of the rest
_ENTRY = struct.Struct(">qi32sI")  # offset, offsets, digest, CRC-32 of the rest
_CHECKED_BYTES = _ENTRY.size - 4
_DIGEST_FROM = 16
"""A batch is digested from its magic on: what stands before is the log's own."""
_WAITING_BYTES = 100 * _ENTRY.size
_PIECE_BYTES = 1000 * _ENTRY.size
_END = -1
_PUBLISHED = re.compile(r"([0-9a-f]{64})@([0-9]{1,19})")


class Head(NamedTuple):
    """What stands for everything below an offset."""

    offset: int
    head: bytes

    def __str__(self) -> str:
        return f"{self.head.hex()}@{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """As `str` shows it. MisuseError when it is not one."""
        found = _PUBLISHED.fullmatch(text.strip().lower())
        if found is None:
            raise MisuseError(f"{text!r:.100} is not a head: it is HEX@OFFSET, as `penstock log head` shows it")
        return cls(int(found[2]), bytes.fromhex(found[1]))


class Entry(NamedTuple):
    """A link: the offset of a batch, how many it takes, its digest. `offsets` -1: the segment ends, with this head."""

    offset: int
    offsets: int
    digest: bytes

    @property
    def is_end(self) -> bool:
        return self.offsets == _END

    @property
    def next_offset(self) -> int:
        return self.offset + self.offsets

    def follow(self, head: bytes) -> bytes:
        """The head after this entry."""
        return hashlib.sha256(head + self._checked()).digest()

    def packed(self) -> bytes:
        checked = self._checked()
        return checked + zlib.crc32(checked).to_bytes(4, "big")

    def _checked(self) -> bytes:
        return struct.pack(">qi32s", *self)


def digest_of(batch: NewBatch) -> bytes:
    """Of a batch that is not written yet."""
    return digest(b"".join((batch.head[_DIGEST_FROM - 8 :], *batch.parts)))  # one call: each lets other threads in


def digest_at(data: bytes | memoryview, at: int, size: int) -> bytes:
    """Of a batch as it stands on disk."""
    return digest(memoryview(data)[at + _DIGEST_FROM : at + size])


def digest(data: Buffer) -> bytes:
    return hashlib.sha256(data).digest()


class ChainFile:
    """The chain of one segment as it stands on disk. What is damaged ends it."""

    def __init__(self, file: File, base: int) -> None:
        self._file = file
        self._base = base
        data = file.read(0, _HEADER.size)
        self.start: bytes | None = None
        """The head at the segment's begin; None when it cannot be told."""
        if len(data) == _HEADER.size and zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "big"):
            magic, its_base, head, _ = _HEADER.unpack(data)
            if magic == _MAGIC and its_base == base:
                self.start = head

    def entries(self) -> Iterator[Entry]:
        at = _HEADER.size
        while data := self._file.read(at, _PIECE_BYTES):
            for place in range(0, len(data) - _ENTRY.size + 1, _ENTRY.size):
                offset, offsets, found, crc = _ENTRY.unpack_from(data, place)
                if zlib.crc32(data[place : place + _CHECKED_BYTES]) != crc:
                    return
                yield Entry(offset, offsets, found)
            at += len(data)

    def up_to(self, end: int) -> tuple[Head, int]:
        """The head after the entries that lie before offset `end`, and how many these are. It has a `start`."""
        assert self.start is not None
        at, count = Head(self._base, self.start), 0
        for entry in self.entries():
            if not at.offset <= entry.offset < entry.next_offset <= end:
                break
            at = Head(entry.next_offset, entry.follow(at.head))
            count += 1
        return at, count

    def end(self) -> Head | None:
        """The head where the segment ends; None when it is not finished."""
        size = self._file.size()
        if size < _HEADER.size + _ENTRY.size or (size - _HEADER.size) % _ENTRY.size:
            return None
        data = self._file.read(size - _ENTRY.size, _ENTRY.size)
        if zlib.crc32(data[:_CHECKED_BYTES]) != int.from_bytes(data[-4:], "big"):
            return None
        last = Entry(*_ENTRY.unpack(data)[:3])
        return Head(last.offset, last.digest) if last.is_end else None


class Chain:
    """The writer's side: the chain of the segment that is being written."""

    def __init__(self, directory: Path, base: int, *, files: Files) -> None:
        self._files = files
        self._path = segment_path(directory, base, SUFFIX)
        self._file = files.open(self._path, write=True, create=True)
        self._size = _HEADER.size
        self._waiting = bytearray()
        """Of what is on disk; it is written when it is worth it."""
        self._fresh: list[Entry] = []
        """Of what is not on disk yet."""
        self.base = base
        self.start = GENESIS
        """The head where the segment begins."""
        self.settled = Head(base, GENESIS)
        """Of what is on disk."""
        self.is_doubtful = False
        """A sync failed: nobody knows what is in the file."""
        self._is_finished = False

    def begin(self, head: bytes) -> None:
        """Anew, from this head on. OSError when it cannot be written."""
        checked = _HEADER.pack(_MAGIC, self.base, head, 0)[:-4]
        self._files.replace(self._path, checked + zlib.crc32(checked).to_bytes(4, "big"))
        self._file.close()
        self._file = self._files.open(self._path, write=True)
        self.start, self.is_doubtful = head, False
        self._restart(Head(self.base, head), 0)

    def restore(self, end: int) -> Head | None:
        """Take up what is in the file, up to offset `end`; None when it does not say where it begins."""
        found = ChainFile(self._file, self.base)
        if found.start is None:
            return None
        self.start = found.start
        at, kept = found.up_to(end)
        self._restart(at, kept)
        if self._file.size() > self._size:  # of what is not there any more: it must not come back after a power cut
            self._file.truncate(self._size)
            self._file.sync()
        return at

    def note(self, offset: int, offsets: int, digest: bytes) -> None:
        """A batch was written."""
        self._fresh.append(Entry(offset, offsets, digest))

    def forget(self) -> None:
        """What was noted since the last `settle` is not there."""
        self._fresh.clear()

    def settle(self) -> None:
        """What was noted is on disk."""
        offset, head = self.settled
        if self._fresh and self._is_finished:
            self._is_finished = False
            self._size -= _ENTRY.size
        for entry in self._fresh:
            offset, head = entry.next_offset, entry.follow(head)
            self._waiting += entry.packed()
        self._fresh.clear()
        self.settled = Head(offset, head)
        if len(self._waiting) >= _WAITING_BYTES:
            try:
                self._write()
            except OSError as error:  # it waits on, and can be made anew from the segment
                _log.warning("%s cannot be written: %s", self._file.path, error)

    def finish(self) -> Head:
        """The segment ends here, for good: the head there. OSError when that cannot be written; try again."""
        if not self._is_finished:
            self._write()
            self._waiting += Entry(self.settled.offset, _END, self.settled.head).packed()
            try:
                self._write()
                self._file.sync()
            except OSError:
                self.is_doubtful = True
                raise
            self._is_finished = True
        return self.settled

    def close(self) -> None:
        try:
            self._write()
        except OSError as error:
            _log.warning("%s cannot be written: %s; it is made anew at the next start", self._file.path, error)
        self._file.close()

    def _restart(self, settled: Head, entries: int) -> None:
        self._size = _HEADER.size + entries * _ENTRY.size
        self._is_finished = False
        self._waiting.clear()
        self._fresh.clear()
        self.settled = settled

    def _write(self) -> None:
        """What stands behind what was written is of an earlier life, or of a write that failed."""
        if not self._waiting:
            return
        if self._file.size() > self._size:
            self._file.truncate(self._size)
        self._file.append([self._waiting])
        self._size += len(self._waiting)
        self._waiting = bytearray()
