"""What a simulated device produced, written down before the agent is told: the other side of every comparison.

One text line a reading: `series,time_ns,value`. A float is written with the digits that give the same float back, a
word as a JSON string, a bool as true or false; so every value returns bit for bit and with its type.
A tick is one plain write(): what a process wrote survives its own kill -9.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from simulators.quantity import Value
from streams.errors import DiskError, JunkError


class Truth(NamedTuple):
    """One reading as it was produced."""

    series: str
    time_ns: int
    value: Value


class TruthFile:
    """Appends what was produced. Opening cuts a torn last line: the agent never saw those readings.

    Above `bytes_max` the file is put aside as .old, in place of the one that was put aside before.
    """

    def __init__(self, path: Path, *, bytes_max: int) -> None:
        self.path = path
        self._bytes_max = bytes_max
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = _whole_lines(self._fd)
        os.ftruncate(self._fd, self._size)

    def write(self, time_ns: int, readings: Sequence[tuple[str, Value]]) -> None:
        """Add the readings of one tick, all or none. DiskError when they could not be written: do not use them then."""
        text = "".join([f"{series},{time_ns},{_text(value)}\n" for series, value in readings])
        data = text.encode()
        if self._size + len(data) > self._bytes_max and self._size:
            self._put_aside()
        try:
            written = os.pwrite(self._fd, data, self._size)
        except OSError as error:
            raise DiskError(f"cannot write the readings of a tick to {self.path}: {error}; free some space") from error
        if written < len(data):
            os.ftruncate(self._fd, self._size)
            raise DiskError(f"the disk of {self.path} is full; free some space")
        self._size += written

    def close(self) -> None:
        os.close(self._fd)

    def _put_aside(self) -> None:
        self.close()
        self.path.replace(self.path.with_name(self.path.name + ".old"))
        self._open()


def truth_path(fleet: Path, device: str) -> Path:
    """Where a fleet keeps what one of its devices produced."""
    return fleet / "truth" / f"{device}.csv"


def read_truth(path: Path) -> Iterator[Truth]:
    """All readings of a file in the order they were produced. A torn last line is left out; JunkError for any other."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            yield _parse(line, path, number)


def _parse(line: str, path: Path, number: int) -> Truth:
    try:
        series, time_ns, value = line.rstrip("\n").split(",", 2)
        return Truth(series, int(time_ns), _value(value))
    except ValueError as error:
        raise JunkError(f"{path} line {number} is not a reading ({error}): {line[:120]!r}") from None


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        word = json.loads(text)
        if not isinstance(word, str):
            raise ValueError(f"{text[:40]!r} is not a word")
        return word
    try:
        return int(text)
    except ValueError:
        return float(text)


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
