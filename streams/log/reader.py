"""Reads a partition from any process, beside its writer, up to the durable point and never past it."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from streams.errors import CorruptError, PenstockError
from streams.files import File, Files
from streams.log.batch import decode_batch
from streams.log.durable import NAME, Durable, read_durable
from streams.log.scan import Found, next_intact, scan
from streams.log.segment import position_before, read_index, read_times, segment_bases, segment_path
from streams.record import Record

READ_BYTES = 4 << 20


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
        self._bases: list[int] = []
        self._open: tuple[int, File] | None = None
        self._place: tuple[int, int, int] = (-1, -1, -1)  # next offset, segment, position

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
            with contextlib.suppress(FileNotFoundError):
                file = self._files.open(segment_path(self.directory, base))
                total += file.size()
                file.close()
        return total

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, offset: int, *, bytes_max: int = READ_BYTES) -> list[Record]:
        """Records from `offset` on, about `bytes_max` bytes of batches at most, at least one batch; [] at the end.

        OffsetOutOfRange: it is not there any more, or not yet. DamagedRange: go on at its `resume`.
        """
        records: list[Record] = []
        for found in self.read_batches(offset, bytes_max=bytes_max):
            batch = decode_batch(found.data, found.at, found.header)
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
        if point is None or offset > end or offset < 0:
            raise OffsetOutOfRange(offset, self.earliest, end, self.directory)
        base, position = self._seek(offset, end)
        taken = 0
        while base <= point.segment:
            file, stop = self._segment(base, point)
            for found in scan(file, position, stop):
                position = found.position + found.header.size
                self._place = (found.header.next_offset, base, position)
                if found.header.next_offset <= offset:
                    continue
                yield found
                taken += found.header.size
                if taken >= bytes_max:
                    return
            if position < stop:
                if taken:
                    return
                damage = self._damage(file, position, stop, base, offset, end)
                if damage.resume > offset:
                    raise damage
                _, base, position = self._place  # it lies before what was asked for: pass over it
                continue
            following = self._following(base)
            if following is None or (taken and following > offset):
                return
            base, position = following, 0

    def offset_for_time(self, timestamp_ms: int) -> int:
        """The first offset of a batch that holds a record as new as `timestamp_ms`; the end when there is none."""
        point = self._point()
        if point is None:
            return 0
        for base in segment_bases(self.directory, self._files):
            times = read_times(self.directory, base, files=self._files)
            if base < point.segment and times and times[-1][0] < timestamp_ms:
                continue
            file, stop = self._segment(base, point)
            for found in scan(file, self._position_for_time(base, times, timestamp_ms, stop), stop, check=False):
                if found.header.max_timestamp_ms >= timestamp_ms:
                    return found.header.base_offset
        return point.end

    def close(self) -> None:
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

    def _seek(self, offset: int, end: int) -> tuple[int, int]:
        """Segment and position at or before `offset`."""
        if self._place[0] == offset:
            return self._place[1], self._place[2]
        self._bases = segment_bases(self.directory, self._files)
        if not self._bases or offset < self._bases[0]:
            raise OffsetOutOfRange(offset, self._bases[0] if self._bases else 0, end, self.directory)
        base = self._bases[bisect_right(self._bases, offset) - 1]
        file = self._file(base, offset, end)
        index = read_index(self.directory, base, files=self._files, size=file.size())
        return base, position_before(index, offset - base)

    def _file(self, base: int, offset: int, end: int) -> File:
        if self._open is None or self._open[0] != base:
            try:
                file = self._files.open(segment_path(self.directory, base))
            except FileNotFoundError:  # retention removed it under our hands
                self._place = (-1, -1, -1)
                raise OffsetOutOfRange(offset, self.earliest, end, self.directory) from None
            if self._open is not None:
                self._open[1].close()
            self._open = (base, file)
        return self._open[1]

    def _segment(self, base: int, point: Durable) -> tuple[File, int]:
        file = self._file(base, base, point.end)
        return file, point.position if base == point.segment else file.size()

    def _following(self, base: int) -> int | None:
        if not self._bases or self._bases[-1] <= base:
            self._bases = segment_bases(self.directory, self._files)
        place = bisect_right(self._bases, base)
        return self._bases[place] if place < len(self._bases) else None

    def _position_for_time(self, base: int, times: list[tuple[int, int]], timestamp_ms: int, stop: int) -> int:
        older = [relative for newest, relative in times if newest < timestamp_ms and relative != 0xFFFFFFFF]
        index = read_index(self.directory, base, files=self._files, size=stop)
        return position_before(index, older[-1]) if older else 0

    def _damage(self, file: File, position: int, stop: int, base: int, offset: int, end: int) -> DamagedRange:
        later = next_intact(file, position + 1, stop, offset_min=offset)
        if later is not None:
            header = next(scan(file, later, stop)).header
            resume, self._place = header.base_offset, (header.base_offset, base, later)
        else:
            following = self._following(base)
            resume = end if following is None else following
        return DamagedRange(offset, resume, f"{segment_path(self.directory, base)} from byte {position} on")


def partitions(directory: Path, stream: str, *, files: Files) -> list[int]:
    """The partitions of a stream that are on disk; empty when it is not there yet."""
    return sorted(int(name) for name in files.listing(directory / stream) if name.isdigit())
