"""A disk in memory that forgets like a real one.

What may happen to a file:
* A write is in the page cache until the file is synced. A kill of the process leaves it there; a power cut does not.
* After a power cut a file holds what was synced, then some first part of what was written since, the last piece perhaps
  cut in the middle. Sometimes pieces between were not written either and read as zeros (`holes`). With `sectors` it may
  also be that each sector is as it was after some of the writes, in no order: torn and reordered.
* A name that was made, moved or removed is as it was before, unless its directory was synced since; `replace` is
  atomic and durable, as its contract says.
* When the disk is full an append writes what fits and fails, and a replace fails and leaves the old content.
* The power may fail between any two operations, also in the middle of a call of the code under test: the operation
  raises `PowerCut`, which nobody catches, and so do all later ones of that process.
* A sync fails when it is told to (`failing_syncs`): some sectors reach the disk. What did not is shown until the power
  fails, or is forgotten at once, and is never written again unless somebody writes it anew: as Linux does it.
* A bit of a file rots when it is told to (`flip`).

What is not modelled yet: reads that fail.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence
from pathlib import Path

Buffer = bytes | bytearray | memoryview


class PowerCut(BaseException):
    """The process that asked is gone: not an Exception, so that no handler of it goes on working."""


SECTOR_BYTES = 512
VERSIONS_MAX = 8


class Inode:
    """The content of a file: as it is now, as it is on disk, and the writes in between."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = bytearray()
        self.writes: list[tuple[int, bytes | None]] = []  # (offset, data), or (size, None) for a truncation

    def write(self, offset: int, data: bytes) -> None:
        _write(self.data, offset, data)
        self.writes.append((offset, data))

    def truncate(self, size: int) -> None:
        _truncate(self.data, size)
        self.writes.append((size, None))

    def sync(self) -> None:
        for offset, piece in self.writes:
            _apply(self.synced, offset, piece)
        self.writes.clear()

    def fail_sync(self, dice: random.Random) -> None:
        """Some of it reaches the disk, the rest never will; what is shown is what was written, or what is on disk."""
        self.synced = self._mixed(dice)
        self.writes.clear()
        if dice.random() < 0.3:
            shown = self.synced[: len(self.data)]
            self.data = shown + bytes(len(self.data) - len(shown))

    def lose_power(self, dice: random.Random, *, holes: bool, sectors: bool) -> None:
        if sectors and dice.random() < 0.5:
            self.synced = self._mixed(dice)
        else:
            self.synced = self._first_part(dice, holes=holes)
        self.data = bytearray(self.synced)
        self.writes.clear()

    def _mixed(self, dice: random.Random) -> bytearray:
        """Each sector as it was after some of the writes."""
        kept = sorted(dice.sample(range(len(self.writes) + 1), min(VERSIONS_MAX, len(self.writes) + 1)))
        data, done = bytearray(self.synced), 0
        versions: list[bytes] = []
        for count in kept:
            for offset, piece in self.writes[done:count]:
                _apply(data, offset, piece)
            done = count
            versions.append(bytes(data))
        found = bytearray(len(dice.choice(versions)))
        for at in range(0, len(found), SECTOR_BYTES):
            size = min(SECTOR_BYTES, len(found) - at)
            found[at : at + size] = dice.choice(versions)[at : at + size].ljust(size, b"\0")
        return found

    def _first_part(self, dice: random.Random, *, holes: bool) -> bytearray:
        data = bytearray(self.synced)
        kept = dice.randint(0, len(self.writes))
        for index, (offset, piece) in enumerate(self.writes[:kept]):
            if piece is None:
                _truncate(data, offset)
                continue
            if index == kept - 1:
                piece = piece[: dice.randint(0, len(piece))]
            elif holes and dice.random() < 0.2:
                piece = bytes(len(piece))
            _write(data, offset, piece)
        return data


def _apply(data: bytearray, offset: int, piece: bytes | None) -> None:
    if piece is None:
        _truncate(data, offset)
    else:
        _write(data, offset, piece)


def _write(data: bytearray, offset: int, piece: bytes) -> None:
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece


def _truncate(data: bytearray, size: int) -> None:
    if size <= len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))


class Disk:
    """The disk of one machine. Processes use it through `mount`."""

    def __init__(self, dice: random.Random, *, holes: bool = True, sectors: bool = False) -> None:
        self._dice = dice
        self._holes = holes
        self._sectors = sectors
        self._directories: set[Path] = {Path("/")}
        self.names: dict[Path, Inode] = {}
        self._synced_names: dict[Path, Inode] = {}
        self._changes: list[tuple[Path, dict[Path, Inode | None]]] = []  # (directory, names) not synced yet
        self.free_bytes: int | None = None  # None: as much as anybody wants
        self.failing_syncs = 0
        self.operations = 0
        self.cuts = 0
        self._listings: dict[Path, list[str]] = {}

    def mount(self, on_death: Callable[[], None]) -> Mount:
        """The disk as one process sees it; `on_death` is called when a fuse of that process burns through."""
        return Mount(self, on_death)

    def lose_power(self) -> None:
        """Forget what a power cut forgets. Kill the processes of the machine first."""
        self.cuts += 1
        kept = self._dice.randint(0, len(self._changes))
        for _, change in self._changes[:kept]:
            self._apply(self._synced_names, change)
        self._changes.clear()
        self._listings.clear()
        self.names = dict(self._synced_names)
        for inode in dict.fromkeys(self.names.values()):
            inode.lose_power(self._dice, holes=self._holes, sectors=self._sectors)

    def flip(self, path: Path, at: int, bit: int) -> None:
        """A bit of what is on disk rots."""
        inode = self.names[path]
        for data in (inode.data, inode.synced):
            if at < len(data):
                data[at] ^= 1 << bit

    def sync(self, path: Path, inode: Inode | None) -> None:
        """Sync a file, or a directory when there is no inode; it fails when it is to fail."""
        if self.failing_syncs:
            self.failing_syncs -= 1
            if inode is not None:
                inode.fail_sync(self._dice)
            raise OSError(errno.EIO, "the simulated disk cannot sync", str(path))
        if inode is not None:
            inode.sync()
        else:
            self.sync_names(path)

    def take_space(self, wanted: int) -> int:
        """How many of `wanted` bytes fit; they are taken."""
        if self.free_bytes is None:
            return wanted
        fits = max(0, min(wanted, self.free_bytes))
        self.free_bytes -= fits
        return fits

    def give_space(self, size: int) -> None:
        if self.free_bytes is not None:
            self.free_bytes += size

    def rename_all(self, directory: Path, change: dict[Path, Inode | None]) -> None:
        self._apply(self.names, change)
        self._listings.clear()
        self._changes.append((directory, change))

    def sync_names(self, directory: Path) -> None:
        waiting = []
        for where, change in self._changes:
            if where == directory:
                self._apply(self._synced_names, change)
            else:
                waiting.append((where, change))
        self._changes = waiting

    def make_directory(self, path: Path) -> None:
        if path not in self._directories:
            self._directories.update((path, *path.parents))
            self._listings.clear()

    def listing(self, directory: Path) -> list[str]:
        found = self._listings.get(directory)
        if found is None:
            inside = [path for path in (*self.names, *self._directories) if path.parent == directory != path]
            found = self._listings[directory] = sorted({path.name for path in inside})
        return found.copy()

    def is_directory(self, path: Path) -> bool:
        return path in self._directories

    @staticmethod
    def _apply(names: dict[Path, Inode], change: dict[Path, Inode | None]) -> None:
        for path, inode in change.items():
            if inode is None:
                names.pop(path, None)
            else:
                names[path] = inode


class Mount:
    """`streams.files.Files` for one process on a simulated disk."""

    def __init__(self, disk: Disk, on_death: Callable[[], None]) -> None:
        self.disk = disk
        self._on_death = on_death
        self.dead = False
        self.fuse: int | None = None  # operations until the power fails

    def step(self) -> None:
        """Every operation begins here: a dead process does nothing more."""
        if self.dead:
            raise PowerCut
        self.disk.operations += 1
        if self.fuse is None:
            return
        self.fuse -= 1
        if self.fuse < 0:
            self.dead = True
            self._on_death()
            raise PowerCut

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> MountedFile:
        self.step()
        inode = self.disk.names.get(path)
        if inode is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
            self._check_directory(path.parent)
            inode = Inode()
            self.disk.rename_all(path.parent, {path: inode})
        return MountedFile(self, path, inode, writable=write)

    def replace(self, path: Path, data: Buffer) -> None:
        self.step()
        self._check_directory(path.parent)
        if self.disk.take_space(len(data)) < len(data):
            raise _full(path)
        old = self.disk.names.get(path)
        inode = Inode()
        inode.write(0, bytes(data))
        inode.sync()
        self.disk.rename_all(path.parent, {path: inode})
        self.disk.sync_names(path.parent)
        if old is not None:
            self.disk.give_space(len(old.data))
        self.step()  # the power may fail after the change as well as before

    def rename(self, source: Path, target: Path) -> None:
        self.step()
        inode = self._inode(source)
        self.disk.rename_all(target.parent, {source: None, target: inode})

    def remove(self, path: Path) -> None:
        self.step()
        self.disk.give_space(len(self._inode(path).data))
        self.disk.rename_all(path.parent, {path: None})

    def exists(self, path: Path) -> bool:
        self.step()
        return path in self.disk.names or self.disk.is_directory(path)

    def listing(self, directory: Path) -> list[str]:
        self.step()
        return self.disk.listing(directory)

    def make_directory(self, path: Path) -> None:
        self.step()
        self.disk.make_directory(path)

    def sync_directory(self, path: Path) -> None:
        self.step()
        self._check_directory(path)
        self.disk.sync(path, None)

    def free_bytes(self, path: Path) -> int:
        self.step()
        return 1 << 40 if self.disk.free_bytes is None else self.disk.free_bytes

    def _inode(self, path: Path) -> Inode:
        try:
            return self.disk.names[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from None

    def _check_directory(self, path: Path) -> None:
        if not self.disk.is_directory(path):
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(path))


class MountedFile:
    """`streams.files.File` on a simulated disk."""

    def __init__(self, mount: Mount, path: Path, inode: Inode, *, writable: bool) -> None:
        self.path = path
        self._mount = mount
        self._inode = inode
        self._writable = writable
        self._closed = False

    def append(self, parts: Sequence[Buffer]) -> int:
        self._check(write=True)
        data = b"".join(parts)
        fits = self._mount.disk.take_space(len(data))
        self._inode.write(len(self._inode.data), data[:fits])
        if fits < len(data):
            raise _full(self.path)
        return fits

    def write(self, offset: int, data: Buffer) -> None:
        self._check(write=True)
        growth = max(0, offset + len(data) - len(self._inode.data))
        fits = self._mount.disk.take_space(growth)
        if fits < growth:
            self._mount.disk.give_space(fits)
            raise _full(self.path)
        self._inode.write(offset, bytes(data))

    def read(self, offset: int, size: int) -> bytes:
        self._check()
        return bytes(self._inode.data[offset : offset + size])

    def size(self) -> int:
        self._check()
        return len(self._inode.data)

    def truncate(self, size: int) -> None:
        self._check(write=True)
        self._mount.disk.give_space(max(0, len(self._inode.data) - size))
        self._inode.truncate(size)

    def sync(self) -> None:
        self._check()
        self._mount.disk.sync(self.path, self._inode)

    def close(self) -> None:
        self._closed = True

    def _check(self, *, write: bool = False) -> None:
        self._mount.step()
        if self._closed:
            raise OSError(errno.EBADF, "the file is closed", str(self.path))
        if write and not self._writable:
            raise OSError(errno.EBADF, "the file is open for reading only", str(self.path))


def _full(path: Path) -> OSError:
    return OSError(errno.ENOSPC, "no space left on the simulated disk", str(path))
