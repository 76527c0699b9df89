"""Record batches: their bytes, what may stand in them, and what happens to those that are damaged or lie."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import CorruptError
from streams.log import codecs
from streams.log.batch import (
    BATCH_BYTES_MAX,
    CRC_FROM,
    HEADER,
    HEADER_BYTES,
    decode_batch,
    encode_batch,
    is_intact,
    read_header,
)
from streams.log.checksum import crc32c, crc32c_plain
from streams.log.scan import Found, walk
from streams.log.varint import read_varint, varint
from streams.record import NewRecord, Record
from tests.streams.log_parts import NOW_MS, batch, file_of, laid_out, record

INT64_MAX = (1 << 63) - 1

records_of_any_kind = st.lists(
    st.builds(
        NewRecord,
        st.none() | st.binary(max_size=100),
        st.none() | st.binary(max_size=300),
        st.integers(0, INT64_MAX),
        st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=30)), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=20,
)


def decoded(data: bytes) -> list[Record]:
    header = read_header(data, 0)
    assert header is not None and is_intact(data, 0, header)
    return decode_batch(data, 0, header)


def with_checksum(data: bytes) -> bytes:
    """The batch with the checksum that its bytes have: somebody made it so."""
    return data[:17] + struct.pack(">I", crc32c(data[CRC_FROM:])) + data[CRC_FROM:]


def made(body: bytes, *, count: int = 1, attributes: int = 0, newest_ms: int = NOW_MS) -> bytes:
    """A batch around these record bytes, with a right checksum."""
    length = HEADER_BYTES - 12 + len(body)
    head = HEADER.pack(7, length, 0, 2, 0, attributes, max(0, count - 1), NOW_MS, newest_ms, -1, -1, -1, count)
    return with_checksum(head + body)


def test_the_bytes_of_a_batch() -> None:
    one = NewRecord(b"k", b"value", NOW_MS, (("h", b"x"),))
    two = NewRecord(None, None, NOW_MS + 2)
    assert encode_batch([one, two]).at(258).hex(" ") == (
        "00 00 00 00 00 00 01 02 "  # base offset 258
        "00 00 00 49 "  # 73 bytes follow
        "00 00 00 00 02 "  # leader epoch, magic
        "d6 56 a7 fb "  # CRC-32C
        "00 00 00 00 00 01 "  # attributes, last offset delta
        "00 00 01 8b cf e5 68 00 00 00 01 8b cf e5 68 02 "  # first and newest time
        "ff ff ff ff ff ff ff ff ff ff ff ff ff ff 00 00 00 02 "  # no producer, 2 records
        "20 00 00 00 02 6b 0a 76 61 6c 75 65 02 02 68 02 78 "
        "0c 00 04 02 01 01 00"
    )


@given(records_of_any_kind, st.integers(0, 1 << 40))
def test_whatever_is_written_is_read(records: list[NewRecord], base: int) -> None:
    made_of = encode_batch(records)
    data = made_of.at(base)
    header = read_header(data, 0)
    assert header is not None
    assert (header.size, header.next_offset, header.records) == (len(data), base + len(records), len(records))
    assert header.max_timestamp_ms == max(each.timestamp_ms for each in records) == made_of.max_timestamp_ms
    assert decoded(data) == [
        Record(base + index, each.key, each.value, each.timestamp_ms, each.headers)
        for index, each in enumerate(records)
    ]


@given(records_of_any_kind)
@settings(max_examples=20)
def test_cut_at_any_byte_it_is_not_whole(records: list[NewRecord]) -> None:
    data = encode_batch(records).at(0)
    for size in range(len(data)):
        header = read_header(data[:size], 0)
        assert header is None or not is_intact(data[:size], 0, header)
        assert list(walk(file_of(data[:size]), 0, size, 0))[:1] == ([] if size == 0 else [(0, size, 0, None)]), (
            "torn from its first byte on"
        )


def test_every_flipped_bit_is_refused_or_harmless() -> None:
    data = encode_batch([record(1), NewRecord(None, b"x" * 40, NOW_MS, (("name", b"content"),))]).at(5)
    harmless = 0
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            found = [each for each in walk(file_of(bytes(damaged)), 0, len(data), 5) if isinstance(each, Found)]
            for each in found:
                harmless += 1
                assert 12 <= at < 16, "the leader epoch, which nobody reads"
                assert decode_batch(each.data, each.at, each.header) == decoded(data)
    assert harmless == 32


@given(st.data())
def test_damage_with_a_right_checksum_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    """Whatever stands in a batch, decoding it gives records whose offsets are its own, or CorruptError."""
    whole = bytearray(encode_batch(data.draw(records_of_any_kind)).at(3))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(CRC_FROM, len(whole) - 1))] = data.draw(st.integers(0, 255))
    changed = with_checksum(bytes(whole))
    header = read_header(changed, 0)
    if header is None:
        return
    try:
        found = decode_batch(changed, 0, header)
    except CorruptError as error:
        assert str(error).startswith("the batch at offset 3: ")
        return
    places = [each.offset for each in found]
    assert places == sorted(set(places))
    assert all(header.base_offset <= place < header.next_offset for place in places)


LIES = {
    "the count of records": made(b"", count=(1 << 31) - 1),
    "the size of a record": made(varint((1 << 31) - 1) + b"\0\0\0"),
    "a negative size of a record": made(varint(-5) + b"\0\0\0\0\0"),
    "a record without room for its attributes": made(varint(0)),
    "the size of a key": made(varint(12) + b"\0\0\0" + varint((1 << 31) - 1) + b"\0\0\0\0"),
    "the count of headers": made(varint(12) + b"\0\0\0\x01\x01" + varint((1 << 31) - 1) + b"\0\0"),
    "a negative count of headers": made(varint(6) + b"\0\0\0\x01\x01" + varint(-2)),
    "a number without an end": made(varint(12) + b"\0" + b"\xff" * 11),
    "a number of 70 bits": made(varint(15) + b"\0" + b"\xff" * 9 + b"\x7f" + b"\0\x01\x01\0"),
    "an offset that is not the batch's": made(varint(6) + b"\0\0\x02\x01\x01\0"),
    "an offset that comes twice": made((varint(6) + b"\0\0\0\x01\x01\0") * 2, count=2),
    "bytes behind the last record": made(varint(6) + b"\0\0\0\x01\x01\0" + b"more"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_and_costs_nothing(name: str) -> None:
    data = LIES[name]
    header = read_header(data, 0)
    assert header is not None and is_intact(data, 0, header)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError, match="the batch at offset 7: "):
            decode_batch(data, 0, header)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_declared_size_allocates_nothing_that_is_not_there() -> None:
    data, _ = laid_out([batch(0)])
    lying = data[:8] + struct.pack(">i", BATCH_BYTES_MAX - 12) + data[12:]
    file = file_of(lying)
    tracemalloc.start()
    try:
        assert not [each for each in walk(file, 0, len(lying), 0) if isinstance(each, Found)]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    for size in (BATCH_BYTES_MAX - 11, -1, 48):
        assert read_header(data[:8] + struct.pack(">i", size) + data[12:], 0) is None


def test_the_logs_time_of_append_is_the_time_of_every_record() -> None:
    body = encode_batch([record(1), record(2)]).records
    times = [each.timestamp_ms for each in decoded(made(body, count=2, attributes=0b1000, newest_ms=NOW_MS + 77))]
    assert times == [NOW_MS + 77] * 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "00"), (-1, "01"), (1, "02"), (63, "7e"), (-64, "7f"), (64, "8001"), (8191, "fe7f"), (8192, "808001"),
        (INT64_MAX, "feffffffffffffffff01"), (-INT64_MAX - 1, "ffffffffffffffffff01"),
    ],
)  # fmt: skip
def test_numbers(value: int, text: str) -> None:
    assert varint(value).hex() == text
    data = bytes.fromhex(text)
    assert read_varint(b"\xff" + data, 1, len(data) + 1) == (value, len(data) + 1)
    for end in range(1, len(data)):
        with pytest.raises(CorruptError, match="does not end"):
            read_varint(data, 0, end)


@given(st.integers(-INT64_MAX - 1, INT64_MAX))
def test_every_number_comes_back(value: int) -> None:
    data = varint(value)
    assert read_varint(data, 0, len(data)) == (value, len(data))


@pytest.mark.parametrize(
    ("data", "checksum"),
    [  # RFC 3720, B.4
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_checksums(data: bytes, checksum: int) -> None:
    assert crc32c_plain(data) == checksum
    assert crc32c(data) == checksum


@given(st.binary(max_size=300), st.integers(0, 300))
def test_both_checksums_are_the_same_whole_and_in_parts(data: bytes, at: int) -> None:
    assert crc32c(data) == crc32c_plain(data)
    for function in (crc32c, crc32c_plain):
        assert function(memoryview(data)[at:], function(data[:at])) == crc32c(data)


def test_a_compressed_bomb_is_refused_with_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "UNPACKED_BYTES_MAX", 1 << 20)
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(bytes(20 << 20)) + packer.flush()
    data = made(bomb, attributes=1)
    header = read_header(data, 0)
    assert header is not None
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError, match="gzip are more than 1048576 bytes"):
            decode_batch(data, 0, header)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("codec", "name"), [(1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd"), (5, "codec 5")])
@given(junk=st.binary(max_size=100))
@settings(max_examples=30)
def test_junk_that_says_it_is_compressed(codec: int, name: str, junk: bytes) -> None:
    data = made(junk, attributes=codec)
    header = read_header(data, 0)
    assert header is not None
    with pytest.raises(CorruptError, match="the batch at offset 7"):
        decode_batch(data, 0, header)
