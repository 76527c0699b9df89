"""Walks over the batches of a segment, in pieces that fit in memory.

A batch counts when its checksum is right and its base offset is the one that is due: the checksum does not cover the
base offset, but within a segment every batch begins where the one before it ended. Where one does not count, the next
boundary is looked for in this order, so that damage takes nothing else with it, and so that what a record holds, which
may look like a batch itself, is not taken for one:
* where the damaged batch says that it ends, if a header stands there with the offset that is due then;
* where it ends when a single bit of its length is wrong, if its checksum is right for that length;
* where it says that it ends, if a whole batch stands there;
* the first whole batch behind it that ends at another header, or at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
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

PIECE_BYTES = 1 << 20

_LENGTH_BITS = BATCH_BYTES_MAX.bit_length()
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
    file: File, position: int, end: int, offset: int, *, offset_end: int | None = None
) -> Iterator[Found | Damaged]:
    """Everything from `position`, where `offset` is due, to `end`: batches, and what is damaged between them.

    Offsets from `offset_end` on do not belong here.
    """
    while position < end:
        for found in scan(file, position, end, offset, offset_end=offset_end):
            position, offset = found.position + found.header.size, found.header.next_offset
            yield found
        if position == end:
            return
        stop, resume = _boundary(file, position, end, offset, offset_end)
        yield Damaged(position, stop, offset, resume)
        position, offset = stop, offset if resume is None else resume


def scan(file: File, position: int, end: int, offset: int, *, offset_end: int | None = None) -> Iterator[Found]:
    """Batches from `position` on as long as they count. Ends before the first that does not, without an error."""
    piece = PIECE_BYTES
    while position < end:
        wanted = min(piece, end - position)
        data = file.read(position, wanted)
        at = 0
        while header := read_header(data, at):
            if header.base_offset != offset or (offset_end is not None and header.next_offset > offset_end):
                return
            if at + header.size > len(data):
                break
            if not is_intact(data, at, header):
                return
            yield Found(position + at, header, data, at)
            at += header.size
            offset += header.offsets
        left = len(data) - at
        position += at
        if len(data) < wanted or position + max(HEADER_BYTES, header.size if header else 0) > end:
            return  # it ends within a batch
        if header is None and left >= HEADER_BYTES:
            return  # no batch begins here
        piece = max(PIECE_BYTES, header.size if header else 0)


def _boundary(file: File, position: int, end: int, offset: int, offset_end: int | None) -> tuple[int, int | None]:
    """Where the next batch begins behind the damage at `position`, and its base offset; (end, None): nowhere."""
    limit = offset + (end - position) // RECORD_BYTES_MIN + 1
    if offset_end is not None:
        limit = min(limit, offset_end)
    head = file.read(position, min(HEADER_BYTES, end - position))
    if len(head) < HEADER_BYTES:
        return end, None
    base, length, _, magic, crc, _, last_delta, *_ = HEADER.unpack(head)
    size, due = length + LENGTH_FROM, offset + last_delta + 1
    after = position + size
    is_sized = HEADER_BYTES <= size <= BATCH_BYTES_MAX
    if is_sized and offset < due <= limit:
        if after == end and due == offset_end:
            return end, None
        following = _header_at(file, after, end)
        if following is not None and following.base_offset == due:
            return after, due
    for bit in range(_LENGTH_BITS):
        other = size ^ 1 << bit
        if HEADER_BYTES <= other <= min(BATCH_BYTES_MAX, end - position) and offset < due <= limit:
            checked = file.read(position + CRC_FROM, other - CRC_FROM)
            if crc32c(checked) == crc:
                return position + other, due if position + other < end else None
    if is_sized and _is_whole(file, after, end, offset + 1, limit):
        return after, HEADER.unpack(file.read(after, HEADER_BYTES))[0]
    looks_right = is_sized and magic == 2 and base == offset and last_delta >= 0
    return _search(file, after if looks_right else position + 1, end, offset, limit)


def _search(file: File, position: int, end: int, offset_min: int, offset_limit: int) -> tuple[int, int | None]:
    while position + HEADER_BYTES <= end:
        data = file.read(position, min(PIECE_BYTES, end - position))
        mark = data.find(_MARK, _MARK_AT)
        while mark >= 0:
            at = mark - _MARK_AT
            header = read_header(data, at)
            if header is not None and _is_whole(file, position + at, end, offset_min, offset_limit):
                after = position + at + header.size
                following = _header_at(file, after, end)
                if after == end or (following is not None and following.base_offset == header.next_offset):
                    return position + at, header.base_offset
            mark = data.find(_MARK, mark + 1)
        if len(data) < HEADER_BYTES:
            break
        position += len(data) - HEADER_BYTES + 1
    return end, None


def _header_at(file: File, position: int, end: int) -> BatchHeader | None:
    return read_header(file.read(position, HEADER_BYTES), 0) if position + HEADER_BYTES <= end else None


def _is_whole(file: File, position: int, end: int, offset_min: int, offset_limit: int) -> bool:
    """Whether a whole batch stands at `position` whose base offset may be one of this segment."""
    header = _header_at(file, position, end)
    if header is None or not offset_min <= header.base_offset < offset_limit or position + header.size > end:
        return False
    return is_intact(file.read(position, header.size), 0, header)
