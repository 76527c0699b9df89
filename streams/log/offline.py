"""Work on a log that nobody writes: check every byte, show what is in it, mend what a crash or a bad disk left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from streams.errors import MisuseError
from streams.files import DirectoryLock, Files
from streams.log.batch import decode_batch
from streams.log.partition import Partition
from streams.log.scan import next_intact, scan
from streams.log.segment import segment_bases, segment_path
from streams.log.settings import LogSettings
from streams.record import Record

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


@dataclass(slots=True)
class Report:
    """What was found in a partition."""

    directory: Path
    segments: int = 0
    bytes: int = 0
    batches: int = 0
    records: int = 0
    first_offset: int | None = None
    next_offset: int = 0
    problems: list[str] = field(default_factory=list)


def find_partitions(directory: Path, files: Files) -> list[Path]:
    """Partition directories at or below `directory`. MisuseError when there are none."""
    found = sorted({path.parent for path in directory.rglob("*.log") if len(path.name) == 24})
    if not found:
        raise MisuseError(f"there is no event log in {directory}; name DATA/log, a stream or a partition in it")
    return [path for path in found if segment_bases(path, files)]


def verify(partition: Path, *, files: Files, progress: Progress | None = None) -> Report:
    """Check every checksum, every record and the order of offsets."""
    report = Report(partition)
    bases = segment_bases(partition, files)
    sizes = [segment_path(partition, base).stat().st_size for base in bases]
    done = 0
    for base, size in zip(bases, sizes):
        _verify_segment(report, partition, base, size, files)
        done += size
        if progress:
            progress(done, sum(sizes))
    report.segments, report.bytes = len(bases), sum(sizes)
    return report


def _verify_segment(report: Report, partition: Path, base: int, size: int, files: Files) -> None:
    path = segment_path(partition, base)
    file = files.open(path)
    try:
        position = 0
        while position < size:
            for found in scan(file, position, size):
                header = found.header
                if header.base_offset < report.next_offset:
                    report.problems.append(f"{path} byte {found.position}: offset {header.base_offset} comes twice")
                if report.first_offset is None:
                    report.first_offset = header.base_offset
                report.batches += 1
                report.records += len(decode_batch(found.data, found.at, header))
                report.next_offset = header.next_offset
                position = found.position + header.size
            if position == size:
                return
            later = next_intact(file, position + 1, size, offset_min=report.next_offset)
            stop = size if later is None else later
            kind = "torn tail" if later is None else "damaged"
            report.problems.append(f"{path} bytes {position} to {stop}: {kind}, after offset {report.next_offset - 1}")
            position = stop
    finally:
        file.close()


def dump(partition: Path, *, files: Files, start: int = 0) -> Iterator[Record]:
    """Every record that can be read, from offset `start` on; what is damaged is passed over."""
    for base in segment_bases(partition, files):
        path = segment_path(partition, base)
        file = files.open(path)
        try:
            size, position = file.size(), 0
            while position < size:
                for found in scan(file, position, size):
                    position = found.position + found.header.size
                    if found.header.next_offset > start:
                        records = decode_batch(found.data, found.at, found.header)
                        yield from (record for record in records if record.offset >= start)
                if position < size:
                    position = next_intact(file, position + 1, size, offset_min=0) or size
        finally:
            file.close()


def repair(partition: Path, *, files: Files) -> list[str]:
    """Cut a torn tail (kept in a .cut file), rebuild the indexes; returns what was done. MisuseError: it is in use."""
    lock = DirectoryLock(partition.parent, owner="penstock log repair")
    try:
        durable = partition / "durable"
        if files.exists(durable):
            files.remove(durable)  # then everything is checked
        opened = Partition(partition, LogSettings(), files=files)
        found = opened.recovered
        opened.close()
    finally:
        lock.release()
    done = [f"checked {found.checked_bytes} bytes"]
    done += [f"cut {found.cut_bytes} bytes, kept in {path}" for path in found.cut_files]
    return done + found.damaged
