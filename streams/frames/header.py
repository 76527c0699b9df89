"""The head of a frame: what the hub needs to know of each one, without decoding its columns."""

from __future__ import annotations

import zlib
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
    version, flags = data[2], data[3]
    if version != layout.VERSION:
        raise FrameError(f"frame refused: format version {version}; this program reads version {layout.VERSION}")
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
    _check_numbers(epoch, sequence, count, stop - at, deflated)
    manifest = int.from_bytes(data[4:8], "little")
    return FrameHeader(
        version, epoch, sequence, count, manifest, _CLOCKS[flags & layout.FLAG_CLOCK], deflated, at, stop
    )


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


def _check_numbers(epoch: int, sequence: int, count: int, body_bytes: int, deflated: bool) -> None:
    if epoch > layout.NUMBER_MAX:
        raise FrameError(f"frame refused: epoch {epoch} is over {layout.NUMBER_MAX}")
    if count > layout.READINGS_MAX:
        raise FrameError(f"frame refused: it declares {count} readings, the most is {layout.READINGS_MAX}")
    if sequence + count > layout.NUMBER_MAX:
        raise FrameError(f"frame refused: sequence {sequence} + {count} readings is over {layout.NUMBER_MAX}")
    if not deflated and count > body_bytes // layout.COLUMN_BYTES_MIN * layout.ROWS_MAX:
        raise FrameError(f"frame refused: it declares {count} readings, {body_bytes} bytes cannot hold them")


def read_body(data: Bytes, header: FrameHeader) -> Bytes:
    """The blocks of a frame, inflated if need be, never more than BODY_BYTES_MAX bytes. Raises FrameError."""
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
    return inflated
