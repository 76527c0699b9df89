"""The hub's way to the log: append, wait for the disk, fold into the projections, then tell who waits.

Appending never blocks. The log's committer says in its own thread what has become durable; one call into the event
loop a commit round folds the records in the order of the log, so that nothing is shown that a power cut takes back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hub.events import Event
from hub.projections import Projections
from hub.quiet import Quiet
from streams.clock import Clock
from streams.errors import PenstockError
from streams.log import Appended, EventLog
from streams.record import NewRecord, Record

_log = logging.getLogger("penstock.hub.journal")

T = TypeVar("T")

OnDurable = Callable[[Exception | None], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What comes back from the committer with the news of an append."""

    records: Sequence[NewRecord]
    on_durable: OnDurable


class Journal:
    """Appends to the log from the event loop. `react` is told each event once it is folded."""

    def __init__(self, projections: Projections, *, clock: Clock, react: Callable[[Event], None]) -> None:
        self._projections = projections
        self._react = react
        self._quiet = Quiet(clock)
        self._loop = asyncio.get_running_loop()
        self._log: EventLog | None = None
        self.problem: str | None = None
        """Why the last append failed; None when it did not."""

    def attach(self, log: EventLog) -> None:
        """The log to append to, which was opened with `on_commit`."""
        self._log = log

    def append(self, stream: str, records: Sequence[NewRecord], on_durable: OnDurable) -> None:
        """Append records of one device; `on_durable` is called once, later, in the loop: None, or why it failed."""
        assert self._log is not None
        try:
            self._log.append(stream, records, token=_Entry(records, on_durable))
        except PenstockError as error:
            self._fail(error)
            self._loop.call_soon(on_durable, error)

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

    def on_commit(self, appended: Sequence[Appended]) -> None:
        """What the log's committer calls, in its thread, after each round."""
        self._loop.call_soon_threadsafe(self._committed, appended)

    def _committed(self, appended: Sequence[Appended]) -> None:
        for each in appended:
            entry = each.token
            assert isinstance(entry, _Entry)
            if each.error is None:
                self._fold(each, entry)
            else:
                self._fail(each.error)
                self._call(entry.on_durable, each.error)

    def _fold(self, each: Appended, entry: _Entry) -> None:
        self.problem = None
        events = [
            self._projections.feed(
                each.stream,
                each.partition,
                Record(each.offset + index, new.key, new.value, new.timestamp_ms, new.headers),
            )
            for index, new in enumerate(entry.records)
        ]
        self._call(entry.on_durable, None)
        for event in events:
            self._call(self._react, event)

    def _fail(self, error: Exception) -> None:
        self.problem = str(error)
        held_back = self._quiet.due("append")
        if held_back is not None:
            _log.error("nothing is acknowledged: %s (%d times more before)", error, held_back)

    def _call(self, function: Callable[[T], object], argument: T) -> None:
        try:
            function(argument)
        except Exception:  # a defect of ours: the other messages of this round must not wait for ever
            _log.exception("%r failed", function)
