"""Kafka's RecordBatch, version 2 (magic 2): the unit that is written, checked and read.

    base offset          int64   written in place when the batch gets its offset; outside the checksum
    batch length         int32   bytes after this field
    leader epoch         int32   0; outside the checksum
    magic                int8    2
    crc                  uint32  CRC-32C of all that follows
    attributes           int16   0: not compressed, time of creation
    last offset delta    int32   records - 1
    first timestamp      int64   ms
    max timestamp        int64   ms
    producer id, epoch, base sequence   int64, int16, int32   -1: none
    records              int32   count, then the records

Source: the Apache Kafka protocol guide, "Record Batch".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from streams.errors import CorruptError, MisuseError
from streams.log.checksum import crc32c
from streams.log.varint import read_varint, varint, write_varint
from streams.record import NewRecord, Record

HEADER_BYTES = 61
BATCH_BYTES_MAX = 32 << 20
OFFSET = struct.Struct(">q")

_FRAME = struct.Struct(">iibI")  # batch length, leader epoch, magic, crc
_BODY = struct.Struct(">hiqqqhii")  # attributes .. record count
_HEADER = struct.Struct(">qiibIhiqqqhii")
_CRC_FROM = 21  # the checksum covers everything after itself
_LENGTH_FROM = 12
_CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


class BatchHeader(NamedTuple):
    """What stands before the records of a batch."""

    base_offset: int
    size: int
    """Bytes of the whole batch."""
    crc: int
    attributes: int
    offsets: int
    """How many offsets it takes."""
    first_timestamp_ms: int
    max_timestamp_ms: int
    records: int

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.offsets


def encode_batch(records: Sequence[NewRecord]) -> bytes:
    """A batch without its base offset (the first 8 bytes): that is put before it when it is written."""
    first = records[0].timestamp_ms
    body = bytearray()
    newest = first
    for index, record in enumerate(records):
        newest = max(newest, record.timestamp_ms)
        _encode_record(body, record, record.timestamp_ms - first, index)
    count = len(records)
    head = _BODY.pack(0, count - 1, first, newest, -1, -1, -1, count)
    size = HEADER_BYTES + len(body)
    if size > BATCH_BYTES_MAX:
        raise MisuseError(
            f"a batch of {size} bytes is above the limit of {BATCH_BYTES_MAX}; append fewer records at once"
        )
    checked = head + body
    return _FRAME.pack(size - _LENGTH_FROM, 0, 2, crc32c(checked)) + checked


def _encode_record(out: bytearray, record: NewRecord, time_delta: int, offset_delta: int) -> None:
    key, value = record.key, record.value
    head = bytearray(b"\x00")  # attributes
    write_varint(head, time_delta)
    write_varint(head, offset_delta)
    if key is None:
        head.append(1)  # -1
    else:
        write_varint(head, len(key))
        head += key
    write_varint(head, -1 if value is None else len(value))
    tail = bytearray()
    write_varint(tail, len(record.headers))
    for name, content in record.headers:
        encoded = name.encode()
        tail += varint(len(encoded)) + encoded + varint(len(content)) + content
    write_varint(out, len(head) + len(value or b"") + len(tail))
    out += head
    if value:
        out += value
    out += tail


def read_header(data: bytes | memoryview, at: int) -> BatchHeader | None:
    """The header at `at`; None when the bytes cannot be one. Does not check the checksum."""
    if len(data) - at < HEADER_BYTES:
        return None
    (base, length, _epoch, magic, crc, attributes, last_delta, first, newest, _pid, _pepoch, _seq, count) = (
        _HEADER.unpack_from(data, at)
    )
    size = length + _LENGTH_FROM
    if magic != 2 or base < 0 or not HEADER_BYTES <= size <= BATCH_BYTES_MAX or last_delta < 0 or count < 0:
        return None
    return BatchHeader(base, size, crc, attributes, last_delta + 1, first, newest, count)


def is_intact(data: bytes | memoryview, at: int, header: BatchHeader) -> bool:
    """Whether the whole batch is there and its checksum is right."""
    end = at + header.size
    return end <= len(data) and crc32c(memoryview(data)[at + _CRC_FROM : end]) == header.crc


def decode_batch(data: bytes | memoryview, at: int, header: BatchHeader) -> list[Record]:
    """The records of an intact batch. CorruptError when they do not fit it."""
    codec = header.attributes & 7
    if codec:
        name = _CODECS.get(codec, f"codec {codec}")
        raise CorruptError(
            f"the batch at offset {header.base_offset} is compressed with {name}, which is not read here yet"
        )
    end = at + header.size
    position = at + HEADER_BYTES
    records = []
    for _ in range(header.records):
        record, position = _decode_record(data, position, end, header)
        records.append(record)
    if position != end:
        raise CorruptError(
            f"the batch at offset {header.base_offset} holds {end - position} bytes after its last record"
        )
    return records


def _decode_record(data: bytes | memoryview, at: int, end: int, header: BatchHeader) -> tuple[Record, int]:
    length, at = read_varint(data, at, end)
    stop = at + length
    if length < 0 or stop > end:
        raise CorruptError(f"a record of the batch at offset {header.base_offset} is longer than the batch")
    at += 1  # attributes
    time_delta, at = read_varint(data, at, stop)
    offset_delta, at = read_varint(data, at, stop)
    key, at = _decode_bytes(data, at, stop)
    value, at = _decode_bytes(data, at, stop)
    count, at = read_varint(data, at, stop)
    if not 0 <= count <= stop - at:
        raise CorruptError(f"a record of the batch at offset {header.base_offset} declares {count} headers")
    headers = []
    for _ in range(count):
        name, at = _decode_bytes(data, at, stop)
        content, at = _decode_bytes(data, at, stop)
        headers.append(((name or b"").decode("utf-8", "replace"), content or b""))
    if at != stop:
        raise CorruptError(f"a record of the batch at offset {header.base_offset} does not end where it says")
    offset = header.base_offset + offset_delta
    return Record(offset, key, value, header.first_timestamp_ms + time_delta, tuple(headers)), stop


def _decode_bytes(data: bytes | memoryview, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = read_varint(data, at, end)
    if length < 0:
        return None, at
    if at + length > end:
        raise CorruptError("a field of a record is longer than the record")
    return bytes(data[at : at + length]), at + length
