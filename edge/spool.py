"""The spool: frames on disk until the hub has acknowledged them, within a budget of bytes.

It is the event log with one partition. Beside it stands spool.json: up to which offset frames are freed (acknowledged
or given up), which beyond it, and the book of each epoch. It is written before anything is freed, so whatever is killed
when, a frame is held, or declared dropped, or acknowledged. What it does not know yet is read from the log again at the
next start; frames that were acknowledged and not yet freed are then sent again, which is harmless.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge.account import EpochBook, account
from edge.renumbering import renumbered
from edge.spooled import SpooledFrame, frame_bytes, frame_key, read_frame
from streams.clock import Clock
from streams.errors import CorruptError
from streams.files import Files
from streams.log import DamagedRange, EventLog, LogSettings, StreamReader
from streams.record import NewRecord
from streams.sequences import SequenceSet

_log = logging.getLogger(__name__)

STREAM = "spool"
STATE_NAME = "spool.json"
OVER_BUDGET = "spool over its budget"
DAMAGED = "spool damaged"
NUMBERED_ANEW = "numbered anew in a later epoch"

_READ_BYTES = 256 * 1024
_FRAMES_AT_ONCE = 256
_DROP_SHARE = 16
"""When the budget is reached, a sixteenth of it is given up at once: each time costs a sync of the disk."""


class Spool:
    """Blocks on the disk: call it from a thread, one call at a time. `acknowledge`, `account` and the figures do not.

    OSError or a PenstockError from a call that writes: nothing was taken, the same call may succeed later.
    """

    def __init__(self, directory: Path, *, files: Files, clock: Clock, bytes_max: int) -> None:
        self._directory = directory
        self._files = files
        self._clock = clock
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._log: EventLog | None = None
        self._reader: StreamReader | None = None
        self._acknowledged: set[int] = set()
        self._saved: dict[str, Any] = {}
        self.books: dict[int, EpochBook] = {}
        self.oldest = 0
        """Offset of the oldest frame that is not freed."""
        self.end = 0
        """Offset that the next frame will get."""
        self.bytes = 0
        self.lost_state = False
        """Whether spool.json was there no more: numbers may have been used that nobody remembers."""

    # -- opening and closing -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open or make it, and take in what an earlier start left. Writes no state: `save` does, when all is known."""
        self._files.make_directory(self._directory)
        kept = self._read_state()
        settings = LogSettings(partitions=1, segment_bytes=max(65536, self._bytes_max // 32))
        self._log = EventLog.open(self._directory / "log", {STREAM: settings}, files=self._files, clock=self._clock)
        self._reader = self._log.reader(STREAM)
        self._start(kept, earliest=self._reader.earliest, end=self._log.end_offset(STREAM))
        self._saved = kept

    def close(self) -> None:
        """Let go of the files. What `save` has not written is read from the log again."""
        log, self._log = self._log, None
        if self._reader is not None:
            self._reader.close()
        if log is not None:
            log.close()

    @property
    def frames(self) -> int:
        """Frames that wait for the hub."""
        return self.end - self.oldest - len(self._acknowledged)

    @property
    def unsaved(self) -> int:
        """Frames that were freed and would be sent again if the agent were killed now."""
        return self.oldest - int(self._saved.get("oldest", 0))

    @property
    def epoch_seen(self) -> int:
        """The largest epoch that ever was in the spool; -1 when none was."""
        return max(self.books, default=-1)

    def sealed_to(self, epoch: int) -> int:
        """The first number of `epoch` that has neither been in the spool nor been given up."""
        with self._lock:
            book = self.books.get(epoch)
            return book.sealed if book else 0

    # -- frames ------------------------------------------------------------------------------------------------------

    def append(self, payload: bytes, *, epoch: int, first: int, stop: int, manifest: int) -> None:
        """Keep a frame; durable when this returns. A frame that is there already is not kept twice."""
        if self.sealed_to(epoch) >= stop:
            return
        size = frame_bytes(len(payload))
        if self.bytes + size > self._bytes_max:
            self._drop_oldest(size)
        key = frame_key(epoch=epoch, first=first, stop=stop, manifest=manifest)
        record = NewRecord(key=key, value=payload, timestamp_ms=self._clock.time_ns() // 1_000_000)
        log = self._opened()
        log.append_durable(STREAM, [record])
        with self._lock:
            self._hold(epoch, first, stop, size)
            self.end = log.end_offset(STREAM)

    def read(self, offset: int, frames: int) -> list[SpooledFrame]:
        """Up to `frames` frames from `offset` on that are not freed. What is damaged is declared and passed over."""
        found: list[SpooledFrame] = []
        while len(found) < frames and offset < self.end:
            try:
                more = self._read(offset)
            except DamagedRange as damage:
                self._give_up_damage(damage)
                offset = damage.resume
                continue
            found += [frame for frame in more if frame.offset not in self._acknowledged]
            offset = more[-1].offset + 1
        return found[:frames]

    def acknowledge(self, frame: SpooledFrame) -> None:
        """The hub has it. It is freed on disk by the next `save`."""
        with self._lock:
            if frame.offset < self.oldest:  # given up meanwhile, and yet it arrived
                self.books[frame.epoch].acknowledge(frame.first, frame.stop)
                return
            if frame.offset in self._acknowledged:
                return
            self.books[frame.epoch].acknowledge(frame.first, frame.stop)
            self.bytes = max(0, self.bytes - frame.size)
            self._free({frame.offset})

    def account(self, *, epoch: int, produced: int, time_ms: int) -> dict[str, Any]:
        """What to tell the hub, when the numbers below `produced` are used and durable."""
        with self._lock:
            sealed = self.books[epoch].sealed if epoch in self.books else 0
            produced = max(produced, sealed)
            return account(self.books, epoch=epoch, produced=produced, pending=(sealed, produced), time_ms=time_ms)

    def dropped(self, epoch: int) -> int:
        """Readings of `epoch` that were given up."""
        with self._lock:
            return self.books[epoch].dropped_count() if epoch in self.books else 0

    def oldest_time_ms(self) -> int | None:
        """When the oldest frame that waits was sealed, milliseconds since 1970; None when none waits."""
        frames = self.read(self.oldest, 1)
        return frames[0].sealed_ms if frames else None

    def manifests(self) -> set[int]:
        """Numbers of the manifests that waiting frames name. Reads them all."""
        found: set[int] = set()
        offset = self.oldest
        while frames := self.read(offset, _FRAMES_AT_ONCE):
            found.update(frame.manifest for frame in frames)
            offset = frames[-1].offset + 1
        return found

    def give_up(self, *, epoch: int, first: int, stop: int, reason: str) -> None:
        """Readings that were numbered and never came into a frame; durable when this returns."""
        with self._lock:
            self.books.setdefault(epoch, EpochBook()).drop(first, stop, reason)
        self.save()

    def renumber(self, *, epoch: int, start: int, into: int) -> int:
        """Readings of `epoch` from number `start` on get new numbers, in the epoch `into`; returns how many.

        The old numbers are declared. Durable when this returns; killed in between, a frame may be there under both.
        """
        count, offset, end = 0, self.oldest, self.end
        while offset < end and (frames := self.read(offset, min(_FRAMES_AT_ONCE, end - offset))):
            for frame in frames:
                if frame.epoch == epoch and frame.first >= start and frame.offset not in self._acknowledged:
                    self._append_anew(frame, into)
                    count += frame.stop - frame.first
            offset = frames[-1].offset + 1
        self.save()
        return count

    def save(self) -> None:
        """Write down what is freed, then free it on disk. Does nothing when nothing has changed."""
        with self._lock:
            state = self._state()
        if state == self._saved:
            return
        self._files.replace(self._directory / STATE_NAME, json.dumps(state).encode())
        self._saved = state
        self._opened().truncate_before(STREAM, 0, int(state["oldest"]))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _start(self, kept: dict[str, Any], *, earliest: int, end: int) -> None:
        self.books = {int(epoch): EpochBook.from_json(book) for epoch, book in kept.get("books", {}).items()}
        self.bytes, self.end = int(kept.get("bytes", 0)), end
        oldest, upto = int(kept.get("oldest", 0)), int(kept.get("upto", 0))
        self.oldest = max(oldest, earliest)
        freed = SequenceSet(kept.get("freed", ()))
        is_short = end < upto or oldest < earliest
        if end < upto:
            _log.error("the spool's log ends at %d and should reach %d", end, upto)
            self.oldest, self.bytes, upto, freed = earliest, 0, earliest, SequenceSet()
        self._free(offset for start, stop in freed for offset in range(max(start, self.oldest), min(stop, upto)))
        self._take_in(max(self.oldest, upto))
        if is_short:
            self._declare_lost()

    def _opened(self) -> EventLog:
        assert self._log is not None, "the spool is open"
        return self._log

    def _read(self, offset: int) -> list[SpooledFrame]:
        """Some frames from `offset` on, which is below the end."""
        assert self._reader is not None, "the spool is open"
        records = self._reader.read(offset, bytes_max=_READ_BYTES)
        return [read_frame(record) for record in records]

    def _take_in(self, offset: int) -> None:
        """Frames from `offset` on are in the log and not in the books."""
        while frames := self.read(offset, _FRAMES_AT_ONCE):
            with self._lock:
                for frame in frames:
                    self._hold(frame.epoch, frame.first, frame.stop, frame.size)
            offset = frames[-1].offset + 1

    def _hold(self, epoch: int, first: int, stop: int, size: int) -> None:
        self.books.setdefault(epoch, EpochBook()).hold(first, stop)
        self.bytes += size

    def _free(self, offsets: Iterable[int]) -> None:
        self._acknowledged.update(offsets)
        while self.oldest in self._acknowledged:
            self._acknowledged.remove(self.oldest)
            self.oldest += 1

    def _give_up_damage(self, damage: DamagedRange) -> None:
        _log.error("the spool is damaged: %s", damage)
        with self._lock:
            self._free(range(max(self.oldest, damage.offset), damage.resume))
        self._declare_lost()

    def _declare_lost(self) -> None:
        """Whatever the books hold and the log does not give is declared dropped."""
        there: dict[int, SequenceSet] = {}
        offset = self.oldest
        while offset < self.end:
            try:
                frames = self._read(offset)
            except DamagedRange as damage:
                offset = damage.resume
                continue
            for frame in frames:
                there.setdefault(frame.epoch, SequenceSet()).add(frame.first, frame.stop)
            offset = frames[-1].offset + 1
        with self._lock:
            for epoch, book in self.books.items():
                gone = book.held.copy()
                for span in there.get(epoch, SequenceSet()):
                    gone.remove(*span)
                for start, stop in gone:
                    _log.error("readings %d to %d of epoch %d are lost: %s", start, stop, epoch, DAMAGED)
                    book.drop(start, stop, DAMAGED)

    def _append_anew(self, frame: SpooledFrame, epoch: int) -> None:
        first = self.sealed_to(epoch)
        stop = first + frame.stop - frame.first
        payload = renumbered(frame.payload, epoch=epoch, sequence=first)
        self.append(payload, epoch=epoch, first=first, stop=stop, manifest=frame.manifest)
        with self._lock:
            if frame.offset >= self.oldest:
                self._drop(frame, NUMBERED_ANEW)

    def _drop_oldest(self, needed: int) -> None:
        """Make room for `needed` bytes and a share more. The declaration is durable before anything is removed."""
        target = max(0, self._bytes_max - needed - self._bytes_max // _DROP_SHARE)
        dropped = 0
        while self.bytes > target and self.oldest < self.end:
            for frame in self.read(self.oldest, 64):
                if self.bytes <= target:
                    break
                with self._lock:
                    self._drop(frame, OVER_BUDGET)
                dropped += frame.stop - frame.first
        self.save()
        _log.error(
            "the spool is over its budget of %d bytes: its oldest %d readings are dropped", self._bytes_max, dropped
        )

    def _drop(self, frame: SpooledFrame, reason: str) -> None:
        if frame.offset not in self._acknowledged:
            self.books[frame.epoch].drop(frame.first, frame.stop, reason)
            self.bytes = max(0, self.bytes - frame.size)
        self._free({frame.offset})

    def _state(self) -> dict[str, Any]:
        books = {str(epoch): book.to_json() for epoch, book in self.books.items()}
        freed = SequenceSet((offset, offset + 1) for offset in self._acknowledged).spans()
        known = {"oldest": self.oldest, "freed": freed, "upto": self.end, "bytes": self.bytes}
        return {"spool": 1, **known, "books": books}

    def _read_state(self) -> dict[str, Any]:
        path = self._directory / STATE_NAME
        try:
            file = self._files.open(path)
        except FileNotFoundError:
            self.lost_state = True
            return {}
        try:
            kept = json.loads(file.read(0, file.size()))
            if kept["spool"] != 1:
                raise CorruptError(f"its version is {kept['spool']}; this program reads version 1")
            SequenceSet(kept.get("freed", ()))
            for book in kept["books"].values():
                EpochBook.from_json(book)
        except (ValueError, KeyError, TypeError, AttributeError, CorruptError) as error:
            _log.error("%s cannot be read (%s): every frame in the spool is sent again", path, error)
            self.lost_state = True
            return {}
        finally:
            file.close()
        found: dict[str, Any] = kept
        return found
