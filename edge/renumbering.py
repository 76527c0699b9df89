"""A frame under other numbers: the same blocks behind a new head. Pure."""

from __future__ import annotations

import zlib

from streams.frames import layout, read_header
from streams.frames.varint import put_unsigned

_NUMBERS_AT = 8
"""Magic, version, flags and manifest stand before epoch, sequence and count (docs/frame-format.md)."""


def renumbered(payload: bytes, *, epoch: int, sequence: int) -> bytes:
    """The readings of a frame as [sequence, sequence + count) of `epoch`. FrameError when it is damaged."""
    header = read_header(payload)
    made = bytearray(payload[:_NUMBERS_AT])
    for number in (epoch, sequence, header.count):
        put_unsigned(made, number)
    made += payload[header.body_start : header.body_stop]
    return bytes(made + zlib.crc32(made).to_bytes(layout.CRC_BYTES, "little"))
