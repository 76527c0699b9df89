"""The stream `sessions`: what the broker must remember, on the event log, and kept short.

Every entry is appended and group-committed with all that the hub writes. So that the stream does not grow for ever, the
sessions and retained messages that were written longest ago are written anew, as they are now, while too much of the
stream is out of date; then what lies before all of them is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

from hub.broker import Broker, OnKept
from hub.journal import Journal
from hub.marks import Place, marks_since
from hub.session_entries import Ended, Entry, Opened, Retained, Scanned, from_record, to_record
from streams import names
from streams.clock import Clock
from streams.errors import JunkError
from streams.log import DamagedRange, EventLog

_log = logging.getLogger("penstock.hub.sessions")

SEGMENT_BYTES = 4 << 20
GARBAGE_BYTES = 16 << 20
"""Of entries that are out of date; below it nothing is written anew."""
REWRITE_BYTES = 4 << 20
"""So much of the stream is looked over in one round."""

Key = tuple[str, str]


class SessionLog:
    """A Memory of the broker on the log. All methods but `restore` are called in the event loop."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._bases: OrderedDict[Key, int] = OrderedDict()
        """Where each session and retained message begins, the longest ago first."""
        self._positions: dict[Place, int] = {}
        self._end = 0

    # -- a Memory ----------------------------------------------------------------------------------------------------

    def keep(self, entries: Sequence[Entry], on_kept: OnKept | None = None) -> None:
        time_ms = self._clock.time_ns() // 1_000_000
        records = [to_record(entry, time_ms) for entry in entries]

        def on_written(offset: int, error: Exception | None) -> None:
            if error is None:
                self._note(entries, offset)
            if on_kept is not None:
                on_kept(error)

        self._journal.append_apart(names.SESSIONS, records, on_written)

    # -- starting ----------------------------------------------------------------------------------------------------

    def restore(self, log: EventLog, broker: Broker, others: Sequence[Place]) -> int:
        """Fold the stream into the broker, then what other streams hold of messages of QoS 2; returns the entries."""
        reader = log.reader(names.SESSIONS)
        at, end, count = reader.earliest, reader.end, 0
        while at < end:
            try:
                records = reader.read(at)
            except DamagedRange as damage:
                _log.error("what is damaged of the log of sessions is forgotten: %s", damage)
                at = damage.resume
                continue
            for record in records:
                try:
                    entry = from_record(record)
                except JunkError as error:
                    _log.error("%s; it is passed over", error)
                    continue
                self._note([entry], record.offset)
                broker.restore(entry)
                count += 1
            at = records[-1].offset + 1
        for mark in marks_since({place: log.reader(*place) for place in others}, self._positions):
            broker.restore_mark(mark)
        return count

    # -- keeping it short --------------------------------------------------------------------------------------------

    def note_positions(self, positions: dict[Place, int]) -> None:
        """All marks before these offsets of other streams are known: they need not be looked for at the next start."""
        if positions != self._positions:
            self.keep([Scanned(positions)])

    async def shorten(self, log: EventLog, broker: Broker) -> None:
        """Write anew what was written longest ago, if that makes the stream shorter, and remove what lies before."""
        size = await asyncio.to_thread(log.size_bytes, names.SESSIONS)
        if size <= 2 * broker.kept_bytes + GARBAGE_BYTES:
            return
        left = REWRITE_BYTES
        for key in list(self._bases):
            if left <= 0:
                break
            entries = self._entries(broker, key)
            if not entries:
                self._bases.pop(key, None)
                continue
            left -= sum(len(to_record(entry, 0).value or b"") + 200 for entry in entries)
            self.keep(entries)
        written = asyncio.get_running_loop().create_future()
        self.keep([Scanned(dict(self._positions))], lambda error: written.set_result(error))
        if await written is None:
            first = next(iter(self._bases.values()), self._end)
            await asyncio.to_thread(log.truncate_before, names.SESSIONS, 0, first)

    def _entries(self, broker: Broker, key: Key) -> list[Entry]:
        kind, name = key
        if kind == "session":
            return broker.entries_of_session(name)
        if kind == "retained":
            retained = broker.entry_of_retained(name)
            return [] if retained is None else [retained]
        return [Scanned(dict(self._positions))]

    def _note(self, entries: Sequence[Entry], offset: int) -> None:
        """These entries stand at this offset."""
        for at, entry in enumerate(entries, offset):
            match entry:
                case Opened(client_id=client_id, is_new=True):
                    self._move(("session", client_id), at)
                case Ended(client_id):
                    self._bases.pop(("session", client_id), None)
                case Retained(topic, None):
                    self._bases.pop(("retained", topic), None)
                case Retained(topic):
                    self._move(("retained", topic), at)
                case Scanned(positions):
                    self._positions = dict(positions)
                    self._move(("scanned", ""), at)
                case _:
                    pass
        self._end = offset + len(entries)

    def _move(self, key: Key, offset: int) -> None:
        self._bases[key] = offset
        self._bases.move_to_end(key)
