"""Kafka's RecordBatch, version 2 (magic 2): the unit that is written, checked and read.

    base offset          int64   written in place when the batch gets its offset; outside the checksum
    batch length         int32   bytes after this field
    leader epoch         int32   0; outside the checksum
    magic                int8    2
    crc                  uint32  CRC-32C of all that follows
    attributes           int16   bits 0-2: compression, bit 3: the log's time of append, 4: transactional, 5: control
    last offset delta    int32   records - 1
    first timestamp      int64   ms
    max timestamp        int64   ms
    producer id, epoch, base sequence   int64, int16, int32   -1: none
    records              int32   count, then the records (streams/log/records.py)

Source: the Apache Kafka protocol guide, "Record Batch".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from streams.errors import CorruptError, JunkError
from streams.files import Buffer
from streams.log.checksum import crc32c, crc32c_of
from streams.log.codecs import unpack
from streams.log.records import EncodedRecords, decode_records
from streams.record import NewRecord, Record

HEADER_BYTES = 61
BATCH_BYTES_MAX = 32 << 20
RECORD_BYTES_MIN = 7
TIMESTAMP_MS_MAX = (1 << 63) - 1
OFFSET = struct.Struct(">q")
LENGTH_FROM = 12
"""The batch length counts the bytes from here on."""
HEADER = struct.Struct(">qiibIhiqqqhii")
_NEEDED = struct.Struct(">qi4xbIhiqq14xi")  # the same without what means nothing here
_new = tuple.__new__  # makes a NamedTuple twice as fast as its own constructor

_FRAME = struct.Struct(">iibI")  # batch length, leader epoch, magic, crc
_CHECKED = struct.Struct(">hiqqqhii")  # attributes .. record count
CRC_FROM = 21
"""The checksum covers the bytes from here on."""
_CODEC = 0b111
_LOG_APPEND_TIME = 0b1000
_TRANSACTIONAL = 0b10000
_CONTROL = 0b100000


class NewBatch(NamedTuple):
    """A batch that waits for its base offset, which is put before it."""

    head: bytes
    """The header behind the base offset."""
    parts: Sequence[Buffer]
    """Its records, one part after the other: large values are not copied."""
    size: int
    """Bytes of the whole batch."""
    offsets: int
    max_timestamp_ms: int

    @property
    def records(self) -> bytes:
        return b"".join(self.parts)

    def at(self, base_offset: int) -> bytes:
        """The whole batch, as on disk."""
        return OFFSET.pack(base_offset) + self.head + self.records


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


class OpenBatch(EncodedRecords):
    """A batch of our own, which grows until it is closed."""

    __slots__ = ()

    def closed(self) -> NewBatch:
        """The batch, with its checksum."""
        parts = self.parts()
        size = HEADER_BYTES + sum(map(len, parts))
        assert size <= BATCH_BYTES_MAX, "appends are checked"
        checked = _CHECKED.pack(0, self.count - 1, self.first_ms, self.newest_ms, -1, -1, -1, self.count)
        crc = crc32c_of([checked, *parts])
        head = _FRAME.pack(size - LENGTH_FROM, 0, 2, crc) + checked
        return NewBatch(head, parts, size, self.count, self.newest_ms)


def encode_batch(records: Sequence[NewRecord]) -> NewBatch:
    """A batch of these records."""
    batch = OpenBatch()
    batch.add(records)
    return batch.closed()


def take_batch(data: bytes) -> NewBatch:
    """A batch that a Kafka client has made, to be written untouched but for its base offset and leader epoch.

    JunkError when it is not one whole batch, or of a kind that is not taken yet. MisuseError: a codec is not installed.
    """
    header = read_header(data, 0)
    if header is None or header.size != len(data):
        raise JunkError(f"{len(data)} bytes are not one batch of magic 2 with its declared length")
    if not is_intact(data, 0, header):
        raise JunkError("the checksum of the batch is wrong; send it again")
    if header.attributes & (_TRANSACTIONAL | _CONTROL):
        raise JunkError("transactional and control batches are not taken yet; produce without a transactional id")
    if header.attributes & _LOG_APPEND_TIME:
        raise JunkError("a producer does not set the log's time of append; send the time of creation")
    if header.records != header.offsets or not header.records:
        raise JunkError(f"a batch of {header.records} records takes {header.offsets} offsets; both must be the same")
    try:
        records = decode_batch(data, 0, header)
    except CorruptError as error:
        raise JunkError(str(error)) from None
    times = [record.timestamp_ms for record in records]
    if min(times) < -1 or max(times) != header.max_timestamp_ms:
        raise JunkError(
            f"the times of its records are {min(times)} to {max(times)} ms, the batch says {header.max_timestamp_ms}"
        )
    length, magic_on = data[8:12], data[16:HEADER_BYTES]
    head, body = length + bytes(4) + magic_on, data[HEADER_BYTES:]
    return NewBatch(head, (body,), len(data), header.offsets, header.max_timestamp_ms)


def read_header(data: bytes | memoryview, at: int) -> BatchHeader | None:
    """The header at `at`; None when the bytes cannot be one. Does not check the checksum."""
    if len(data) - at < HEADER_BYTES:
        return None
    base, length, magic, crc, attributes, last_delta, first, newest, count = _NEEDED.unpack_from(data, at)
    size = length + LENGTH_FROM
    if magic != 2 or base < 0 or not HEADER_BYTES <= size <= BATCH_BYTES_MAX or last_delta < 0 or count < 0:
        return None
    return _new(BatchHeader, (base, size, crc, attributes, last_delta + 1, first, newest, count))


def is_intact(data: bytes | memoryview, at: int, header: BatchHeader) -> bool:
    """Whether the whole batch is there and its checksum is right."""
    end = at + header.size
    return end <= len(data) and crc32c(memoryview(data)[at + CRC_FROM : end]) == header.crc


def decode_batch(data: bytes | memoryview, at: int, header: BatchHeader) -> list[Record]:
    """The records of an intact batch. CorruptError when they do not fit it, MisuseError when a codec is missing."""
    start, end = at + HEADER_BYTES, at + header.size
    try:
        if codec := header.attributes & _CODEC:
            data = unpack(codec, bytes(data[start:end]))
            start, end = 0, len(data)
        records = decode_records(
            data,
            start,
            end,
            count=header.records,
            base_offset=header.base_offset,
            offsets=header.offsets,
            first_timestamp_ms=header.first_timestamp_ms,
        )
    except CorruptError as error:
        raise CorruptError(f"the batch at offset {header.base_offset}: {error}") from None
    if header.attributes & _LOG_APPEND_TIME:
        newest = header.max_timestamp_ms
        return [Record(each.offset, each.key, each.value, newest, each.headers) for each in records]
    return records
