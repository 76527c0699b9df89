"""Makes the test vectors of record batches, with a Kafka client of other people: python -m tests.vectors.make_batches

log/kafka.json: batches as kafka-python's producer builds them, one for each of Kafka's codecs, and what is in them.
Compressed bytes differ between versions of the packages, so the file is kept; what must be true of it is its records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kafka.record.default_records import DefaultRecordBatchBuilder

from streams.record import NewRecord

FOLDER = Path(__file__).with_name("log")
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
TIME_MS = 1_700_000_000_000

SAMPLE = (
    NewRecord(b"press-7", b'{"temperature": 21.5}' * 20, TIME_MS, (("device", b"press-7"), ("empty", b""))),
    NewRecord(None, b"no key" * 40, TIME_MS + 5),
    NewRecord(b"no value", None, TIME_MS + 3),
    NewRecord(b"", b"", TIME_MS - 7),
    NewRecord("kühl".encode(), bytes(range(256)) * 130, TIME_MS + 86_400_000, (("größe", bytes(range(256))),)),
)
"""What is in each; together more than the 32 KiB that a block of snappy holds."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    batches = [{"codec": codec, "bytes": built(codec).hex()} for codec in CODECS]
    document = {"records": [described(record) for record in SAMPLE], "batches": batches}
    (FOLDER / "kafka.json").write_text(json.dumps(document, indent=1) + "\n")


def built(codec: str, records: tuple[NewRecord, ...] = SAMPLE) -> bytes:
    """A batch as kafka-python's producer sends it."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=CODECS[codec], is_transactional=False,
        producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 30,
    )  # fmt: skip
    for offset, record in enumerate(records):
        builder.append(offset, record.timestamp_ms, record.key, record.value, list(record.headers))
    return bytes(builder.build())


def described(record: NewRecord) -> dict[str, Any]:
    return {
        "key": None if record.key is None else record.key.hex(),
        "value": None if record.value is None else record.value.hex(),
        "time_ms": record.timestamp_ms,
        "headers": [[name, value.hex()] for name, value in record.headers],
    }


if __name__ == "__main__":
    main()
