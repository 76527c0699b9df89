"""A disk that fails as a test says: full, dying at the k-th step, or losing what was not synced when the power goes."""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streams.files import Buffer, DiskFile, DiskFiles


class Died(BaseException):
    """The process was killed at this step; nothing after it has happened."""


class FaultyDisk:
    """Real files, with faults (no DiskFiles by type: nothing is locked for a process). `steps` counts changes."""

    def __init__(self) -> None:
        self._disk = DiskFiles()
        self.full = False
        self.dies_at: int | None = None
        self.steps = 0
        self.synced: dict[Path, bytes] = {}

    def step(self) -> None:
        """Something is about to change on disk."""
        self.steps += 1
        if self.dies_at is not None and self.steps >= self.dies_at:
            raise Died(f"at step {self.steps}")

    def grow(self) -> None:
        self.step()
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def power_cut(self, dice: random.Random) -> None:
        """Every file falls back to what was synced, and some of what was written after it."""
        for path, safe in self.synced.items():
            if not path.exists():
                continue
            now = path.read_bytes()
            if now.startswith(safe):
                keep = dice.randrange(len(safe), len(now) + 1)
                path.write_bytes(now[:keep])
            else:  # it was cut and written anew, and none of it was synced
                path.write_bytes(dice.choice([safe, now]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)  # what changes nothing

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> DiskFile:
        if create and not path.exists():
            self.grow()
        file = self._disk.open(path, write=write, create=create)
        return _FaultyFile(file, self) if write else file

    def replace(self, path: Path, data: Buffer) -> None:
        self.grow()
        self._disk.replace(path, data)
        self.synced[path] = bytes(data)
        self.step()

    def remove(self, path: Path) -> None:
        self.step()
        self._disk.remove(path)
        self.synced.pop(path, None)


class _FaultyFile(DiskFile):
    def __init__(self, inner: DiskFile, disk: FaultyDisk) -> None:
        super().__init__(inner.path, inner.fileno())
        self._disk = disk
        disk.synced.setdefault(inner.path, inner.read(0, inner.size()))

    def append(self, parts: Sequence[Buffer]) -> int:
        whole = b"".join(bytes(part) for part in parts)
        try:
            self._disk.grow()
        except (OSError, Died):
            super().append((whole[: len(whole) // 2],))  # half of it gets there
            raise
        return super().append((whole,))

    def write(self, offset: int, data: Buffer) -> None:
        self._disk.step()
        super().write(offset, data)

    def truncate(self, size: int) -> None:
        self._disk.step()
        super().truncate(size)

    def sync(self) -> None:
        self._disk.step()
        super().sync()
        self._disk.synced[self.path] = self.read(0, self.size())
