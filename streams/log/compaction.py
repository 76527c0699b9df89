"""Compaction: of a stream that tells states, the last record of each key is kept, and what it replaced goes.

Segments that are finished are written anew, one group of neighbours after the other, the oldest first; the one that is
being written stays as it is. Offsets never change: a batch goes on to span the offsets of what was taken out of it, as
Kafka's does, so that batches still begin where the one before ended, and a gap is no damage. A record without a value
is a tombstone: it goes too, some time after it was written. What cannot be read is left as it stands.

Memory is bounded: which offset is the newest of a key is known of so many keys at a time, by a hash of each. Records of
other keys are kept until a later run knows theirs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from streams.errors import CorruptError, MisuseError
from streams.files import Files
from streams.log.batch import OFFSET, NewBatch, OpenBatch, decode_batch
from streams.log.scan import Damaged, walk
from streams.log.segment import segment_path
from streams.log.swap import DRAFT_SUFFIX
from streams.record import NewRecord, Record

KEYS_MAX = 1 << 17
"""About 25 MB of memory."""
PLACE = "compacted"
_BATCH_BYTES = 64 << 10
_SPAN_MAX = 1 << 30
"""Offsets of a batch: the protocol has 31 bits for them."""

StateKey = Callable[[Record], bytes | None]
"""Of which state a record is the value: the last of each is kept. None: it is none, and is kept."""


class Note(NamedTuple):
    """A batch of a rewritten segment, for its index."""

    base_offset: int
    position: int
    size: int
    max_timestamp_ms: int


class Rewritten(NamedTuple):
    """A group of neighbours that is written anew, into a draft that takes their place."""

    bases: tuple[int, ...]
    end: int
    """Where the last of them ends."""
    size: int
    notes: list[Note]


class Unreadable(Exception):
    """A segment has damage, or a codec that is not installed: it is left alone."""


class Abandoned(Exception):
    """The log is closing."""


def read_place(directory: Path, *, files: Files) -> int:
    """Up to which offset a partition is compacted; 0: nobody knows."""
    try:
        file = files.open(directory / PLACE)
    except FileNotFoundError:
        return 0
    with closing(file):
        text = file.read(0, 20)
    return int(text) if text.isdigit() else 0


def write_place(directory: Path, offset: int, *, files: Files) -> None:
    files.replace(directory / PLACE, b"%d" % offset)


class Compaction:
    """One run over the finished segments of a partition."""

    def __init__(
        self,
        directory: Path,
        segments: Sequence[tuple[int, int]],
        end: int,
        *,
        files: Files,
        state_key: StateKey,
        is_stopping: Callable[[], bool] = lambda: False,
        keys_max: int = KEYS_MAX,
    ) -> None:
        """`segments`: first offset and bytes of each, in order; `end`: where the last of them ends."""
        self._directory = directory
        self._segments = segments
        self._ends = dict(zip([base for base, _ in segments], [*[base for base, _ in segments[1:]], end]))
        self._end = end
        self._files = files
        self._state_key = state_key
        self._is_stopping = is_stopping
        self._keys_max = keys_max
        self._salt = os.urandom(16)
        self._newest: dict[bytes, int] = {}
        self.surveyed_to = 0
        """What stands before is known: in this run or in an earlier one it was looked at."""

    def survey(self, start: int) -> None:
        """Learn the newest offset of each key from `start` on, what stands before being compacted already."""
        self.surveyed_to = start
        for base, _ in self._segments:
            if self._ends[base] <= start:
                continue
            try:
                for _, _, records in self._batches(base):
                    for record in records:
                        if record.offset >= start and not self._learn(record):
                            self.surveyed_to = record.offset
                            return
            except Unreadable:
                pass
            self.surveyed_to = self._ends[base]

    def rewrite(self, *, tombstones_before_ms: int, segment_bytes: int) -> Iterator[Rewritten]:
        """Drafts of what becomes shorter, the oldest first; each is to take its place before the next is asked for."""
        group: list[int] = []
        size = 0
        for base, bytes_ in self._segments:
            if group and size + bytes_ > segment_bytes:
                yield from self._draft(group, size, tombstones_before_ms)
                group, size = [], 0
            if self._is_readable(base):
                group.append(base)
                size += bytes_
            elif group:
                yield from self._draft(group, size, tombstones_before_ms)
                group, size = [], 0
        if group:
            yield from self._draft(group, size, tombstones_before_ms)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _learn(self, record: Record) -> bool:
        """Whether there was room for it."""
        name = self._name(record)
        if name is None:
            return True
        if name not in self._newest and len(self._newest) >= self._keys_max:
            return False
        self._newest[name] = record.offset
        return True

    def _name(self, record: Record) -> bytes | None:
        key = self._state_key(record)
        return None if key is None else hashlib.blake2b(key, digest_size=16, salt=self._salt).digest()

    def _stays(self, record: Record, tombstones_before_ms: int) -> bool:
        name = self._name(record)
        if name is None or record.offset == self._end - 1:  # the last one stays: there is always one to be read
            return True
        if record.offset < self._newest.get(name, 0):
            return False
        is_old_tombstone = record.value is None and record.timestamp_ms < tombstones_before_ms
        return not is_old_tombstone or record.offset >= self.surveyed_to

    def _draft(self, group: Sequence[int], size: int, tombstones_before_ms: int) -> Iterator[Rewritten]:
        path = segment_path(self._directory, group[0], DRAFT_SUFFIX)
        notes: list[Note] = []
        position = 0
        file = self._files.open(path, write=True, create=True)
        try:
            file.truncate(0)
            for offset, batch in self._rewritten(group, tombstones_before_ms):
                file.append([OFFSET.pack(offset) + batch.head, *batch.parts])
                notes.append(Note(offset, position, batch.size, batch.max_timestamp_ms))
                position += batch.size
            file.sync()
        except Exception:
            file.close()
            self._files.remove(path)
            raise
        file.close()
        if position >= size and len(group) == 1:
            self._files.remove(path)
            return
        yield Rewritten(tuple(group), self._ends[group[-1]], position, notes)

    def _rewritten(self, group: Sequence[int], tombstones_before_ms: int) -> Iterator[tuple[int, NewBatch]]:
        """Batches that span all offsets of the group. None spans two segments: until the swap is done both stand."""
        for segment in group:
            base, batch, size = segment, OpenBatch(), 0
            for offset, stop, records in self._batches(segment):
                if size > _BATCH_BYTES or stop - base > _SPAN_MAX:
                    yield base, batch.closed()
                    base, batch, size = offset, OpenBatch(), 0
                for record in records:
                    if self._stays(record, tombstones_before_ms):
                        batch.skip_to(record.offset - base)
                        batch.add([NewRecord(*record[1:])])
                        size += len(record.key or b"") + len(record.value or b"")
                batch.skip_to(stop - base)
            yield base, batch.closed()

    def _batches(self, base: int) -> Iterator[tuple[int, int, list[Record]]]:
        """The offsets of each batch of a segment, and its records. Unreadable: there is damage."""
        end = self._ends[base]
        with closing(self._files.open(segment_path(self._directory, base))) as file:
            following = base
            for each in walk(file, 0, file.size(), base, offset_end=end):
                if self._is_stopping():
                    raise Abandoned
                if isinstance(each, Damaged):
                    raise Unreadable
                try:
                    records = decode_batch(each.data, each.at, each.header)
                except (CorruptError, MisuseError):
                    raise Unreadable from None
                following = each.header.next_offset
                yield each.header.base_offset, following, records
            if following != end:
                raise Unreadable

    def _is_readable(self, base: int) -> bool:
        try:
            for _ in self._batches(base):
                pass
        except Unreadable:
            return False
        return True
