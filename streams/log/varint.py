"""Zigzag varints, as Kafka's records use them (Protocol Buffers' sint64)."""

from __future__ import annotations

from streams.errors import CorruptError

_SHIFT_MAX = 63


def write_varint(out: bytearray, value: int) -> None:
    """Append a signed 64-bit number."""
    number = value << 1 ^ value >> 63
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def varint(value: int) -> bytes:
    out = bytearray()
    write_varint(out, value)
    return bytes(out)


def read_varint(data: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """The number at `at` and the position after it. CorruptError when it does not end before `end`."""
    number = shift = 0
    while at < end and shift <= _SHIFT_MAX:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number >> 1 ^ -(number & 1), at
        shift += 7
    raise CorruptError("a number in a record does not end")
