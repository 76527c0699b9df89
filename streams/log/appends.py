"""Appends on their way to disk: what waits, how those that come together share batches, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.errors import MisuseError
from streams.log.batch import BATCH_BYTES_MAX, TIMESTAMP_MS_MAX, NewBatch, OpenBatch
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


Part = tuple[Place, Sequence[NewRecord], int]
"""What of an append falls into one partition: where, the records, about how many bytes they take."""


class Round:
    """What is committed together. Records are encoded when they come: who appends pays for it, not who commits."""

    __slots__ = ("appends", "bytes", "groups")

    def __init__(self) -> None:
        self.groups: dict[Place, list[Shared]] = {}
        self.appends = 0
        self.bytes = 0

    def add(self, part: Part, token: object) -> None:
        """An append is never cut: it is in one batch, and so it is there or it is not."""
        place, records, size = part
        group = self.groups.get(place)
        if group is None:
            group = self.groups[place] = []
        if not group or group[-1].size + size > BATCH_BYTES:
            if group:
                group[-1].close()
            group.append(Shared(OpenBatch()))
        shared = group[-1]
        shared.batch.add(records)  # type: ignore[union-attr]  # one that is taken as it is counts as full
        shared.size += size
        shared.members.append((token, len(records)))
        self.appends += 1
        self.bytes += size

    def add_batch(self, place: Place, batch: NewBatch, token: object) -> None:
        """A batch that stays as it is."""
        shared = Shared(batch)
        shared.size = BATCH_BYTES + 1
        shared.members.append((token, batch.offsets))
        self.groups.setdefault(place, []).append(shared)
        self.appends += 1
        self.bytes += batch.size


class Shared:
    """A batch and the appends that are in it: token and number of records of each."""

    __slots__ = ("batch", "members", "size")

    def __init__(self, batch: OpenBatch | NewBatch) -> None:
        self.batch = batch
        self.size = 0
        self.members: list[tuple[object, int]] = []

    def close(self) -> NewBatch:
        """Nothing more is added."""
        if isinstance(self.batch, OpenBatch):
            self.batch = self.batch.closed()
        return self.batch


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
