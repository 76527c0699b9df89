"""CRC-32C (Castagnoli), as Kafka's batches carry it: by a compiled package where there is one, else by table."""

from __future__ import annotations

from collections.abc import Callable
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


def _compiled() -> Callable[..., int] | None:
    try:
        from crc32c import crc32c
    except ImportError:
        return None
    # It is done in microseconds; who lets go of Python's lock may wait 5 ms until a busy thread gives it back.
    return partial(crc32c, gil_release_mode=0)


crc32c: Callable[..., int] = _compiled() or crc32c_plain
