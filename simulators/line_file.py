"""A file of whole lines, written with plain write(): what a process wrote survives its own kill -9."""

from __future__ import annotations

import os
from pathlib import Path

from streams.errors import DiskError


class LineFile:
    """Appends lines, all of a call or none. Opening cuts a torn last line, which nobody has relied on.

    Above `bytes_max` the file is put aside as .old, in place of the one that was put aside before.
    One writer at a time.
    """

    def __init__(self, path: Path, *, bytes_max: int) -> None:
        self.path = path
        self._bytes_max = bytes_max
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def append(self, lines: str) -> None:
        """Write `lines`, each with its newline. DiskError when they could not be written; then nothing was."""
        data = lines.encode()
        if self._size and self._size + len(data) > self._bytes_max:
            self._put_aside()
        try:
            written = os.pwrite(self._fd, data, self._size)
            if written < len(data):
                os.ftruncate(self._fd, self._size)
        except OSError as error:
            raise DiskError(f"cannot write to {self.path}: {error}; free some space") from error
        if written < len(data):
            raise DiskError(f"the disk of {self.path} is full; free some space")
        self._size += written

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = _whole_lines(self._fd)
        os.ftruncate(self._fd, self._size)

    def _put_aside(self) -> None:
        self.close()
        self.path.replace(self.path.with_name(self.path.name + ".old"))
        self._open()


def _whole_lines(fd: int) -> int:
    """The size of a file up to and with its last newline."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - 4096)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
