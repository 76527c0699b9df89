"""The contract of a sensor.

The agent makes a sensor, calls `open` once, then `read` at each tick of its interval, then `close` once. The calls of
one sensor never overlap. Those of a sensor that says `may_block` come from a thread of its own: it may wait for a bus
or a slow device, and one that waits longer than the agent's read time-out has failed, without delaying any other.
The calls of all others come from the agent's event loop and must return within about a millisecond.

The times of readings are the ticks' times: a sensor is given the time of its tick (wall clock) and returns one value
for each series that it declared, all of which get that time. A simulated sensor works out its values from it.
"""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from streams.errors import MisuseError, PenstockError

Value = float | int | bool | str
SeriesType = Literal["float64", "float32", "int64", "bool", "text"]

_SERIES_NAME = re.compile(r"[A-Za-z0-9._\-]{1,128}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_\-]+")
TEXT_BYTES_MAX = 4096
"""Longest text of one reading, in UTF-8."""


class SensorAbsentError(PenstockError):
    """The machine has no such sensor: it is reported once and left out."""


class SensorFailedError(PenstockError):
    """The sensor is there but could not be read; it is tried again after a pause."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What a sensor measures: the manifest's entry without its number (docs/protocol.md)."""

    name: str
    unit: str = "1"
    type: SeriesType = "float64"
    resolution: float | None = None
    interval_s: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if not _SERIES_NAME.fullmatch(self.name):
            raise MisuseError(f"{self.name[:140]!r} is not a series name: use 1 to 128 of A-Z a-z 0-9 . _ -")


class Sensor(Protocol):
    """A source of readings. See the module's text for when each method is called."""

    name: str
    """What to call it in messages, for example `network`."""
    interval_s: float
    """Seconds from one tick to the next."""
    may_block: bool
    """Whether `open` and `read` may wait; if so they are called from a thread."""

    def open(self) -> Sequence[Series]:
        """Find what there is and declare its series, at least one. SensorAbsentError when there is nothing."""
        ...

    def read(self, time_ns: int) -> Sequence[Value | None]:
        """One value for each declared series, in that order; None where there is none at this tick.

        `time_ns` is the tick's time, nanoseconds since 1970 UTC. SensorFailedError or OSError when it cannot be read.
        """
        ...

    def close(self) -> None:
        """Let go of what `open` took. Called also when `open` failed."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SensorContext:
    """What a sensor is made with."""

    kind: str
    interval_s: float = 1.0
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")

    def check_options(self, *known: str) -> None:
        """MisuseError when an option is set that this sensor does not know."""
        for name in self.options:
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise MisuseError(f"sensor {self.kind} has no option {name!r}; {has}")

    def texts(self, name: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """The option `name`, a list of text."""
        value = self.options.get(name, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
            raise MisuseError(f"sensor {self.kind}: option {name} must be a list of text, not {value!r}")
        return tuple(value)


def series_name(*parts: str) -> str:
    """A series name of parts that come from the machine: other characters become `_`."""
    return ".".join(_NOT_IN_A_NAME.sub("_", part).strip("_") or "_" for part in parts)[:128]


def check_value(series: Series, value: Value) -> Value:
    """`value` as the series' type takes it. SensorFailedError when it does not fit, so that nothing is misread."""
    match series.type:
        case "float64" if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        case "float32" if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _to_float32(series, value)
        case "int64" if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
            return value
        case "bool" if isinstance(value, bool):
            return value
        case "text" if isinstance(value, str) and _fits_text(value):
            return value
    raise SensorFailedError(f"series {series.name} is {series.type} and cannot take {value!r:.80}")


def _to_float32(series: Series, value: float) -> float:
    try:
        nearest: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        raise SensorFailedError(f"series {series.name} is float32 and cannot take {value!r}") from None
    return nearest


def _fits_text(value: str) -> bool:
    try:
        return len(value.encode()) <= TEXT_BYTES_MAX
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
