"""Walks over the batches of a segment, in pieces that fit in memory, and stops at the first that is not whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streams.files import File
from streams.log.batch import HEADER_BYTES, BatchHeader, is_intact, read_header

PIECE_BYTES = 4 << 20


class Found(NamedTuple):
    """A batch: where it stands in its file, its header, and the bytes that hold it."""

    position: int
    header: BatchHeader
    data: bytes
    at: int
    """Where the batch begins in `data`."""


def scan(file: File, position: int, end: int, *, check: bool = True) -> Iterator[Found]:
    """Batches from `position` to `end`. Ends early, without an error, before the first that is damaged or torn.

    Without `check` only headers are read, not checksums.
    """
    piece = PIECE_BYTES
    while position < end:
        data = file.read(position, min(piece, end - position))
        at = 0
        while True:
            header = read_header(data, at)
            if header is None:
                if len(data) - at >= HEADER_BYTES or position + len(data) >= end:
                    return  # no batch begins here, or the file ends within its header
                break
            if at + header.size > len(data):
                if position + at + header.size > end:
                    return
                break
            if check and not is_intact(data, at, header):
                return
            yield Found(position + at, header, data, at)
            at += header.size
        piece = PIECE_BYTES if at else max(piece, PIECE_BYTES, _size_of_first(data))
        position += at


def _size_of_first(data: bytes) -> int:
    header = read_header(data, 0)
    return header.size if header else HEADER_BYTES


def next_intact(file: File, position: int, end: int, *, offset_min: int) -> int | None:
    """The first position from `position` on where a whole batch with a plausible offset begins; None: nowhere."""
    magic_at = 16
    overlap = HEADER_BYTES
    while position < end:
        data = file.read(position, min(PIECE_BYTES, end - position))
        at = data.find(b"\x02", magic_at)
        while at >= 0:
            start = at - magic_at
            header = read_header(data, start)
            if (
                header is not None
                and header.base_offset >= offset_min
                and _is_whole(file, position + start, end, header)
            ):
                return position + start
            at = data.find(b"\x02", at + 1)
        if position + len(data) >= end:
            return None
        position += max(1, len(data) - overlap)
    return None


def _is_whole(file: File, position: int, end: int, header: BatchHeader) -> bool:
    if position + header.size > end:
        return False
    return is_intact(file.read(position, header.size), 0, header)
