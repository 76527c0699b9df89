"""The hub's way to the log: append, wait for the disk, fold into the projections, then tell who waits.

Appending never blocks. What is appended in one turn of the event loop goes to the log as one append, because each has
its price. The log's committer says in its own thread what has become durable; one call into the event loop a commit
round folds the records in the order of the log, so that nothing is shown that a power cut takes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from hub.events import Event
from hub.projections import Projections
from hub.quiet import Quiet
from streams.clock import Clock
from streams.errors import PenstockError
from streams.log import Appended, EventLog
from streams.log.partitioner import partition_of
from streams.record import NewRecord, Record

_log = logging.getLogger("penstock.hub.journal")

T = TypeVar("T")

GATHERED_BYTES_MAX = 1 << 20
"""Above this the turn of the loop is not waited for."""
_RECORD_BYTES = 100

OnDurable = Callable[[Exception | None], None]
OnWritten = Callable[[int, Exception | None], None]
"""Told the offset of the first record, or why it failed."""


_Entry = tuple[Sequence[NewRecord], OnDurable | None, OnWritten | None]
"""Records that were appended together, and who is told: one of the two. Bare, because there is one a message."""


def _UNFOLDED(offset: int, error: Exception | None) -> None:  # noqa: N802
    """In the place of `on_written`: `on_durable` is told, and nothing is folded."""


class _Gathered:
    """What one turn of the loop appends to one partition."""

    __slots__ = ("entries", "records", "size")

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.records: list[NewRecord] = []
        self.size = 0


class Journal:
    """Appends to the log from the event loop. `react` is told each event once it is folded."""

    def __init__(self, projections: Projections, *, clock: Clock, react: Callable[[Event], None]) -> None:
        self._projections = projections
        self._react = react
        self._quiet = Quiet(clock)
        self._loop = asyncio.get_running_loop()
        self._log: EventLog | None = None
        self._partitions: Mapping[str, int] = {}
        self._gathered: dict[tuple[str, int], _Gathered] = {}
        self.problem: str | None = None
        """Why the last append failed; None when it did not."""

    def attach(self, log: EventLog, partitions: Mapping[str, int] | None = None) -> None:
        """The log to append to, which was opened with `on_commit`; how many partitions its streams have, if not one."""
        self._log = log
        self._partitions = {stream: count for stream, count in (partitions or {}).items() if count > 1}

    def append(self, stream: str, records: Sequence[NewRecord], on_durable: OnDurable) -> None:
        """Append records of one key; `on_durable` is called once, later, in the loop: None, or why it failed.

        They are folded into the projections.
        """
        self._gather(stream, (records, on_durable, None))

    def append_unfolded(self, stream: str, records: Sequence[NewRecord], on_durable: OnDurable) -> None:
        """Like `append`, but no projection folds them."""
        self._gather(stream, (records, on_durable, _UNFOLDED))

    def append_apart(self, stream: str, records: Sequence[NewRecord], on_written: OnWritten) -> None:
        """Append records of one key that no projection folds."""
        self._gather(stream, (records, None, on_written))

    def write(self, stream: str, records: Sequence[NewRecord]) -> asyncio.Future[None]:
        """Append records; the future is done when they are durable and folded, or holds the error."""
        future = self._loop.create_future()

        def on_durable(error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.append(stream, records, on_durable)
        return future

    def hand_over(self) -> None:
        """Give the log what was gathered."""
        gathered, self._gathered = self._gathered, {}
        for (stream, _), each in gathered.items():
            self._hand_over(stream, each)

    def on_commit(self, appended: Sequence[Appended]) -> None:
        """What the log's committer calls, in its thread, after each round."""
        self._loop.call_soon_threadsafe(self._committed, appended)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _gather(self, stream: str, entry: _Entry) -> None:
        records = entry[0]
        count = self._partitions.get(stream, 1) if self._partitions else 1
        place = (stream, 0 if count == 1 else partition_of(records[0].key, count))
        size = 0
        for record in records:
            size += _RECORD_BYTES + len(record.value or b"")
        gathered = self._gathered.get(place)
        if gathered is None:
            if not self._gathered:
                self._loop.call_soon(self.hand_over)
            gathered = self._gathered[place] = _Gathered()
        elif gathered.size + size > GATHERED_BYTES_MAX:
            self._hand_over(stream, gathered)  # what is too large for the log must not take others with it
            gathered = self._gathered[place] = _Gathered()
        gathered.entries.append(entry)
        gathered.records += records
        gathered.size += size

    def _hand_over(self, stream: str, gathered: _Gathered) -> None:
        assert self._log is not None
        if not gathered.entries:
            return
        try:
            self._log.append(stream, gathered.records, token=gathered.entries)
        except PenstockError as error:
            self._fail(error)
            self._loop.call_soon(self._tell_failed, gathered.entries, error)

    def _committed(self, appended: Sequence[Appended]) -> None:
        for each in appended:
            entries = each.token
            assert isinstance(entries, list)
            if each.error is not None:
                self._fail(each.error)
                self._tell_failed(entries, each.error)
                continue
            self.problem = None
            offset = each.offset
            for entry in entries:
                records, on_durable, on_written = entry
                if on_written is _UNFOLDED:
                    try:
                        on_durable(None)  # type: ignore[misc]
                    except Exception:  # a defect of ours: the other messages of this round must not wait for ever
                        _log.exception("%r failed", on_durable)
                elif on_durable is not None:
                    self._fold(each.stream, each.partition, offset, records, on_durable)
                elif on_written is not None:
                    try:
                        on_written(offset, None)
                    except Exception:  # likewise
                        _log.exception("%r failed", on_written)
                offset += len(records)

    def _fold(
        self, stream: str, partition: int, offset: int, records: Sequence[NewRecord], on_durable: OnDurable
    ) -> None:
        events = [
            self._projections.feed(
                stream, partition, Record(offset + index, new.key, new.value, new.timestamp_ms, new.headers)
            )
            for index, new in enumerate(records)
        ]
        self._call(on_durable, None)
        for event in events:
            self._call(self._react, event)

    def _tell_failed(self, entries: Sequence[_Entry], error: Exception) -> None:
        for _, on_durable, on_written in entries:
            if on_durable is not None:
                self._call(on_durable, error)
            elif on_written is not None:
                self._call(lambda failed, tell=on_written: tell(-1, failed), error)  # type: ignore[misc]

    def _fail(self, error: Exception) -> None:
        self.problem = str(error)
        held_back = self._quiet.due("append")
        if held_back is not None:
            _log.error("nothing is acknowledged: %s (%d times more before)", error, held_back)

    def _call(self, function: Callable[[T], object], argument: T) -> None:
        try:
            function(argument)
        except Exception:  # likewise
            _log.exception("%r failed", function)
