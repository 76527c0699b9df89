"""Publishes alarms and quarantined frames on their streams, each once.

A record is in the store's transaction first. It is published after the commit, and forgotten with the next one; what a
kill left in between is compared with the end of the stream at the next start.
"""

from __future__ import annotations

from collections.abc import Iterable

from processors.chunk import Outgoing
from streams.clock import Clock
from streams.log import EventLog
from streams.names import ALERTS, QUARANTINE
from streams.record import NewRecord

ID = "id"
COMPARED_MAX = 10_000
STREAMS = (ALERTS, QUARANTINE)


class Outbox:
    """Not safe for several threads: the consumer drives it."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def unpublished(self, outgoing: Iterable[Outgoing]) -> tuple[list[Outgoing], list[str]]:
        """Of what may not have been published: what was not, and the ids of what was."""
        waiting = list(outgoing)
        if not waiting:
            return [], []
        there = {name for stream in STREAMS for name in self._last_ids(stream)}
        return [each for each in waiting if each.id not in there], [each.id for each in waiting if each.id in there]

    def publish(self, outgoing: Iterable[Outgoing]) -> list[str]:
        """Append records to their streams; returns their ids when they are on disk. DiskError: try again."""
        done: list[str] = []
        waiting = list(outgoing)
        for stream in STREAMS:
            records = [_record(each, self._clock) for each in waiting if each.stream == stream]
            if records:
                self._log.append_durable(stream, records)
                done += [each.id for each in waiting if each.stream == stream]
        return done

    def _last_ids(self, stream: str) -> set[str]:
        reader = self._log.reader(stream)
        offset = max(reader.earliest, reader.end - COMPARED_MAX)
        found: set[str] = set()
        while records := reader.read(offset):
            found.update(dict(record.headers).get(ID, b"").decode() for record in records)
            offset = records[-1].offset + 1
        reader.close()
        return found


def _record(each: Outgoing, clock: Clock) -> NewRecord:
    time_ms = each.time_ms or clock.time_ns() // 1_000_000
    return NewRecord(each.key.encode(), each.value, time_ms, (*each.headers, (ID, each.id.encode())))
