"""Appends on their way to disk: what waits, how those that came together share batches, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streams.errors import MisuseError
from streams.log.batch import BATCH_BYTES_MAX, TIMESTAMP_MS_MAX, NewBatch, encode_batch
from streams.record import NewRecord

Place = tuple[str, int]
"""Stream and partition."""

BATCH_BYTES = 64 << 10
"""Appends share a batch up to this size: a large one costs less to write and to check, a small one loses less."""
_RECORD_BYTES = 40
"""What a record takes beside its key, value and headers, at most."""


@dataclass(slots=True)  # not frozen: there is one for each append, and freezing costs most of it
class Appended:
    """The fate of one append, or of the part of it that fell into this partition."""

    token: object
    stream: str
    partition: int
    offset: int
    """Offset of its first record; -1 when it failed."""
    count: int
    error: Exception | None


@dataclass(slots=True)
class Pending:
    """An append that waits, or the part of it that falls into one partition."""

    place: Place
    records: Sequence[NewRecord]
    batch: NewBatch | None
    """When it was handed over as a batch, which stays as it is."""
    size: int
    token: object

    @property
    def count(self) -> int:
        return self.batch.offsets if self.batch else len(self.records)


def check_size(records: Sequence[NewRecord]) -> int:
    """About the bytes that records take. MisuseError when they cannot be written: nobody else's append must suffer."""
    size = 0
    for record in records:
        key, value = record.key, record.value
        if not (isinstance(value, bytes) or value is None) or not (isinstance(key, bytes) or key is None):
            raise MisuseError(f"keys and values are bytes or None, not {type(key).__name__} and {type(value).__name__}")
        if not 0 <= record.timestamp_ms <= TIMESTAMP_MS_MAX:
            raise MisuseError(
                f"a record has the time {record.timestamp_ms} ms; it must be from 1970 on and fit 63 bits"
            )
        size += _RECORD_BYTES
        if value:
            size += len(value)
        if key:
            size += len(key)
        for name, content in record.headers:
            size += _RECORD_BYTES + len(name.encode()) + len(content)
    if size > BATCH_BYTES_MAX - _RECORD_BYTES * 2:
        raise MisuseError(f"an append of {size} bytes is above the limit of {BATCH_BYTES_MAX}; append fewer at once")
    return size


def share_batches(waiting: Sequence[Pending]) -> Iterator[tuple[NewBatch, Sequence[Pending]]]:
    """Batches, each with the appends that are in it, in order. An append is never cut: it is there or it is not."""
    members: list[Pending] = []
    size = 0
    for each in waiting:
        if members and (size + each.size > BATCH_BYTES or each.batch):
            yield _encoded(members), members
            members, size = [], 0
        if each.batch:
            yield each.batch, [each]
            continue
        members.append(each)
        size += each.size
    if members:
        yield _encoded(members), members


def _encoded(members: Sequence[Pending]) -> NewBatch:
    if len(members) == 1:
        return encode_batch(members[0].records)
    return encode_batch([record for each in members for record in each.records])
