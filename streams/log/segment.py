"""A segment: one file of batches, named by its first offset, with its index beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streams.files import Buffer, Files
from streams.log.index import SUFFIX, Index

_COPY_BYTES = 4 << 20


def segment_path(directory: Path, base: int, suffix: str = ".log") -> Path:
    return directory / f"{base:020d}{suffix}"


def segment_bases(directory: Path, files: Files, suffix: str = ".log") -> list[int]:
    """First offsets of all segments of a partition, sorted."""
    length = 20 + len(suffix)
    names = files.listing(directory)
    return [int(name[:20]) for name in names if name.endswith(suffix) and len(name) == length and name[:20].isdigit()]


class Segment:
    """The writer's view of a segment."""

    def __init__(self, directory: Path, base: int, *, files: Files, index_interval_bytes: int) -> None:
        self.base = base
        self.path = segment_path(directory, base)
        self._files = files
        index_path = segment_path(directory, base, SUFFIX)
        self.index = Index(index_path, files=files, interval_bytes=index_interval_bytes)
        try:
            self.file = files.open(self.path, write=True, create=True)
            self.size = self.file.size()
        except BaseException:
            self.index.close()
            raise

    def append(self, calls: Sequence[Sequence[Buffer]]) -> None:
        """Write at the end, in so many calls. OSError: the end is where it was, unless `is_clean` says it is not."""
        size = self.size
        try:
            for parts in calls:
                size += self.file.append(parts)
        except OSError:
            self.file.truncate(self.size)
            raise
        self.size = size

    def is_clean(self) -> bool:
        """Whether nothing stands behind the end."""
        try:
            return self.file.size() == self.size
        except OSError:
            return False

    def cut(self, position: int) -> None:
        """Make `position` the end, on disk too."""
        self.file.truncate(position)
        self.size = position
        self.file.sync()
        self.index.cut(position)

    def keep_tail(self, position: int) -> Path:
        """Copy what stands from `position` on to a file of its own; returns its path."""
        path = self.path.with_name(f"{self.path.stem}.{position}.cut")
        copy = self._files.open(path, write=True, create=True)
        try:
            copy.truncate(0)
            for at in range(position, self.size, _COPY_BYTES):
                copy.append([self.file.read(at, min(_COPY_BYTES, self.size - at))])
            copy.sync()
        finally:
            copy.close()
        return path

    def write_again(self, position: int) -> None:
        """Write what stands from `position` on once more, so that a sync covers it.

        After a failed sync the operating system shows bytes that never reached the disk, and does not write them again.
        """
        for at in range(position, self.size, _COPY_BYTES):
            self.file.write(at, self.file.read(at, min(_COPY_BYTES, self.size - at)))
        self.file.sync()

    def close(self) -> None:
        self.index.close()
        self.file.close()
