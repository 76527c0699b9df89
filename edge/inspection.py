"""What the command line asks about an agent without running it: is it in order, what do sensors say, what waits."""

from __future__ import annotations

import contextlib
import fcntl
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edge.account import EpochBook
from edge.identity import FILE_NAME
from edge.inlet import Inlet
from edge.journal import NAMES
from edge.readings import reading
from edge.sensors.registry import HOST, make_sensors
from edge.sensors.sensor import (
    AnySensor,
    Bad,
    Given,
    PushedSensor,
    SensorAbsentError,
    SensorFailedError,
    Series,
    check_value,
    is_pushed,
    is_sampled,
)
from edge.settings import EdgeSettings, SensorSettings
from edge.spool import STATE_NAME
from streams.clock import SystemClock
from streams.errors import CorruptError, MisuseError, PenstockError
from streams.frames import Quality

_LOOK_S = 0.05
_SETTLE_S = 0.25
"""Shares of time need two looks at the clock."""


def check(settings: EdgeSettings) -> list[str]:
    """Problems of the settings and of every sensor, as sentences; none when all is in order."""
    problems: list[str] = []
    working = 0
    for each in settings.sensors:
        try:
            sensors = make_sensors([each], read_timeout_s=settings.read_timeout_s)
        except MisuseError as error:
            problems.append(str(error))
            continue
        for sensor in sensors:
            sentence = _problem(sensor, each, settings.read_timeout_s)
            working += sentence is None
            if sentence:
                problems.append(sentence)
    if not working and not problems:
        problems.append("there is no sensor at all: name one with [[edge.sensors]]")
    return problems


def read_once(settings: EdgeSettings, *, pause: Callable[[float], None] = time.sleep) -> list[dict[str, Any]]:
    """One reading of every series: sensor, metric, value, unit, quality, time_ns. Blocks for a moment."""
    opened: list[tuple[AnySensor, list[Series]]] = []
    for sensor in make_sensors(settings.sensors, read_timeout_s=settings.read_timeout_s):
        with contextlib.suppress(PenstockError, OSError):
            opened.append((sensor, list(sensor.open())))
    pause(_SETTLE_S)
    found: list[dict[str, Any]] = []
    for sensor, declared in opened:
        found += _readings(sensor, declared, time.time_ns(), settings.read_timeout_s)
        sensor.close()
    return found


def spool_status(state: Path) -> dict[str, Any]:
    """What an agent's state directory holds, as it was last written down (an agent that runs is a little ahead)."""
    identity = _document(state / FILE_NAME)
    spool = _document(state / "spool" / STATE_NAME)
    if not identity and not spool:
        raise MisuseError(f"{state} is not the state of an edge agent; name its directory with --data or --state")
    books = _books(spool.get("books", {}))
    return {
        "device": identity.get("device"),
        "epoch": identity.get("epoch"),
        "running": is_running(state),
        "frames": max(0, int(spool.get("upto", 0)) - int(spool.get("oldest", 0))),
        "bytes": int(spool.get("bytes", 0)),
        "readings_numbered": sum(book.sealed for book in books),
        "readings_held": sum(book.held.count() for book in books),
        "readings_dropped": sum(book.dropped_count() for book in books),
        "journal_bytes": sum(_size(state / name) for name in NAMES),
        "disk_bytes": sum(_size(path) for path in (state / "spool").rglob("*")),
    }


def _problem(sensor: AnySensor, settings: SensorSettings, wait_s: float) -> str | None:
    try:
        declared = list(sensor.open())
        values = _values(sensor, declared, time.time_ns(), wait_s)
    except SensorAbsentError as error:
        return None if settings.kind == HOST else f"sensor {sensor.name}: {error}"
    except Exception as error:  # a plug-in may raise anything
        return f"sensor {sensor.name}: {str(error) or type(error).__name__}"
    finally:
        sensor.close()
    for series, value in zip(declared, values):
        if isinstance(value, Bad):
            return f"sensor {sensor.name}: {series.name}: {value.reason}"
    return None


def _values(sensor: AnySensor, declared: list[Series], time_ns: int, wait_s: float) -> list[Given]:
    values: list[Given] = []
    if is_pushed(sensor):
        values = _listen(sensor, declared, wait_s)
    elif is_sampled(sensor):
        values = list(sensor.read(time_ns))
    if len(values) != len(declared):
        raise SensorFailedError(f"it gave {len(values)} values for {len(declared)} series")
    return [
        value if value is None or isinstance(value, Bad) else check_value(series, value)
        for series, value in zip(declared, values)
    ]


def _listen(sensor: PushedSensor, declared: list[Series], wait_s: float) -> list[Given]:
    """What a pushed sensor says within `wait_s`, or until each series has a value. Raises what it fails with."""
    inlet = Inlet(sensor.name, [each.name for each in declared], ticks_max=1000, clock=SystemClock(), wake=_nothing)
    ended: list[Exception | None] = []

    def run() -> None:
        try:
            sensor.run(inlet)
            ended.append(None)
        except Exception as error:  # a plug-in may raise anything
            ended.append(error)

    thread = threading.Thread(target=run, name=f"sensor {sensor.name}", daemon=True)
    thread.start()
    values: list[Given] = [None] * len(declared)
    deadline = time.monotonic() + wait_s
    while None in values and time.monotonic() < deadline:
        thread.join(_LOOK_S)
        _note(inlet, values)
        if ended:
            break
    failed = bool(ended)
    inlet.stop()
    thread.join(_SETTLE_S * 8)
    _note(inlet, values)
    if failed and ended[0] is not None:
        raise ended[0]
    return values


def _note(inlet: Inlet, values: list[Given]) -> None:
    for pushed in inlet.take(inlet.waiting):
        for place, value in pushed.given:
            values[place] = value


def _nothing() -> None:
    pass


def _readings(sensor: AnySensor, declared: list[Series], time_ns: int, wait_s: float) -> Iterable[dict[str, Any]]:
    try:
        values = _values(sensor, declared, time_ns, wait_s)
    except Exception:  # a plug-in may raise anything; `check` says what
        values = [None] * len(declared)
    for series, value in zip(declared, values):
        plain = None if isinstance(value, Bad) else value
        shown = reading(time_ns, plain, series.unit, Quality.BAD if plain is None else Quality.GOOD)
        yield {"sensor": sensor.name, "metric": series.name, **shown}


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _books(kept: Any) -> list[EpochBook]:
    try:
        return [EpochBook.from_json(book) for book in kept.values()]
    except (CorruptError, AttributeError):
        return []


def is_running(state: Path) -> bool:
    """Whether an agent works on this state directory now."""
    try:
        with (state / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
