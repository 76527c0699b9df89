"""The writer of one partition: segments, recovery, the durable point.

Open is recover. What lies before the durable point was synced and is taken as it is (a reader checks it); what follows
is checked batch by batch, or all of it when there is no durable point. A tail without a whole batch in it was torn: it
is cut, and kept in a .cut file. Damage that has a whole batch behind it stays, named, and takes nothing else with it.
Offsets below the durable point are never given twice, whatever is left of them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from streams.errors import DiskError
from streams.files import Buffer, Files
from streams.log.batch import OFFSET, NewBatch
from streams.log.durable import Durable, DurablePoint, trusted_bytes
from streams.log.index import SUFFIX
from streams.log.scan import Damaged, walk_segment
from streams.log.segment import Segment, segment_bases, segment_path
from streams.log.settings import LogSettings

_log = logging.getLogger("penstock.log")

_CALL_BYTES = 1 << 20
"""For larger writes Linux looks for pages of 2 MiB, and takes several times as long where it has none at hand."""


@dataclass(slots=True)
class Recovered:
    """What opening found."""

    checked_bytes: int = 0
    cut_bytes: int = 0
    cut_files: list[Path] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """Sentences that name damage in the middle."""


class _Closed(NamedTuple):
    """A segment that is finished."""

    size: int
    newest_ms: int


class Partition:
    """Not safe for several threads: one committer drives it. The figures may be read from any."""

    def __init__(self, directory: Path, settings: LogSettings, *, files: Files, check_all: bool = False) -> None:
        """Open and recover. DiskError when that cannot be. `check_all`: do not trust the durable point."""
        self.directory = directory
        self._settings = settings
        self._files = files
        self.recovered = Recovered()
        self.next_offset = 0
        self._closed: dict[int, _Closed] = {}
        """The segments before the active one, by base."""
        self._broken = False
        """The disk failed: what it holds behind the durable point is not known."""
        self._must_roll = False
        self._active: Segment | None = None
        try:
            files.make_directory(directory)
            self._durable = DurablePoint(directory, files=files)
        except OSError as error:
            raise DiskError(f"cannot open {directory}: {error}; make room or mend the disk") from error
        try:
            self._recover(None if check_all else self._durable.point)
        except BaseException as error:
            self._close_files()
            if isinstance(error, OSError):
                raise DiskError(f"cannot open {directory}: {error}; make room or mend the disk") from error
            raise

    # -- writing -----------------------------------------------------------------------------------------------------

    def write(self, batches: Sequence[NewBatch]) -> list[int]:
        """Write batches; returns their base offsets. Not durable before `sync`. DiskError: nothing of it counts."""
        active = self._ready()
        offset, position = self.next_offset, active.size
        offsets: list[int] = []
        calls: list[list[Buffer]] = []
        size = _CALL_BYTES
        for batch in batches:
            offsets.append(offset)
            if size + batch.size > _CALL_BYTES:
                calls.append([])
                size = 0
            calls[-1] += (OFFSET.pack(offset) + batch.head, *batch.parts)
            size += batch.size
            offset += batch.offsets
        try:
            active.append(calls)
        except OSError as error:
            self._broken = not active.is_clean()
            raise DiskError(f"cannot write to {active.path}: {error}; make room, nothing is lost") from error
        for base, batch in zip(offsets, batches):
            active.index.note(base - active.base, position, batch.size, batch.max_timestamp_ms)
            position += batch.size
        self.next_offset = offset
        return offsets

    def sync(self) -> None:
        """Bring what was written to disk and tell the readers. DiskError: it must not be acknowledged."""
        active = self._opened
        try:
            active.file.sync()
            self._publish()
        except OSError as error:
            self._broken = True
            raise DiskError(f"cannot sync {active.path}: {error}; what was not acknowledged is cut off") from error
        active.index.write()

    @property
    def durable_end(self) -> int:
        """First offset that is not on disk."""
        return self._durable.point.end if self._durable.point else 0

    # -- removing ----------------------------------------------------------------------------------------------------

    def truncate_before(self, offset: int) -> int:
        """Remove segments that hold nothing from `offset` on; returns how many."""
        is_large = self._opened.size >= self._settings.segment_bytes // 2
        if offset >= self.durable_end and is_large and not self._broken:
            self._roll()
        following = [*list(self._closed)[1:], self._opened.base]
        gone = [base for base, after in zip(self._closed, following) if after <= offset]
        self._remove(gone)
        return len(gone)

    def enforce_retention(self, now_ms: int) -> int:
        """Remove segments that are too old, or too much, oldest first; returns how many.

        The active segment is never removed for its size; one whose newest record is too old is finished first.
        """
        if not self._broken and self._opened.size and self._is_too_old(self._opened.index.newest_ms, now_ms):
            self._roll()
        total, limit = self.size_bytes(), self._settings.retention_bytes
        gone: list[int] = []
        for base, closed in self._closed.items():
            is_too_much = limit is not None and total > limit
            if not is_too_much and not self._is_too_old(closed.newest_ms, now_ms):
                break
            gone.append(base)
            total -= closed.size
        self._remove(gone)
        return len(gone)

    def size_bytes(self) -> int:
        """Bytes of all segments."""
        return sum(closed.size for closed in list(self._closed.values())) + self._opened.size

    def close(self) -> None:
        """Close the files; what is durable stays as it is."""
        try:
            if self._broken:
                self._cut_to_durable()
            self._durable.sync()
        finally:
            self._close_files()

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _opened(self) -> Segment:
        assert self._active is not None, "the partition is open"
        return self._active

    def _open(self, base: int) -> Segment:
        return Segment(
            self.directory, base, files=self._files, index_interval_bytes=self._settings.index_interval_bytes
        )

    def _publish(self) -> None:
        self._durable.publish(Durable(self.next_offset, self._opened.base, self._opened.size))

    def _ready(self) -> Segment:
        """The segment to write to."""
        if self._broken:
            self._restart()
        if self._must_roll or self._opened.size >= self._settings.segment_bytes:
            self._roll()
        return self._opened

    def _roll(self) -> None:
        """Finish the active segment, which is durable, and begin a new one. DiskError: nothing is written yet."""
        self._must_roll = True  # a segment with the next base may be there from now on: no other may take its offsets
        finished = self._opened
        try:
            finished.index.finish(self.next_offset - finished.base, finished.size)
            following = self._open(self.next_offset)
            try:
                self._files.sync_directory(self.directory)
            except BaseException:
                following.close()
                raise
        except OSError as error:
            raise DiskError(f"cannot begin a new segment in {self.directory}: {error}; make room") from error
        self._closed[finished.base] = _Closed(finished.size, finished.index.newest_ms)
        self._active = following
        self._must_roll = False
        finished.close()
        try:  # the next start has less to check; nothing else depends on it
            self._publish()
            self._durable.sync()
        except OSError as error:
            _log.warning("cannot write the durable point of %s: %s", self.directory, error)

    def _restart(self) -> None:
        """After a failed sync nobody knows what is on disk: cut back to what was acknowledged, go on in a new file."""
        _log.error("%s goes on at offset %d after a disk error", self.directory, self.durable_end)
        try:
            self._cut_to_durable()
        except OSError as error:
            raise DiskError(f"{self.directory} cannot be repaired: {error}; make room or mend the disk") from error

    def _cut_to_durable(self) -> None:
        point, active = self._durable.point, self._opened
        assert point is not None
        active.cut(point.position if point.segment == active.base else 0)
        self.next_offset = point.end
        self._must_roll = active.size > 0
        self._broken = False

    def _is_too_old(self, newest_ms: int, now_ms: int) -> bool:
        limit_s = self._settings.retention_s
        return limit_s is not None and newest_ms < now_ms - limit_s * 1000

    def _remove(self, bases: Sequence[int]) -> None:
        for base in bases:
            for suffix in (".log", SUFFIX):
                path = segment_path(self.directory, base, suffix)
                if self._files.exists(path):
                    self._files.remove(path)
            del self._closed[base]
        if bases:
            self._files.sync_directory(self.directory)

    def _close_files(self) -> None:
        self._durable.close()
        if self._active is not None:
            self._active.close()

    # -- recovery ----------------------------------------------------------------------------------------------------

    def _recover(self, point: Durable | None) -> None:
        bases = segment_bases(self.directory, self._files)
        for base in set(segment_bases(self.directory, self._files, SUFFIX)) - set(bases):
            self._files.remove(segment_path(self.directory, base, SUFFIX))
        known_end = self._durable.point.end if self._durable.point else 0
        if not bases:
            bases = [known_end]
        if point is not None and point.segment not in bases:
            point = None
        offset = bases[0]
        for base, following in zip(bases, [*bases[1:], None]):
            self._complain_of_gap(offset, base)
            segment = self._open(base)
            if following is None:
                self._active = segment
                offset = self._check(segment, None, point)
            else:
                offset = self._recover_closed(segment, following, point)
        self.next_offset = max(offset, known_end)
        self._complain_of_gap(offset, self.next_offset)
        self._must_roll = self.next_offset > offset
        self._files.sync_directory(self.directory)
        self._files.sync_directory(self.directory.parent)
        self._publish()

    def _recover_closed(self, segment: Segment, following: int, point: Durable | None) -> int:
        """Check a segment before the last, unless it is known to be good and has its index."""
        try:
            is_known = segment.size == trusted_bytes(segment.base, segment.size, point)
            offset = following if is_known and segment.index.is_finished(segment.size) else None
            if offset is None:
                offset = self._check(segment, following, point)
                segment.index.finish(following - segment.base, segment.size)
            self._closed[segment.base] = _Closed(segment.size, segment.index.newest_ms)
            return offset
        finally:
            segment.close()

    def _check(self, segment: Segment, following: int | None, point: Durable | None) -> int:
        """Walk over a segment from where it is not known to be good; returns the offset behind its last batch."""
        trusted = trusted_bytes(segment.base, segment.size, point)
        entry = segment.index.restore(segment.file, segment.base, trusted)
        good, offset = entry.position, segment.base + entry.relative
        damaged: list[Damaged] = []
        for each in walk_segment(segment.file, segment.base, good, segment.size, offset, following, point):
            if isinstance(each, Damaged):
                damaged.append(each)
                continue
            header = each.header
            good, offset = each.position + header.size, header.next_offset
            segment.index.note(header.base_offset - segment.base, each.position, header.size, header.max_timestamp_ms)
        self.recovered.checked_bytes += segment.size - entry.position
        is_torn = following is None and good >= trusted
        for each in damaged:
            if each.position < good or not is_torn:
                self._complain(f"bytes {each.position} to {each.stop} of {segment.path} are damaged; they stay")
        if is_torn and good < segment.size:
            self._cut(segment, good)
        if segment.size > trusted and (point is not None or following is None):
            segment.write_again(trusted)
        if following is None:
            segment.file.sync()
        return offset

    def _cut(self, segment: Segment, position: int) -> None:
        size = segment.size - position
        self.recovered.cut_bytes += size
        try:
            kept = segment.keep_tail(position)
        except OSError as error:
            _log.error("cut a torn tail of %d bytes off %s; a copy cannot be kept: %s", size, segment.path, error)
        else:
            self.recovered.cut_files.append(kept)
            _log.warning("cut a torn tail of %d bytes off %s; it is kept in %s", size, segment.path, kept)
        segment.cut(position)

    def _complain_of_gap(self, offset: int, following: int) -> None:
        if offset < following:
            self._complain(f"offsets {offset} to {following} of {self.directory} are gone")

    def _complain(self, sentence: str) -> None:
        self.recovered.damaged.append(sentence)
        _log.error("%s", sentence)
