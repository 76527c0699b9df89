"""The records of a batch, as they stand behind its header.

    length               varint  bytes of the record after this field
    attributes           int8    0
    timestamp delta      varint  ms, from the batch's first timestamp
    offset delta         varint  from the batch's base offset
    key, value           varint length (-1: none) and bytes
    headers              varint count, then name and value of each, both with a varint length

Source: the Apache Kafka protocol guide, "Record".
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.errors import CorruptError
from streams.files import Buffer
from streams.log.varint import read_varint, varint
from streams.record import Header, NewRecord, Record

_NONE = varint(-1)
_NO_HEADERS = varint(0)
_LARGE_BYTES = 1024


class EncodedRecords:
    """Records one after the other, their offsets counted from 0, in parts: a large value is one, and is not copied."""

    __slots__ = ("_parts", "_run", "count", "first_ms", "newest_ms")

    def __init__(self) -> None:
        self._parts: list[Buffer] = []
        self._run = bytearray()
        self.count = 0
        self.first_ms = self.newest_ms = 0

    def add(self, records: Sequence[NewRecord]) -> None:
        """Records that were checked: keys and values are bytes, times from 1970 on."""
        if not self.count:
            self.first_ms = self.newest_ms = records[0].timestamp_ms
        for record in records:
            key, value, time_ms = record.key, record.value, record.timestamp_ms
            if time_ms > self.newest_ms:
                self.newest_ms = time_ms
            head = b"\x00" + varint(time_ms - self.first_ms) + varint(self.count)
            head += _NONE if key is None else varint(len(key)) + key
            tail = _encode_headers(record.headers) if record.headers else _NO_HEADERS
            self.count += 1
            if value is None:
                self._run += varint(len(head) + 1 + len(tail)) + head + _NONE + tail
                continue
            size = len(value)
            head += varint(size)
            self._run += varint(len(head) + size + len(tail)) + head
            if size < _LARGE_BYTES:
                self._run += value
                self._run += tail
            else:
                self._parts += (self._run, value)
                self._run = bytearray(tail)

    def parts(self) -> list[Buffer]:
        return [*self._parts, self._run]


def _encode_headers(headers: Sequence[Header]) -> bytes:
    parts = [varint(len(headers))]
    for name, value in headers:
        encoded = name.encode()
        parts += (varint(len(encoded)), encoded, varint(len(value)), value)
    return b"".join(parts)


def decode_records(
    data: bytes | memoryview, at: int, end: int, *, count: int, base_offset: int, offsets: int, first_timestamp_ms: int
) -> list[Record]:
    """`count` records that fill `data` from `at` to `end`, with growing offsets among the `offsets` of their batch.

    CorruptError when they do not. What they declare is held against the bytes that are there before it is believed.
    """
    records: list[Record] = []
    next_delta = 0
    for _ in range(count):
        length, at = read_varint(data, at, end)
        stop = at + length
        if length < 1 or stop > end:
            raise CorruptError(f"a record declares {length} bytes where {end - at} are left")
        time_delta, at = read_varint(data, at + 1, stop)  # behind its attributes, which mean nothing yet
        delta, at = read_varint(data, at, stop)
        if not next_delta <= delta < offsets:
            raise CorruptError(
                f"a record has offset {delta} in its batch, which should be {next_delta} to {offsets - 1}"
            )
        next_delta = delta + 1
        key, at = _decode_bytes(data, at, stop)
        value, at = _decode_bytes(data, at, stop)
        headers: tuple[Header, ...] = ()
        header_count, at = read_varint(data, at, stop)
        if header_count:
            headers, at = _decode_headers(data, at, stop, header_count)
        if at != stop:
            raise CorruptError(f"a record ends {stop - at} bytes before it says")
        records.append(Record(base_offset + delta, key, value, first_timestamp_ms + time_delta, headers))
    if at != end:
        raise CorruptError(f"{end - at} bytes follow the last record")
    return records


def _decode_headers(data: bytes | memoryview, at: int, stop: int, count: int) -> tuple[tuple[Header, ...], int]:
    if not 0 < count <= stop - at:
        raise CorruptError(f"a record declares {count} headers in {stop - at} bytes")
    headers: list[Header] = []
    for _ in range(count):
        name, at = _decode_bytes(data, at, stop)
        value, at = _decode_bytes(data, at, stop)
        headers.append(((name or b"").decode("utf-8", "replace"), value or b""))
    return tuple(headers), at


def _decode_bytes(data: bytes | memoryview, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = read_varint(data, at, end)
    if length < 0:
        return None, at
    stop = at + length
    if stop > end:
        raise CorruptError(f"a field declares {length} bytes where {end - at} are left")
    return bytes(data[at:stop]), stop
