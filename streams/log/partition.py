"""The writer of one partition: segments, recovery, the durable point.

Open is recover. What lies before the durable point was synced and is taken as it is (a reader checks it); what follows
is checked batch by batch. At the first that is not whole everything behind it is cut: it was never acknowledged. The
cut bytes are kept in a .cut file. Without a durable point everything is checked; then only a torn tail is cut, and
damage in the middle stays, named, so that it takes nothing else with it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams.errors import DiskError
from streams.files import Buffer, Files
from streams.log.batch import OFFSET
from streams.log.durable import Durable, DurablePoint
from streams.log.scan import next_intact, scan
from streams.log.segment import Segment, read_times, segment_bases, segment_path
from streams.log.settings import LogSettings

_log = logging.getLogger("penstock.log")


@dataclass(slots=True)
class Recovered:
    """What opening found."""

    checked_bytes: int = 0
    cut_bytes: int = 0
    cut_files: list[Path] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """Sentences that name damage in the middle."""


class Partition:
    """Not safe for several threads: one committer drives it."""

    def __init__(self, directory: Path, settings: LogSettings, *, files: Files) -> None:
        self.directory = directory
        self._settings = settings
        self._files = files
        files.make_directory(directory)
        self.recovered = Recovered()
        self._broken = False
        self._durable = DurablePoint(directory, files=files)
        self._segments: list[int] = segment_bases(directory, files)
        self.next_offset = 0
        self._active = self._recover()
        self._publish()

    # -- writing -----------------------------------------------------------------------------------------------------

    def write(self, batches: Sequence[tuple[bytes, int, int]]) -> list[int]:
        """Write batches (body, records, newest timestamp in ms); returns their base offsets. Not durable before `sync`.

        DiskError: nothing of it was written.
        """
        if self._broken:
            self._restart()
        if self._active.size >= self._settings.segment_bytes:
            self._roll()
        offset, position = self.next_offset, self._active.size
        offsets: list[int] = []
        parts: list[Buffer] = []
        for body, count, _ in batches:
            offsets.append(offset)
            parts += (OFFSET.pack(offset), body)
            offset += count
        try:
            self._active.append(parts)
        except OSError as error:
            self._broken = self._active.file.size() != position
            raise DiskError(f"cannot write to {self._active.path}: {error}; make room, nothing is lost") from error
        for base, (body, _, timestamp_ms) in zip(offsets, batches):
            size = OFFSET.size + len(body)
            self._active.note(base, position, size, timestamp_ms)
            position += size
        self.next_offset = offset
        return offsets

    def sync(self) -> None:
        """Bring what was written to disk and tell the readers. DiskError: it must not be acknowledged."""
        try:
            self._active.file.sync()
        except OSError as error:
            self._broken = True
            raise DiskError(
                f"cannot sync {self._active.path}: {error}; what was not acknowledged is cut off"
            ) from error
        self._publish()
        try:
            self._active.write_index()
        except OSError as error:  # the index only saves work; it is rebuilt at the next start
            _log.warning("cannot write the index of %s: %s", self._active.path, error)

    @property
    def durable_end(self) -> int:
        """First offset that is not on disk."""
        return self._durable.point.end if self._durable.point else 0

    # -- removing ----------------------------------------------------------------------------------------------------

    def truncate_before(self, offset: int) -> int:
        """Remove segments that hold nothing from `offset` on; returns how many."""
        if offset >= self.next_offset and self._active.size >= self._settings.segment_bytes // 2:
            self._roll()
        gone = [base for base, following in zip(self._segments, self._segments[1:]) if following <= offset]
        self._remove(gone)
        return len(gone)

    def enforce_retention(self, now_ms: int) -> int:
        """Remove what is too old or too much, the active segment never; returns how many segments."""
        gone: list[int] = []
        sizes = {base: self._size_of(base) for base in self._segments}
        total = sum(sizes.values())
        for base in self._segments[:-1]:
            limit = self._settings.retention_bytes
            too_much = limit is not None and total > limit
            if not too_much and not self._is_too_old(base, now_ms):
                break
            gone.append(base)
            total -= sizes[base]
        self._remove(gone)
        return len(gone)

    @property
    def earliest(self) -> int:
        return self._segments[0]

    def size_bytes(self) -> int:
        return sum(self._size_of(base) for base in self._segments)

    def close(self) -> None:
        """Close the files; what is durable stays as it is."""
        try:
            self._durable.sync()
        finally:
            self._durable.close()
            self._active.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _open(self, base: int) -> Segment:
        return Segment(
            self.directory, base, files=self._files, index_interval_bytes=self._settings.index_interval_bytes
        )

    def _publish(self) -> None:
        self._durable.publish(Durable(self.next_offset, self._active.base, self._active.size))

    def _roll(self) -> None:
        """Begin a new segment. OSError leaves the old one active."""
        try:
            self._active.write_index()
            self._active.finish()
            following = self._open(self.next_offset)
            self._files.sync_directory(self.directory)
        except OSError as error:
            raise DiskError(f"cannot begin a new segment in {self.directory}: {error}; make room") from error
        self._active.close()
        self._active = following
        if following.base not in self._segments:
            self._segments.append(following.base)
        self._publish()
        self._durable.sync()

    def _restart(self) -> None:
        """After a failed sync nobody knows what is on disk: cut back to what was acknowledged, go on in a new file."""
        point = self._durable.point
        assert point is not None
        _log.error("%s goes on at offset %d after a disk error", self.directory, point.end)
        try:
            self._active.file.truncate(point.position)
            self._active.size = point.position
            self.next_offset = point.end
            if point.position == 0:
                self._active.file.sync()
            else:
                self._active.rebuild_index()
                self._roll()
        except OSError as error:
            raise DiskError(f"{self.directory} cannot be repaired: {error}; make room or mend the disk") from error
        self._broken = False

    def _recover(self) -> Segment:
        point = self._durable.point
        if not self._segments:
            self._segments = [point.end if point else 0]
            self.next_offset = self._segments[0]
            segment = self._open(self._segments[0])
            self._files.sync_directory(self.directory)
            return segment
        keep_damage = point is None or point.segment not in self._segments
        start = 0 if keep_damage else self._segments.index(point.segment)  # type: ignore[union-attr]
        for place in range(start, len(self._segments)):
            first = 0 if keep_damage or place > start else point.position  # type: ignore[union-attr]
            known = point.end if point and first else self._segments[place]
            if not self._check(place, first, known, keep_damage=keep_damage):
                break
        return self._ready(self._open(self._segments[-1]))

    def _check(self, place: int, position: int, next_offset: int, *, keep_damage: bool) -> bool:
        """Check a segment from `position`; returns whether the segments behind it are to be looked at."""
        path = segment_path(self.directory, self._segments[place])
        file = self._files.open(path, write=True)
        try:
            end = file.size()
            if position > end:
                self._complain(f"{path} should hold {position} bytes that were on disk and holds {end}")
                position, next_offset = 0, self._segments[place]
            self.recovered.checked_bytes += end - position
            while True:
                for found in scan(file, position, end):
                    position = found.position + found.header.size
                    next_offset = found.header.next_offset
                if position == end:
                    break
                later = next_intact(file, position + 1, end, offset_min=next_offset) if keep_damage else None
                if later is None:
                    self._cut(file.read(position, end - position), path, position)
                    file.truncate(position)
                    file.sync()
                    break
                self._complain(f"bytes {position} to {later} of {path} are damaged; what follows is kept")
                position = later
            self.next_offset = next_offset
            if position < end and not keep_damage:
                self._put_aside(place + 1)
                return False
            return True
        finally:
            file.close()

    def _cut(self, data: bytes, path: Path, position: int) -> None:
        keep = path.with_name(f"{path.stem}.{position}.cut")
        self._files.replace(keep, data)
        self.recovered.cut_bytes += len(data)
        self.recovered.cut_files.append(keep)
        _log.warning("cut %d bytes that were never acknowledged from %s; they are kept in %s", len(data), path, keep)

    def _put_aside(self, place: int) -> None:
        for base in self._segments[place:]:
            path = segment_path(self.directory, base)
            aside = path.with_name(path.name + ".cut")
            self._files.rename(path, aside)
            self.recovered.cut_files.append(aside)
        del self._segments[place:]
        self._files.sync_directory(self.directory)

    def _complain(self, sentence: str) -> None:
        self.recovered.damaged.append(sentence)
        _log.error("%s", sentence)

    def _ready(self, segment: Segment) -> Segment:
        """The last segment, synced and indexed, ready to be written."""
        segment.file.sync()
        segment.rebuild_index()
        if segment.size == 0:
            self.next_offset = max(self.next_offset, segment.base)
        return segment

    def _size_of(self, base: int) -> int:
        if base == self._active.base:
            return self._active.size
        file = self._files.open(segment_path(self.directory, base))
        try:
            return file.size()
        finally:
            file.close()

    def _is_too_old(self, base: int, now_ms: int) -> bool:
        if self._settings.retention_s is None:
            return False
        times = read_times(self.directory, base, files=self._files)
        return bool(times) and times[-1][0] < now_ms - self._settings.retention_s * 1000

    def _remove(self, bases: Sequence[int]) -> None:
        for base in bases:
            for suffix in (".log", ".index", ".timeindex"):
                path = segment_path(self.directory, base, suffix)
                if self._files.exists(path):
                    self._files.remove(path)
            self._segments.remove(base)
        if bases:
            self._files.sync_directory(self.directory)
