"""CRC-32C (Castagnoli), as Kafka's batches carry it: by a compiled package where there is one, else by table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

Buffer = bytes | bytearray | memoryview

_POLYNOMIAL = 0x82F63B78  # reversed


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c_plain(data: Buffer, value: int = 0) -> int:
    """The checksum, a byte at a time: about 10 MB/s, enough for a spool on a machine without the package.

    `value` is the checksum of what comes before `data`.
    """
    crc = value ^ 0xFFFFFFFF
    for byte in bytes(data):
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def crc32c_of_plain(parts: Iterable[Buffer]) -> int:
    """The checksum of parts one after the other."""
    value = 0
    for part in parts:
        value = crc32c_plain(part, value)
    return value


def _compiled() -> tuple[Callable[..., int], Callable[[Iterable[Buffer]], int]] | None:
    try:
        from crc32c import crc32c
    except ImportError:
        return None

    # It is done in microseconds; who lets go of Python's lock may wait 5 ms until a busy thread gives it back.
    def crc32c_of(parts: Iterable[Buffer]) -> int:
        value = 0
        for part in parts:
            value = crc32c(part, value, 0)
        return value

    return partial(crc32c, gil_release_mode=0), crc32c_of


crc32c: Callable[..., int]
crc32c_of: Callable[[Iterable[Buffer]], int]
crc32c, crc32c_of = _compiled() or (crc32c_plain, crc32c_of_plain)
