"""The head of a frame: what the hub needs to know of each one, without decoding its columns.

The magic and the version byte behind it never change; what follows is read by the functions of that version. Those of
an older version give header and blocks as the present version has them, so that the decoders know the present alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

from streams.frames import layout
from streams.frames.fault import FrameError
from streams.frames.frame import ClockQuality

Bytes = bytes | bytearray | memoryview

_CLOCKS = tuple(ClockQuality)


class FrameHeader(NamedTuple):
    """The header of a frame whose checksum was right. Its readings are [sequence, sequence + count)."""

    version: int
    epoch: int
    sequence: int
    count: int  # type: ignore[assignment]  # a field of this name hides tuple.count, which nobody needs here
    manifest: int
    clock_quality: ClockQuality
    deflated: bool
    body_start: int
    """Where the blocks begin."""
    body_stop: int
    """Where they end: the place of the checksum."""


def read_header(data: Bytes) -> FrameHeader:
    """Check a frame from the outside: size, magic, version, flags, CRC-32, and whether its count is possible.

    Raises FrameError with a sentence. What is inside the blocks is for the decoders to check.
    """
    size = len(data)
    stop = size - layout.CRC_BYTES
    if size > layout.FRAME_BYTES_MAX:
        raise FrameError(f"frame refused: {size} bytes, the most is {layout.FRAME_BYTES_MAX}")
    if stop < layout.HEADER_BYTES_MIN:
        raise FrameError(f"frame refused: {size} bytes are too few for a header and a checksum")
    if data[0] != 0xFE or data[1] != 0x50:
        raise FrameError(f"frame refused: it begins with {bytes(data[:2]).hex()}, a frame with {layout.MAGIC.hex()}")
    version = FORMATS.get(data[2])
    if version is None:
        known = " and ".join(map(str, sorted(FORMATS)))
        raise FrameError(f"frame refused: format version {data[2]}; this program reads version {known}")
    return version.read_header(data)


def read_body(data: Bytes, header: FrameHeader) -> Bytes:
    """The blocks of a frame as the present version writes them, at most BODY_BYTES_MAX bytes. Raises FrameError."""
    return FORMATS[header.version].read_body(data, header)


def _read_header_1(data: Bytes) -> FrameHeader:
    stop, flags = len(data) - layout.CRC_BYTES, data[3]
    if flags & ~layout.FLAGS_KNOWN:
        raise FrameError(f"frame refused: unknown flags {flags:#04x}")
    declared = int.from_bytes(data[stop:], "little")
    actual = zlib.crc32(memoryview(data)[:stop])
    if declared != actual:
        raise FrameError(f"frame refused: its checksum is {actual:08x}, it says {declared:08x}; it was damaged")
    epoch, at = _number(data, 8, stop)
    sequence, at = _number(data, at, stop)
    count, at = _number(data, at, stop)
    deflated = flags & layout.FLAG_DEFLATED != 0
    _check_numbers(epoch, sequence, count)
    if not deflated:
        _check_room(count, stop - at)
    manifest = int.from_bytes(data[4:8], "little")
    return FrameHeader(1, epoch, sequence, count, manifest, _CLOCKS[flags & layout.FLAG_CLOCK], deflated, at, stop)


def _number(data: Bytes, at: int, stop: int) -> tuple[int, int]:
    number = shift = 0
    while at < stop:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            if number >> 64:
                break
            return number, at
        shift += 7
        if shift > 63:
            break
    raise FrameError("frame refused: a number in its header does not end, or does not fit 64 bits")


def _check_numbers(epoch: int, sequence: int, count: int) -> None:
    if epoch > layout.NUMBER_MAX:
        raise FrameError(f"frame refused: epoch {epoch} is over {layout.NUMBER_MAX}")
    if count > layout.READINGS_MAX:
        raise FrameError(f"frame refused: it declares {count} readings, the most is {layout.READINGS_MAX}")
    if sequence + count > layout.NUMBER_MAX:
        raise FrameError(f"frame refused: sequence {sequence} + {count} readings is over {layout.NUMBER_MAX}")


def _check_room(count: int, body_bytes: int) -> None:
    """Can blocks of this size hold so many readings? Even a column that never changes takes a few bytes."""
    if count > body_bytes // layout.COLUMN_BYTES_MIN * layout.ROWS_MAX:
        raise FrameError(f"frame refused: it declares {count} readings, {body_bytes} bytes cannot hold them")


def _read_body_1(data: Bytes, header: FrameHeader) -> Bytes:
    body = memoryview(data)[header.body_start : header.body_stop]
    if not header.deflated:
        return body
    size, at = _number(body, 0, len(body))
    if size > layout.BODY_BYTES_MAX:
        raise FrameError(f"frame refused: its blocks inflate to {size} bytes, the most is {layout.BODY_BYTES_MAX}")
    inflater = zlib.decompressobj(-15)
    try:
        inflated = inflater.decompress(body[at:], size + 1)
    except zlib.error:
        raise FrameError("frame refused: its blocks are not raw deflate") from None
    if len(inflated) != size or not inflater.eof or inflater.unused_data:
        raise FrameError(f"frame refused: its blocks do not inflate to the {size} bytes that it declares")
    _check_room(header.count, size)
    return inflated


class Format(NamedTuple):
    """How one version is read. Both raise FrameError."""

    read_header: Callable[[Bytes], FrameHeader]
    """Given only what has the magic, this version, and a size that can be."""
    read_body: Callable[[Bytes, FrameHeader], Bytes]
    """Blocks as the present version writes them, at most BODY_BYTES_MAX bytes."""


FORMATS = {layout.VERSION: Format(_read_header_1, _read_body_1)}
"""By version: the present one, and the one before it once there is one."""
