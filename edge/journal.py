"""The journal: where a reading is from the moment it has a number until its frame is in the spool.

Each tick is appended with a plain write, so that it survives a kill -9 of the agent; `sync` makes all of them survive a
power cut. Two files take turns: while what is in one becomes a frame in the spool, new ticks go to the other. A file is
emptied only after its frame is durable in the spool, and each record carries its sequence number, so that a crash in
between neither loses nor doubles a reading: what the spool has already is passed over when the journal is read again.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable
from pathlib import Path

from edge.records import pack_record, scan_records
from edge.tick import Tick, decode_tick, encode_tick
from streams.errors import CorruptError
from streams.files import File, Files

NAMES = ("journal.0", "journal.1")

_SEQUENCE = struct.Struct("<Q")


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A tick as the journal kept it; its readings are [sequence, sequence + tick.count) of `epoch`."""

    epoch: int
    manifest: int
    sequence: int
    tick: Tick

    @property
    def stop(self) -> int:
        return self.sequence + self.tick.count


@dataclasses.dataclass(frozen=True, slots=True)
class Recovered:
    """What a journal held when it was opened."""

    entries: list[Entry]
    torn_bytes: int
    """A tail that was being written when the power went; it was not synced."""
    damage: list[str]
    """Sentences about what was there and cannot be read: its numbers must not be used again."""


class Journal:
    """The two files. Not for several threads, except that `sync` may run beside `append`."""

    def __init__(self, directory: Path, *, files: Files) -> None:
        self._files = files
        self._paths = tuple(directory / name for name in NAMES)
        self._open: list[File] = []
        self._good_bytes = [0, 0]
        self._head_bytes = 0
        self._active = 0
        self._unsynced = [False, False]

    def recover(self, sealed_to: Callable[[int], int]) -> Recovered:
        """Read what an earlier start left, in the order of its numbers. Writes nothing. OSError if it cannot read.

        `sealed_to` tells for an epoch the first number that is not in the spool.
        """
        entries: list[Entry] = []
        torn = 0
        damage: list[str] = []
        for path in self._paths:
            found, lost = _read(path, self._files, sealed_to, damage)
            entries += found
            torn += lost
        entries.sort(key=lambda entry: (entry.epoch, entry.sequence))
        return Recovered(entries, torn, damage)

    def start(self, *, epoch: int, manifest: int) -> None:
        """Empty both files for this start, durably; what they held must be in the spool. OSError if it cannot write."""
        self.close()
        head = pack_record(json.dumps({"journal": 1, "epoch": epoch, "manifest": manifest}).encode())
        for path in self._paths:
            self._files.replace(path, head)
        self._open = [self._files.open(path, write=True) for path in self._paths]
        self._head_bytes = len(head)
        self._good_bytes = [len(head), len(head)]
        self._unsynced = [False, False]
        self._active = 0

    def append(self, sequence: int, tick: Tick) -> None:
        """Keep a tick whose first reading is number `sequence`. OSError: it is not kept, and nothing else is lost."""
        active, file = self._active, self._open[self._active]
        if file.size() != self._good_bytes[active]:  # an earlier append failed half-way
            file.truncate(self._good_bytes[active])
        data = pack_record(_SEQUENCE.pack(sequence) + encode_tick(tick))
        file.append((data,))
        self._good_bytes[active] += len(data)
        self._unsynced[active] = True

    def sync(self) -> None:
        """Return when everything appended so far would survive a power cut. OSError if the disk refuses."""
        for index in (1 - self._active, self._active):  # the older one first, so that no gap is synced
            if self._open and self._unsynced[index]:
                self._unsynced[index] = False
                try:
                    self._open[index].sync()
                except OSError:
                    self._unsynced[index] = True
                    raise

    def switch(self) -> int:
        """Send new ticks to the other file, which must be empty; returns the one to `clear` when it is sealed."""
        full, self._active = self._active, 1 - self._active
        assert self._good_bytes[self._active] == self._head_bytes, "the other file has been cleared"
        return full

    def clear(self, index: int) -> None:
        """Empty a file whose readings are durable in the spool. OSError: it stays as it is; try again."""
        self._open[index].truncate(self._head_bytes)
        self._good_bytes[index] = self._head_bytes
        self._unsynced[index] = False

    def bytes(self) -> int:
        """Bytes in both files."""
        return sum(self._good_bytes)

    def close(self) -> None:
        for file in self._open:
            file.close()
        self._open = []


def _read(path: Path, files: Files, sealed_to: Callable[[int], int], damage: list[str]) -> tuple[list[Entry], int]:
    try:
        file = files.open(path)
    except FileNotFoundError:
        return [], 0
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    scan = scan_records(data)
    try:
        epoch, manifest = _head(scan.payloads)
        entries = [_entry(epoch, manifest, payload) for payload in scan.payloads[1:]]
        later = [_entry(epoch, manifest, payload) for payload in scan.later]
    except CorruptError as error:
        damage.append(f"{path} cannot be read: {error}")
        return [], len(data)
    entries = [entry for entry in entries if entry.sequence >= sealed_to(epoch)]
    follows = max((entry.stop for entry in entries), default=sealed_to(epoch))
    # what was left over from an earlier filling when the power went has lower numbers, and is in the spool
    if any(entry.sequence >= follows for entry in later):
        damage.append(f"{path} is damaged at byte {scan.good_bytes} of {len(data)}, with readings behind the damage")
    return entries, scan.lost_bytes


def _head(payloads: list[bytes]) -> tuple[int, int]:
    if not payloads:
        raise CorruptError("it does not begin with a head")
    try:
        head = json.loads(payloads[0])
        version, epoch, manifest = int(head["journal"]), int(head["epoch"]), int(head["manifest"])
    except (ValueError, KeyError, TypeError):
        raise CorruptError(f"its head is {payloads[0][:60]!r}") from None
    if version != 1:
        raise CorruptError(f"its version is {version}; this program reads version 1")
    return epoch, manifest


def _entry(epoch: int, manifest: int, payload: bytes) -> Entry:
    if len(payload) <= _SEQUENCE.size:
        raise CorruptError(f"a record of {len(payload)} bytes is no tick")
    (sequence,) = _SEQUENCE.unpack_from(payload)
    return Entry(epoch, manifest, sequence, decode_tick(memoryview(payload)[_SEQUENCE.size :]))
