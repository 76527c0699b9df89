"""Frames of a few kilobytes that ask for gigabytes: what a hostile device could send with a right checksum."""

from __future__ import annotations

import zlib

from tests.streams.frame_samples import sealed, uvarint

ROWS = uvarint(65_536) + b"\x01" + b"\x09\x00\x00"  # a block of 65,536 equal times and one column
CONSTANT = ROWS + b"\x07\x3a\x00\x02"

READINGS = 3 << 20
"""What the frames hold that are frames."""


def deflated(body: bytes, count: int, *, declared: int | None = None) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    size = uvarint(len(body) if declared is None else declared)
    return sealed(size + deflater.compress(body) + deflater.flush(), count=count, flags=4)


def bombs() -> list[bytes]:
    """All of them; the first three are good frames of a million readings in 200 bytes, all others must be refused."""
    million = sealed(CONSTANT * 16, count=1 << 20)
    return [
        million,
        million,
        million,
        sealed(CONSTANT * 17, count=17 << 16),
        sealed(CONSTANT * 2 + ROWS + b"\x07\x3b\x00\x04", count=3 << 16),  # the last column is wrong
        sealed(uvarint(65_536) * 2 + b"\x09\x00\x00" + bytes(99), count=1 << 20),
        sealed(uvarint(65_536) + uvarint(1 << 63) + b"\x09\x00\x00" + bytes(99), count=1 << 20),
        sealed(uvarint((1 << 64) - 1) * 2 + b"\x09\x00\x00" + bytes(99), count=1 << 20),
        sealed(b"\x01\x01\x09\x00\x00\x07\x3a\x00\x00", count=(1 << 63) - 2),
        sealed(ROWS + b"\x07\x3a\x7c\x00\x40" + bytes(64), count=65_536),  # 64 bits a row, that are not there
        sealed(ROWS + b"\x07\x3c" + uvarint(65_536) + bytes(99), count=65_536),  # a dictionary that is not there
        sealed(ROWS + b"\x07\x3c\x01" + uvarint((1 << 64) - 1) + bytes(99), count=65_536),  # nor a text
        sealed(ROWS + b"\x07\x40\x00\x00" + b"\x00\x0a", count=65_536),  # 65,536 literals that are not there
        deflated(bytes(20 << 20), 1),
        deflated(bytes(20 << 20), 1, declared=1 << 20),
        deflated(bytes(1 << 20), 1),  # half a million empty blocks
        deflated((b"\x00" + uvarint(65_536) + b"\x07\x3a" * 65_536) * 7, 0),  # half a million empty columns
        deflated((b"\x00" + uvarint(512) + b"\x07\x3a" * 512) * 500, 0),
        deflated(CONSTANT + bytes(1 << 19), 1 << 16),
    ]


BOMBS = bombs()
REFUSED = len(BOMBS) - 3
