"""Walks over the batches of a segment, in pieces that fit in memory.

A batch counts when its checksum is right and its base offset is the one that is due: the checksum does not cover the
base offset, but within a segment every batch begins where the one before it ended. Where one does not count, the next
boundary is looked for in this order, so that damage takes nothing else with it, and so that what a record holds, which
may look like a batch itself, is not taken for one:
* where the damaged batch says that it ends, if a header with the offset due then stands there, or a whole batch;
* where it ends when one bit of its length is wrong, if its checksum is right for that length;
* the first whole batch behind it that ends where a header with the next offset stands, or at the end; but this not in
  what may be torn.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from streams.files import File
from streams.log.batch import (
    BATCH_BYTES_MAX,
    CRC_FROM,
    HEADER,
    HEADER_BYTES,
    LENGTH_FROM,
    RECORD_BYTES_MIN,
    BatchHeader,
    is_intact,
    read_header,
)
from streams.log.checksum import crc32c
from streams.log.durable import Durable, trusted_bytes

PIECE_BYTES = 1 << 20

_LENGTH_BITS = 32
_new = tuple.__new__  # makes a NamedTuple twice as fast as its own constructor
_MARK = bytes(4) + b"\x02"  # leader epoch and magic, as every batch of a log has them
_MARK_AT = 12


class Found(NamedTuple):
    """A batch: where it stands in its file, its header, and the bytes that hold it."""

    position: int
    header: BatchHeader
    data: bytes
    at: int
    """Where the batch begins in `data`."""


class Damaged(NamedTuple):
    """Bytes of a file that hold no batch that counts."""

    position: int
    stop: int
    offset: int
    """The offset that was due."""
    resume: int | None
    """The offset that is due at `stop`; None when no batch is known to follow."""


def walk(
    file: File, position: int, end: int, offset: int, *, offset_end: int | None = None, may_be_torn: bool = False
) -> Iterator[Found | Damaged]:
    """Everything from `position`, where `offset` is due, to `end`: batches, and what is damaged between them.

    Offsets from `offset_end` on do not belong here. `may_be_torn`: this was perhaps never wholly written, so that a
    record that looks like a batch may stand there without its own batch around it.
    """
    while position < end:
        position, offset = yield from scan(file, position, end, offset, offset_end=offset_end)
        if position == end:
            return
        stop, resume = _boundary(file, position, end, offset, offset_end, may_search=not may_be_torn)
        yield Damaged(position, stop, offset, resume)
        position, offset = stop, offset if resume is None else resume


def walk_segment(
    file: File, base: int, position: int, size: int, offset: int, following: int | None, point: Durable | None
) -> Iterator[Found | Damaged]:
    """A segment from `position` on. What stands behind the durable point of the last one may be torn."""
    if following is not None or point is None:
        yield from walk(file, position, size, offset, offset_end=following)
        return
    trusted = trusted_bytes(base, size, point)
    yield from walk(file, position, trusted, offset, offset_end=point.end)
    yield from walk(file, trusted, size, point.end if trusted else base, may_be_torn=True)


def scan(
    file: File, position: int, end: int, offset: int, *, offset_end: int | None = None
) -> Generator[Found, None, tuple[int, int]]:
    """Batches from `position` on as long as they count; returns where the first does not begin, and the offset due."""
    piece = PIECE_BYTES
    while position < end:
        wanted = min(piece, end - position)
        data = file.read(position, wanted)
        view, at = memoryview(data), 0
        while header := read_header(data, at):
            next_offset, stop = offset + header[4], at + header[1]
            if header[0] != offset or (offset_end is not None and next_offset > offset_end):
                return position + at, offset
            if stop > len(data):
                break
            if crc32c(view[at + CRC_FROM : stop]) != header[2]:
                return position + at, offset
            yield _new(Found, (position + at, header, data, at))
            at, offset = stop, next_offset
        left = len(data) - at
        position += at
        if len(data) < wanted or position + max(HEADER_BYTES, header.size if header else 0) > end:
            break  # it ends within a batch
        if header is None and left >= HEADER_BYTES:
            break  # no batch begins here
        piece = max(PIECE_BYTES, header.size if header else 0)
    return position, offset


def _boundary(
    file: File, position: int, end: int, offset: int, offset_end: int | None, *, may_search: bool
) -> tuple[int, int | None]:
    """Where the next batch begins behind the damage at `position`, and the offset due there; (end, None): nowhere."""
    head = file.read(position, min(HEADER_BYTES, end - position))
    if len(head) < HEADER_BYTES:
        return end, None
    _, length, _, _, crc, _, last_delta, *_, count = HEADER.unpack(head)
    size, dues = length + LENGTH_FROM, (offset + last_delta + 1, offset + count)
    limit = offset + (end - position) // RECORD_BYTES_MIN + 1
    if offset_end is not None:
        limit = min(limit, offset_end)
    due = dues[0] if offset < dues[0] <= limit else None
    is_sized = HEADER_BYTES <= size <= BATCH_BYTES_MAX
    after = position + size
    if is_sized:
        if after == end and offset_end in dues:
            return end, None
        following = _header_at(file, after, end)
        if following is not None:
            if following.base_offset in dues and following.base_offset <= limit:
                return after, following.base_offset
            if _is_whole(file, after, end, following):
                if due is not None and dues[0] == dues[1]:
                    return after, due
                if offset < following.base_offset < limit:
                    return after, following.base_offset
    if due is not None and (true_size := _size_by_checksum(file, position, end, size, crc)):
        return position + true_size, due if position + true_size < end else None
    return _search(file, position + 1, end, offset, limit) if may_search else (end, None)


def _size_by_checksum(file: File, position: int, end: int, size: int, crc: int) -> int | None:
    """The size of a batch whose declared size has one wrong bit; None when it is not so."""
    for bit in range(_LENGTH_BITS):
        other = (size - LENGTH_FROM & 0xFFFFFFFF ^ 1 << bit) + LENGTH_FROM
        if (
            HEADER_BYTES <= other <= min(BATCH_BYTES_MAX, end - position)
            and crc32c(file.read(position + CRC_FROM, other - CRC_FROM)) == crc
        ):
            return other
    return None


def _search(file: File, position: int, end: int, offset_min: int, offset_limit: int) -> tuple[int, int | None]:
    while position + HEADER_BYTES <= end:
        data = file.read(position, min(PIECE_BYTES, end - position))
        mark = data.find(_MARK, _MARK_AT)
        while mark >= 0:
            at = mark - _MARK_AT
            header = read_header(data, at)
            if header is not None and offset_min <= header.base_offset < offset_limit:
                after = position + at + header.size
                following = _header_at(file, after, end)
                is_followed = following is not None and following.base_offset == header.next_offset
                if (is_followed or after == end) and _is_whole(file, position + at, end, header):
                    return position + at, header.base_offset
            mark = data.find(_MARK, mark + 1)
        if len(data) < HEADER_BYTES:
            break
        position += len(data) - HEADER_BYTES + 1
    return end, None


def _header_at(file: File, position: int, end: int) -> BatchHeader | None:
    return read_header(file.read(position, HEADER_BYTES), 0) if position + HEADER_BYTES <= end else None


def _is_whole(file: File, position: int, end: int, header: BatchHeader) -> bool:
    return position + header.size <= end and is_intact(file.read(position, header.size), 0, header)
