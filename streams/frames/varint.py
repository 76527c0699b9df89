"""Variable-length numbers: 7 bits a byte, lowest first, the high bit says that more follow; at most 64 bits."""

from __future__ import annotations

MASK = (1 << 64) - 1


def put_unsigned(out: bytearray, number: int) -> None:
    """Append `number`, 0 .. 2**64 - 1."""
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def put_signed(out: bytearray, number: int) -> None:
    """Append a number of int64 (or one that is meant modulo 2**64), small magnitudes first."""
    put_unsigned(out, zigzag(wrap(number)))


def zigzag(number: int) -> int:
    """0, -1, 1, -2 ... -> 0, 1, 2, 3 ...; `number` must be of int64."""
    return number << 1 if number >= 0 else ~(number << 1)


def unzigzag(code: int) -> int:
    return (code >> 1) ^ -(code & 1)


def wrap(number: int) -> int:
    """`number` modulo 2**64, as an int64."""
    number &= MASK
    return number - (1 << 64) if number >> 63 else number
