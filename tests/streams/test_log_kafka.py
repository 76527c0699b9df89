"""The log and a Kafka client of other people understand each other: kafka-python's builder and parser, all codecs."""

from __future__ import annotations

import builtins
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords

from streams.clock import ManualClock
from streams.errors import JunkError, MisuseError
from streams.files import DiskFiles
from streams.log import EventLog, LogSettings
from streams.log.batch import CRC_FROM, encode_batch, take_batch
from streams.log.checksum import crc32c
from streams.record import NewRecord, Record
from tests.streams.log_parts import STREAM, record
from tests.streams.test_log_batches import records_of_any_kind
from tests.vectors import make_batches

VECTORS: dict[str, Any] = json.loads(Path(make_batches.FOLDER, "kafka.json").read_text())
KEPT = {each["codec"]: bytes.fromhex(each["bytes"]) for each in VECTORS["batches"]}


def opened(directory: Path, **settings: Any) -> EventLog:
    streams = {STREAM: LogSettings(**settings)}
    return EventLog.open(directory, streams, files=DiskFiles(), clock=ManualClock())


def as_read(records: tuple[NewRecord, ...], base: int) -> list[Record]:
    return [
        Record(base + index, each.key, each.value, each.timestamp_ms, each.headers)
        for index, each in enumerate(records)
    ]


def parsed(data: bytes) -> list[Record]:
    """What kafka-python's consumer reads in the bytes of a segment, checksums checked."""
    found: list[Record] = []
    batches = MemoryRecords(data)
    while (each := batches.next_batch()) is not None:
        assert each.validate_crc()
        found += [
            Record(
                item.offset, item.key, item.value, item.timestamp, tuple((name, value) for name, value in item.headers)
            )
            for item in each
        ]
    return found


@given(records_of_any_kind)
@settings(max_examples=50)
def test_our_batches_are_to_the_byte_what_a_kafka_client_builds(records: list[NewRecord]) -> None:
    ours = encode_batch(records).at(0)
    assert ours == make_batches.built("none", tuple(records))
    batch = DefaultRecordBatch(ours)
    assert batch.validate_crc()
    assert [item.offset for item in batch] == list(range(len(records)))


def test_a_kafka_client_reads_the_segments_of_a_log(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=4096)
    for number in range(0, 60, 3):
        log.append_durable(STREAM, [record(number + more, size=100) for more in range(3)])
    log.append_durable(STREAM, make_batches.SAMPLE)
    log.close()
    files = sorted((tmp_path / STREAM / "0").glob("*.log"))
    assert len(files) == 2
    found = parsed(b"".join(path.read_bytes() for path in files))
    assert found == as_read(tuple(record(number, size=100) for number in range(60)), 0) + as_read(
        make_batches.SAMPLE, 60
    )


@pytest.mark.parametrize("codec", make_batches.CODECS)
@pytest.mark.parametrize("source", ["kept", "built now"])
def test_a_kafka_clients_batch_is_appended_untouched_and_comes_back(tmp_path: Path, codec: str, source: str) -> None:
    data = KEPT[codec] if source == "kept" else make_batches.built(codec)
    assert struct.unpack_from(">h", data, CRC_FROM)[0] & 7 == make_batches.CODECS[codec], "it is compressed so"
    log = opened(tmp_path)
    assert log.append_durable(STREAM, [record(0), record(1)]) == 0
    assert log.append_batch(STREAM, 0, data) == 2
    assert log.append_durable(STREAM, [record(2)]) == 7
    reader = log.reader(STREAM)
    assert [each.offset for each in reader.read(0)] == list(range(8))
    assert reader.read(0)[2:7] == as_read(make_batches.SAMPLE, 2)
    assert reader.read(5)[:2] == as_read(make_batches.SAMPLE, 2)[3:], "from the middle of a batch"
    log.close()
    (segment,) = (tmp_path / STREAM / "0").glob("*.log")
    on_disk = segment.read_bytes()
    assert data[8:12] + bytes(4) + data[16:] in on_disk, "but for base offset and leader epoch"
    assert parsed(on_disk)[2:7] == as_read(make_batches.SAMPLE, 2)
    again = opened(tmp_path)
    assert again.end_offset(STREAM) == 8
    again.close()


def test_the_kept_batches_say_what_the_document_says() -> None:
    assert VECTORS["records"] == [make_batches.described(each) for each in make_batches.SAMPLE]
    assert KEPT["none"] == make_batches.built("none") == encode_batch(make_batches.SAMPLE).at(0)


def changed(at: int, pack: str, *values: int) -> bytes:
    """A client's batch with other fields, and the checksum that it then has."""
    data = bytearray(KEPT["none"])
    struct.pack_into(pack, data, at, *values)
    struct.pack_into(">I", data, 17, crc32c(data[CRC_FROM:]))
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not one batch of magic 2"),
        (KEPT["none"][:-1], "not one batch of magic 2"),
        (KEPT["none"] * 2, "not one batch of magic 2"),
        (changed(16, ">b", 1), "not one batch of magic 2"),
        (KEPT["none"][:-1] + b"\x00", "checksum"),
        (changed(21, ">h", 0b10000), "transactional and control batches are not taken yet"),
        (changed(21, ">h", 0b100000), "transactional and control batches are not taken yet"),
        (changed(21, ">h", 0b1000), "send the time of creation"),
        (changed(21, ">h", 6), "codec 6 is none of Kafka's"),
        (changed(21, ">h", 1), "gzip cannot be unpacked"),
        (changed(23, ">i", 5), "5 records takes 6 offsets"),
        (changed(57, ">i", 4), "4 records takes 5 offsets"),
        (changed(35, ">q", 1 << 62), "the batch says 4611686018427387904"),
        (changed(27, ">qq", -9, -9), "the times of its records are -16"),
    ],
)
def test_what_is_not_taken_is_said_by_name(data: bytes, words: str) -> None:
    with pytest.raises(JunkError) as refusal:
        take_batch(data)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("codec", "module", "package"),
    [("snappy", "cramjam", "cramjam"), ("lz4", "lz4.frame", "lz4"), ("zstd", "zstandard", "zstandard")],
)
def test_a_codec_that_is_not_installed_is_named(
    codec: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name == module:
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MisuseError, match=rf"{codec} and the package {package} is not installed.*penstock\[codecs\]"):
        take_batch(KEPT[codec])
