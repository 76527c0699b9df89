"""What a simulated device produced, written down before the agent is told: the other side of every comparison.

One text line a reading: `series,time_ns,value`. A float is written with the digits that give the same float back, a
word as a JSON string, a bool as true or false; so every value returns bit for bit and with its type.
A tick is one write, so that a kill leaves all of it or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from simulators.line_file import LineFile
from simulators.quantity import Value
from streams.errors import JunkError


class Truth(NamedTuple):
    """One reading as it was produced."""

    series: str
    time_ns: int
    value: Value


class TruthFile:
    """Appends what a device produced."""

    def __init__(self, path: Path, *, bytes_max: int) -> None:
        self._file = LineFile(path, bytes_max=bytes_max)

    def write(self, time_ns: int, readings: Sequence[tuple[str, Value]]) -> None:
        """Add the readings of one tick, all or none. DiskError when they could not be written: do not use them then."""
        self._file.append("".join([f"{series},{time_ns},{_text(value)}\n" for series, value in readings]))

    def close(self) -> None:
        self._file.close()


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
