"""Reads a partition from any process, beside its writer, up to the durable point and never past it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from streams.errors import CorruptError, PenstockError
from streams.files import File, Files
from streams.log.batch import decode_batch
from streams.log.durable import NAME, Durable, read_durable
from streams.log.index import open_table
from streams.log.scan import Found, walk
from streams.log.segment import segment_bases, segment_path
from streams.record import Record

READ_BYTES = 4 << 20
READ_BYTES_MAX = 64 << 20


class OffsetOutOfRange(PenstockError):
    """The offset was removed by retention, or is past the end."""

    def __init__(self, offset: int, earliest: int, end: int, where: Path) -> None:
        super().__init__(f"offset {offset} is not in {where}: it holds {earliest} to {end}; read from one of these")
        self.earliest = earliest
        self.end = end


class DamagedRange(CorruptError):
    """A range of the log cannot be read; reading may go on at `resume`."""

    def __init__(self, offset: int, resume: int, where: str) -> None:
        super().__init__(f"{where} is damaged: offsets {offset} to {resume} cannot be read; what follows can")
        self.offset = offset
        self.resume = resume


class StreamReader:
    """One partition of one stream. Keeps its place, so that reading on costs no search. One thread at a time."""

    def __init__(self, directory: Path, stream: str, partition: int = 0, *, files: Files) -> None:
        self.directory = directory / stream / str(partition)
        self.stream = stream
        self.partition = partition
        self._files = files
        self._durable_file: File | None = None
        self._open: tuple[int, File] | None = None
        self._place: tuple[int, int, int] | None = None
        """An offset, and the segment and position where its batch begins."""
        self._known: list[int] = []
        """Segments that were there when they were last looked for."""

    # -- what there is -----------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """First offset that may not be read yet; 0 when nothing was ever written."""
        point = self._point()
        return point.end if point else 0

    @property
    def earliest(self) -> int:
        """First offset that is still kept."""
        bases = segment_bases(self.directory, self._files)
        return bases[0] if bases else 0

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments."""
        total = 0
        for base in segment_bases(self.directory, self._files):
            try:
                file = self._files.open(segment_path(self.directory, base))
            except FileNotFoundError:  # removed meanwhile
                continue
            total += file.size()
            file.close()
        return total

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, offset: int, *, bytes_max: int = READ_BYTES) -> list[Record]:
        """Records from `offset` on, about `bytes_max` bytes of batches at most, at least one batch; [] at the end.

        OffsetOutOfRange: it is not there any more, or not yet. DamagedRange: go on at its `resume`.
        """
        records: list[Record] = []
        for found in self.read_batches(offset, bytes_max=min(bytes_max, READ_BYTES_MAX)):
            try:
                batch = decode_batch(found.data, found.at, found.header)
            except CorruptError as error:  # its checksum is right: somebody wrote it so
                if records:
                    self._place = None
                    break
                resume = found.header.next_offset
                raise DamagedRange(
                    max(offset, found.header.base_offset), resume, f"{self.directory}: {error}"
                ) from None
            if found.header.base_offset < offset:
                batch = [record for record in batch if record.offset >= offset]
            records += batch
        return records

    def read_batches(self, offset: int, *, bytes_max: int = READ_BYTES) -> Iterator[Found]:
        """The same as raw batches; the first may begin before `offset`."""
        point = self._point()
        end = point.end if point else 0
        if offset == end:
            return
        if point is None or not 0 <= offset < end:
            raise OffsetOutOfRange(offset, self.earliest, end, self.directory)
        due, base, position = self._seek(offset, point)
        taken = 0
        while True:
            following = self._following(base, point)
            offset_end = end if following is None else following
            file = self._segment(base)
            if file is None:
                if offset_end > offset:
                    raise self._gone(offset, offset_end, base, end)
                due, base, position = offset_end, offset_end, 0
                continue
            stop = point.position if following is None else file.size()
            for found in walk(file, position, stop, due, offset_end=offset_end):
                if not isinstance(found, Found):
                    resume = offset_end if found.resume is None else found.resume
                    if resume > max(offset, found.offset):
                        if not taken:
                            self._place = resume, base, found.stop
                            raise self._damage(max(offset, found.offset), resume, base, found.position)
                        return
                    due, position = resume, found.stop
                    continue
                header = found.header
                due, position = header.base_offset + header.offsets, found.position + header.size
                self._place = due, base, position
                if due <= offset:
                    continue
                yield found
                taken += header.size
                if taken >= bytes_max:
                    return
            if due < offset_end and offset < offset_end:
                if taken:
                    return
                raise self._damage(max(offset, due), offset_end, base, position)
            if following is None or taken:
                return
            due, base, position = following, following, 0

    def offset_for_time(self, timestamp_ms: int) -> int:
        """The first offset of a batch that holds a record as new as `timestamp_ms`; the end when there is none."""
        point = self._point()
        if point is None:
            return 0
        for base in self._bases(point):
            found = self._first_as_new(base, timestamp_ms, point)
            if found is not None:
                return found
        return point.end

    def close(self) -> None:
        self._place = None
        if self._open is not None:
            self._open[1].close()
            self._open = None
        if self._durable_file is not None:
            self._durable_file.close()
            self._durable_file = None

    # -- inside ------------------------------------------------------------------------------------------------------

    def _point(self) -> Durable | None:
        if self._durable_file is None:
            try:
                self._durable_file = self._files.open(self.directory / NAME)
            except FileNotFoundError:
                return None
        return read_durable(self._durable_file)

    def _bases(self, point: Durable) -> list[int]:
        """The segments that may be read: one that was begun a moment ago holds nothing durable yet."""
        self._known = [base for base in segment_bases(self.directory, self._files) if base <= point.segment]
        return self._known

    def _following(self, base: int, point: Durable) -> int | None:
        """The segment after this one; None when this one is being written."""
        if base >= point.segment:
            return None
        if not self._known or self._known[-1] <= base:
            self._bases(point)
        place = bisect_right(self._known, base)
        return self._known[place] if place < len(self._known) else point.segment

    def _seek(self, offset: int, point: Durable) -> tuple[int, int, int]:
        """An offset at or before `offset`, and the segment and position where its batch begins."""
        if self._place is not None and self._place[0] == offset:
            return self._place
        bases = self._bases(point)
        if not bases or offset < bases[0]:
            raise OffsetOutOfRange(offset, bases[0] if bases else 0, point.end, self.directory)
        base = bases[bisect_right(bases, offset) - 1]
        file = self._segment(base)
        if file is None:
            raise self._gone(offset, point.end, base, point.end)
        stop = point.position if base == point.segment else file.size()
        with open_table(self.directory, base, files=self._files) as table:
            entry = table.by_offset(offset, file, stop)
        return base + entry.relative, base, entry.position

    def _first_as_new(self, base: int, timestamp_ms: int, point: Durable) -> int | None:
        following = self._following(base, point)
        file = self._segment(base)
        if file is None:
            return None
        stop = point.position if following is None else file.size()
        with open_table(self.directory, base, files=self._files) as table:
            end = None if following is None else table.end(stop)
            if end is not None and end.newest_ms < timestamp_ms:
                return None
            entry = table.by_time(timestamp_ms, file, stop)
        offset_end = point.end if following is None else following
        for found in walk(file, entry.position, stop, base + entry.relative, offset_end=offset_end):
            if isinstance(found, Found) and found.header.max_timestamp_ms >= timestamp_ms:
                return found.header.base_offset
        return None

    def _segment(self, base: int) -> File | None:
        """A segment's file; None when it is gone."""
        if self._open is None or self._open[0] != base:
            try:
                file = self._files.open(segment_path(self.directory, base))
            except FileNotFoundError:
                return None
            if self._open is not None:
                self._open[1].close()
            self._open = (base, file)
        return self._open[1]

    def _gone(self, offset: int, resume: int, base: int, end: int) -> PenstockError:
        """Why `offset` cannot be read when the file of its segment is not there."""
        self._place = None
        earliest = self.earliest
        if offset < earliest:  # retention removed it under our hands
            return OffsetOutOfRange(offset, earliest, end, self.directory)
        return self._damage(offset, resume, base, 0)

    def _damage(self, offset: int, resume: int, base: int, position: int) -> DamagedRange:
        return DamagedRange(offset, resume, f"{segment_path(self.directory, base)} from byte {position} on")


def partitions(directory: Path, stream: str, *, files: Files) -> list[int]:
    """The partitions of a stream that are on disk; empty when it is not there yet."""
    return sorted(int(name) for name in files.listing(directory / stream) if name.isdigit())
