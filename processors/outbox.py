"""Publishes alarms and quarantined frames on their streams, each once.

A record is in the store's transaction first. It is published after the commit, and forgotten with the next one. So what
the store remembers at a start are the last records that were published, and those that were not: the end of each
stream tells them apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from processors.chunk import Outgoing
from streams.clock import Clock
from streams.log import DamagedRange, EventLog
from streams.names import ALERTS, QUARANTINE
from streams.record import NewRecord

ID = "id"
STREAMS = (ALERTS, QUARANTINE)
BATCH_BYTES = 1 << 20
OVERHEAD_BYTES = 256  # what a record takes beside its value
WAITING_BYTES_MAX = 64 << 20


class Outbox:
    """Not safe for several threads: the consumer drives it."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._waiting: dict[str, deque[Outgoing]] = {stream: deque() for stream in STREAMS}
        self._waiting_bytes = 0
        self._published: list[str] = []

    def recover(self, outgoing: Sequence[Outgoing]) -> None:
        """Take what the store remembers; what is on its stream already is not published again."""
        for stream in STREAMS:
            ours = [each for each in outgoing if each.stream == stream]
            there = self._last_ids(stream, len(ours)) if ours else set()
            self._published += [each.id for each in ours if each.id in there]
            self.add(each for each in ours if each.id not in there)

    def add(self, outgoing: Iterable[Outgoing]) -> None:
        """These are committed: publish them next."""
        for each in outgoing:
            self._waiting[each.stream].append(each)
            self._waiting_bytes += _size(each)

    def publish(self) -> None:
        """Append what waits to its streams. When it raises, what did not get there still waits: try again."""
        if not any(self._waiting.values()):
            return
        for stream, waiting in self._waiting.items():
            while batch := _batch(waiting):
                self._log.append_durable(stream, [_record(each, self._clock) for each in batch])
                for each in batch:
                    waiting.popleft()
                    self._waiting_bytes -= _size(each)
                self._published += [each.id for each in batch]
        self._log.enforce_retention()

    def take_published(self) -> list[str]:
        """Ids of what is on disk and may be forgotten."""
        published, self._published = self._published, []
        return published

    def is_idle(self) -> bool:
        """Whether nothing waits, and nothing is to be forgotten."""
        return not any(self._waiting.values()) and not self._published

    def is_full(self) -> bool:
        """Whether so much waits that nothing more should be made."""
        return self._waiting_bytes > WAITING_BYTES_MAX

    def _last_ids(self, stream: str, count: int) -> set[str]:
        reader = self._log.reader(stream)
        offset = max(reader.earliest, reader.end - count)
        found: set[str] = set()
        while True:
            try:
                records = reader.read(offset)
            except DamagedRange as error:
                offset = error.resume
                continue
            if not records:
                break
            found.update(dict(record.headers).get(ID, b"").decode("utf-8", "replace") for record in records)
            offset = records[-1].offset + 1
        reader.close()
        return found


def _batch(waiting: Iterable[Outgoing]) -> list[Outgoing]:
    """The first records, of about BATCH_BYTES."""
    batch: list[Outgoing] = []
    size = 0
    for each in waiting:
        if size >= BATCH_BYTES:
            break
        batch.append(each)
        size += _size(each)
    return batch


def _size(each: Outgoing) -> int:
    return len(each.value) + OVERHEAD_BYTES


def _record(each: Outgoing, clock: Clock) -> NewRecord:
    time_ms = each.time_ms or clock.time_ns() // 1_000_000
    return NewRecord(each.key.encode(), each.value, time_ms, (*each.headers, (ID, each.id.encode())))
