"""Work on a log beside its owner: check every byte, show what is in it, mend what a crash or a bad disk left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from streams.errors import CorruptError, MisuseError
from streams.files import DirectoryLock, Files, InUseError
from streams.log.batch import decode_batch
from streams.log.durable import NAME, Durable, read_durable
from streams.log.index import open_table
from streams.log.partition import Partition, Recovered
from streams.log.scan import Damaged, Found, walk_segment
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
    in_use: str | None = None
    """By whom; then it was checked up to its durable point."""
    problems: list[str] = field(default_factory=list)


def find_partitions(directory: Path, files: Files) -> list[Path]:
    """Partition directories at or below `directory`. MisuseError when there are none."""
    found = sorted({path.parent for path in directory.rglob("*.log") if len(path.name) == 24})
    if not found:
        raise MisuseError(f"there is no event log in {directory}; name DATA/log, a stream or a partition in it")
    return [path for path in found if segment_bases(path, files)]


def verify(partition: Path, *, files: Files, progress: Progress | None = None) -> Report:
    """Check every checksum, every record, the order of offsets and what the indexes say of their segments."""
    report = Report(partition)
    with _held(partition) as owner:
        report.in_use = owner
        point = _durable(partition, files)
        stretches = list(_stretches(partition, files, point if owner else None))
        report.segments, report.bytes = len(stretches), sum(stop for _, stop, _ in stretches)
        done = 0
        for base, stop, following in stretches:
            if report.first_offset is None:
                report.first_offset = report.next_offset = base
            elif report.next_offset < base:
                report.problems.append(f"{partition}: offsets {report.next_offset} to {base} are not there")
            report.next_offset = base
            for each in _walk(partition, base, stop, following, point, files):
                _take(report, segment_path(partition, base), each)
                position = each.position + each.header.size if isinstance(each, Found) else each.stop
                if progress:
                    progress(done + position, report.bytes)
            done += stop
            if following is not None and not _has_index(partition, base, stop, files):
                report.problems.append(f"{segment_path(partition, base)} has no whole index: searches in it are slow")
        _check_durable(report, point)
    return report


def _take(report: Report, path: Path, each: Found | Damaged) -> None:
    if isinstance(each, Damaged):
        kind = "a torn tail" if each.resume is None else "damaged"
        report.problems.append(f"{path} bytes {each.position} to {each.stop}: {kind}, after offset {each.offset - 1}")
        report.next_offset = each.offset if each.resume is None else each.resume
        return
    report.batches += 1
    report.next_offset = each.header.next_offset
    try:
        report.records += len(decode_batch(each.data, each.at, each.header))
    except CorruptError as error:
        report.problems.append(f"{path} byte {each.position}: {error}")


def _check_durable(report: Report, point: Durable | None) -> None:
    if point is None:
        report.problems.append(
            f"{report.directory / NAME} does not say how far it is durable: it is checked at the start"
        )
    elif report.next_offset < point.end:
        report.problems.append(
            f"{report.directory}: offsets {report.next_offset} to {point.end} were on disk and are not there"
        )


def dump(partition: Path, *, files: Files, start: int = 0) -> Iterator[Record]:
    """Every record that can be read, from offset `start` on; what is damaged is passed over."""
    with _held(partition) as owner:
        point = _durable(partition, files)
        for base, stop, following in _stretches(partition, files, point if owner else None):
            if following is not None and following <= start:
                continue
            for each in _walk(partition, base, stop, following, point, files):
                if isinstance(each, Damaged) or each.header.next_offset <= start:
                    continue
                try:
                    records = decode_batch(each.data, each.at, each.header)
                except CorruptError:
                    continue
                yield from (record for record in records if record.offset >= start)


def repair(partition: Path, *, files: Files) -> Recovered:
    """Check everything, cut a torn tail (kept in a .cut file), rebuild the indexes. InUseError: somebody has it open.

    Damage in the middle stays, named: what it took cannot be made again.
    """
    lock = DirectoryLock(partition.parent, owner="penstock log repair")
    try:
        opened = Partition(partition, LogSettings(), files=files, check_all=True)
        opened.close()
    finally:
        lock.release()
    return opened.recovered


@contextmanager
def _held(partition: Path) -> Iterator[str | None]:
    """Keep writers away meanwhile. Gives who has it, when somebody has it already."""
    lock: DirectoryLock | None = None
    owner: str | None = None
    if (partition.parent / "lock").exists():
        try:
            lock = DirectoryLock(partition.parent, owner="penstock log verify or dump")
        except InUseError as error:
            owner = error.holder
        except MisuseError:  # a copy that may only be read: it has no owner
            pass
    try:
        yield owner
    finally:
        if lock is not None:
            lock.release()


def _stretches(partition: Path, files: Files, point: Durable | None) -> Iterator[tuple[int, int, int | None]]:
    """Base, bytes and following base of each segment, up to `point` when there is one."""
    bases = segment_bases(partition, files)
    if point is not None:
        bases = [base for base in bases if base <= point.segment]
    for base, following in zip(bases, [*bases[1:], None]):
        file = files.open(segment_path(partition, base))
        try:
            size = file.size()
        finally:
            file.close()
        yield base, point.position if point is not None and base == point.segment else size, following


def _walk(
    partition: Path, base: int, stop: int, following: int | None, point: Durable | None, files: Files
) -> Iterator[Found | Damaged]:
    file = files.open(segment_path(partition, base))
    try:
        yield from walk_segment(file, base, 0, stop, base, following, point)
    finally:
        file.close()


def _durable(partition: Path, files: Files) -> Durable | None:
    try:
        file = files.open(partition / NAME)
    except FileNotFoundError:
        return None
    try:
        return read_durable(file)
    finally:
        file.close()


def _has_index(partition: Path, base: int, size: int, files: Files) -> bool:
    with open_table(partition, base, files=files) as table:
        return table.end(size) is not None and all(table.is_right(place) for place in range(len(table)))
