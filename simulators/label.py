"""Labels: which readings were disturbed on purpose, and the file that says so."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from simulators.line_file import LineFile
from streams.errors import JunkError

Fault = Literal["level_shift", "stuck", "spike", "noise", "dropout", "drift"]
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """One fault: readings of `device`/`series` in [start_ns, end_ns) are disturbed.

    `size` is how far the fault moves the value, in the unit of the series (the spread, for noise; 0 for stuck and
    dropout).
    """

    start_ns: int
    end_ns: int
    device: str
    series: str
    kind: Fault
    size: float

    def covers(self, time_ns: int) -> bool:
        return self.start_ns <= time_ns < self.end_ns


class LabelFile:
    """Appends labels, one JSON object a line; each label once for each run that meets it."""

    def __init__(self, path: Path, *, bytes_max: int = 50_000_000) -> None:
        self._file = LineFile(path, bytes_max=bytes_max)
        self._written: dict[Label, None] = {}

    def note(self, label: Label) -> None:
        """Write a label down, unless this run has done so. DiskError when the disk refuses."""
        if label in self._written:
            return
        self._file.append(json.dumps(asdict(label)) + "\n")
        self._written[label] = None
        if len(self._written) > 4096:  # the oldest are long over
            del self._written[next(iter(self._written))]

    def close(self) -> None:
        self._file.close()


def read_labels(path: Path) -> list[Label]:
    """All labels of a file, each once, by start. A torn last line is left out; JunkError for any other bad line."""
    lines = path.read_text("utf-8").split("\n")
    lines.pop()  # what follows the last newline: nothing, or a torn line
    return sorted({_parse(line, path, number) for number, line in enumerate(lines, 1)})


def _parse(line: str, path: Path, number: int) -> Label:
    try:
        raw: dict[str, Any] = json.loads(line)
        kind = raw["kind"]
        if kind not in FAULTS:
            raise ValueError(f"{kind!r} is not one of {', '.join(FAULTS)}")
        return Label(
            start_ns=int(raw["start_ns"]),
            end_ns=int(raw["end_ns"]),
            device=str(raw["device"]),
            series=str(raw["series"]),
            kind=kind,
            size=float(raw["size"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise JunkError(f"{path} line {number} is not a label ({error!r}): {line[:120]!r}") from None


def labels_path(fleet: Path) -> Path:
    """Where a fleet keeps its labels."""
    return fleet / "labels.jsonl"
