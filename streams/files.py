"""The file layer: the few operations that durable code needs, as a contract that tests can break on purpose.

Everything that must survive a power cut goes through `Files`. The real one is `DiskFiles`; the tests have one
that loses un-synced writes, tears them and fills the disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from streams.errors import MisuseError

Buffer = bytes | bytearray | memoryview

_PARTS_MAX = 1024  # IOV_MAX on Linux
_CALL_BYTES_MAX = 1 << 20
"""For a larger write Linux looks for pages of 2 MiB, and takes several times as long where it has none at hand."""


class File(Protocol):
    """An open file. Not safe for several threads at once, except `read` beside one writer."""

    path: Path

    def append(self, parts: Sequence[Buffer]) -> int:
        """Write all parts at the end, in order; returns the bytes written. OSError leaves an unknown tail."""
        ...

    def write(self, offset: int, data: Buffer) -> None:
        """Write `data` at `offset`, all of it."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; shorter only at the end of the file."""
        ...

    def size(self) -> int: ...

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None:
        """Return once every byte written so far would survive a power cut (fdatasync)."""
        ...

    def close(self) -> None: ...


class Files(Protocol):
    """A file system, as far as durable code may use it."""

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> File:
        """Open a file. FileNotFoundError when it is not there and `create` is false."""
        ...

    def replace(self, path: Path, data: Buffer) -> None:
        """Make `path` hold exactly `data`, or what it held before, whatever happens in between; durable."""
        ...

    def rename(self, source: Path, target: Path) -> None: ...

    def remove(self, path: Path) -> None: ...

    def exists(self, path: Path) -> bool: ...

    def listing(self, directory: Path) -> list[str]:
        """Names in a directory, sorted; empty when it is not there."""
        ...

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents, readable by this user alone; durable. No error if it is there."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Make creations, renames and removals in `path` durable."""
        ...

    def free_bytes(self, path: Path) -> int:
        """Bytes that this user can still write on the file system of `path`."""
        ...


class DiskFile:
    """A file of the operating system."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def append(self, parts: Sequence[Buffer]) -> int:
        total = 0
        for chunk, size in _calls(parts):
            written = os.writev(self._fd, chunk)
            if written < size:  # rare: the disk is full, or a signal came
                rest = memoryview(b"".join(chunk))[written:]
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            total += size
        return total

    def write(self, offset: int, data: Buffer) -> None:
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._fd, rest, offset)
            rest, offset = rest[written:], offset + written

    def read(self, offset: int, size: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        while 0 < len(data) < size:
            more = os.pread(self._fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        os.lseek(self._fd, size, os.SEEK_SET)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _calls(parts: Sequence[Buffer]) -> Iterator[tuple[Sequence[Buffer], int]]:
    """The parts as one call of the system after the other takes them, and the bytes of each."""
    for at in range(0, len(parts), _PARTS_MAX):
        chunk = parts[at : at + _PARTS_MAX]
        size = sum(map(len, chunk))
        if size <= _CALL_BYTES_MAX:
            yield chunk, size
            continue
        whole = memoryview(b"".join(chunk))
        for start in range(0, size, _CALL_BYTES_MAX):
            piece = whole[start : start + _CALL_BYTES_MAX]
            yield [piece], len(piece)


class DiskFiles:
    """The operating system's files."""

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> DiskFile:
        flags = os.O_CLOEXEC | (os.O_RDWR if write else os.O_RDONLY)
        if create:
            flags |= os.O_CREAT
        fd = os.open(path, flags, 0o600)
        if write:  # not O_APPEND: with it Linux ignores the offset of pwrite
            os.lseek(fd, 0, os.SEEK_END)
        return DiskFile(path, fd)

    def replace(self, path: Path, data: Buffer) -> None:
        draft = path.with_name(path.name + ".new")
        fd = os.open(draft, os.O_CLOEXEC | os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fdatasync(fd)
        finally:
            os.close(fd)
        draft.replace(path)
        self.sync_directory(path.parent)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def remove(self, path: Path) -> None:
        path.unlink()

    def exists(self, path: Path) -> bool:
        return path.exists()

    def listing(self, directory: Path) -> list[str]:
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def make_directory(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        self.sync_directory(path.parent)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: Path) -> int:
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize


class InUseError(MisuseError):
    """A directory has an owner already: `holder` says which."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"{directory} is in use by {holder}; stop that one first, or choose another directory with --data"
        )
        self.holder = holder


class DirectoryLock:
    """One process at a time may own a directory. The kernel frees the lock when the process dies."""

    def __init__(self, directory: Path, *, owner: str) -> None:
        """Take `directory`/lock for `owner`; InUseError names the holder when it is taken."""
        self.path = directory / "lock"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MisuseError(
                f"cannot use the directory {directory}: {error.strerror}; choose another one, or mend its permissions"
            ) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            holder = os.pread(self._fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
            os.close(self._fd)
            raise InUseError(directory, holder) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its holder's name
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{owner} (process {os.getpid()})\n".encode(), 0)

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
