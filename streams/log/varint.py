"""Zigzag varints, as Kafka's records use them (Protocol Buffers' sint64)."""

from __future__ import annotations

from functools import lru_cache

from streams.errors import CorruptError

_SHIFT_MAX = 63
_BITS_64 = (1 << 64) - 1


@lru_cache(maxsize=1 << 14)
def varint(value: int) -> bytes:
    """A signed 64-bit number. Lengths and deltas come again and again, so they are remembered."""
    number = value << 1 ^ value >> 63
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """The number at `at` and the position after it. CorruptError when it does not end before `end`, or in 64 bits."""
    if at < end:
        byte = data[at]
        if byte < 0x80:
            return byte >> 1 ^ -(byte & 1), at + 1
    number = shift = 0
    while at < end and shift <= _SHIFT_MAX:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number > _BITS_64:
                break
            return number >> 1 ^ -(number & 1), at
        shift += 7
    raise CorruptError("a number in a record does not end")
