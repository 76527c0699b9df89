"""Files from devices, in parts that fit into messages: a line of JSON that says which part it is, then bytes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from streams.errors import JunkError

PART_BYTES = 64 << 10
FILE_BYTES_MAX = 4 << 20
_HEAD_BYTES_MAX = 1024
_KEY_LENGTH_MAX = 128


class Part(NamedTuple):
    """One part of the file `key`; `crc32` is of the whole file."""

    key: str
    part: int
    parts: int
    size: int
    crc32: int
    data: bytes


def split(key: str, data: bytes) -> Iterator[bytes]:
    """The messages that make up a file of at most FILE_BYTES_MAX bytes."""
    assert len(data) <= FILE_BYTES_MAX, "bounded by who makes it"
    parts = max(1, -(-len(data) // PART_BYTES))
    for part in range(parts):
        head = {"key": key, "part": part, "parts": parts, "size": len(data), "crc32": zlib.crc32(data)}
        yield json.dumps(head).encode() + b"\n" + data[part * PART_BYTES : (part + 1) * PART_BYTES]


def read_part(payload: bytes) -> Part:
    """Take a message apart. JunkError when it is none."""
    line, newline, data = payload[: _HEAD_BYTES_MAX + PART_BYTES + 1].partition(b"\n")
    if not newline or len(line) > _HEAD_BYTES_MAX or len(payload) > len(line) + 1 + PART_BYTES:
        raise JunkError("an upload must begin with a line of JSON, and hold at most 64 KiB after it")
    try:
        head = json.loads(line)
        key = head["key"]
        part, parts, size, crc32 = (head[name] for name in ("part", "parts", "size", "crc32"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise JunkError("the first line of an upload must have key, part, parts, size and crc32") from None
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_LENGTH_MAX:
        raise JunkError(f"the key of an upload must be text of 1 to {_KEY_LENGTH_MAX} characters, not {key!r:.80}")
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in (part, parts, size, crc32)):
        raise JunkError("part, parts, size and crc32 of an upload must be whole numbers")
    if not 0 <= size <= FILE_BYTES_MAX or parts != max(1, -(-size // PART_BYTES)) or not 0 <= part < parts:
        raise JunkError(f"part {part} of {parts} of a file of {size} bytes cannot be")
    if len(data) != min(PART_BYTES, size - part * PART_BYTES):
        raise JunkError(f"part {part} of {parts} has {len(data)} bytes, which is not what {size} bytes are split into")
    return Part(key, part, parts, size, crc32, data)


def join(parts: dict[int, Part]) -> bytes | None:
    """The file, when every part is there; None when not. JunkError when its checksum is wrong."""
    first = next(iter(parts.values()), None)
    if first is None or len(parts) < first.parts:
        return None
    data = b"".join(parts[number].data for number in range(first.parts))
    if zlib.crc32(data) != first.crc32:
        raise JunkError(f"the checksum of {first.key} is wrong")
    return data
