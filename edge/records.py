"""Checked records in a file that is only appended to: length, CRC-32, payload. Shared by the journal and the inbox.

A file may end in the middle of a record, when the power went or the disk was full: that torn tail is cut and no more.
A record that is damaged with intact ones behind it is something else, and is told apart.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

_HEAD = struct.Struct("<II")
RECORD_BYTES_MAX = 4 * 1024 * 1024
OVERHEAD_BYTES = _HEAD.size


class Scan(NamedTuple):
    """What a file held."""

    payloads: list[bytes]
    good_bytes: int
    """Where the intact records from the beginning end."""
    lost_bytes: int
    """What follows them and cannot be read."""
    later: list[bytes]
    """Intact records after the damage: not a torn tail, when there are any."""


def pack_record(payload: bytes) -> bytes:
    """The bytes to append for one record."""
    if not 0 < len(payload) <= RECORD_BYTES_MAX:
        raise ValueError(f"a record holds 1 to {RECORD_BYTES_MAX} bytes, not {len(payload)}")
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def scan_records(data: bytes) -> Scan:
    """Read all intact records from the beginning, and say what follows."""
    payloads: list[bytes] = []
    at = 0
    while (payload := _record_at(data, at)) is not None:
        payloads.append(payload)
        at += _HEAD.size + len(payload)
    return Scan(payloads, at, len(data) - at, _later(data, at + 1))


def _record_at(data: bytes, at: int) -> bytes | None:
    if at + _HEAD.size > len(data):
        return None
    size, checksum = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + size
    if not 0 < size <= RECORD_BYTES_MAX or end > len(data):
        return None
    payload = data[at + _HEAD.size : end]
    return payload if zlib.crc32(payload) == checksum else None


def _later(data: bytes, at: int) -> list[bytes]:
    found = []
    while at + _HEAD.size < len(data):
        if (payload := _record_at(data, at)) is None:
            at += 1
            continue
        found.append(payload)
        at += _HEAD.size + len(payload)
    return found
