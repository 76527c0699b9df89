"""What the command line asks about an agent without running it: is it in order, what do sensors say, what waits."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edge.account import EpochBook
from edge.identity import FILE_NAME
from edge.journal import NAMES
from edge.readings import reading
from edge.sensors.registry import HOST, make_sensors
from edge.sensors.sensor import Sensor, SensorAbsentError, Series, check_value
from edge.settings import EdgeSettings, SensorSettings
from edge.spool import STATE_NAME
from streams.errors import CorruptError, MisuseError, PenstockError
from streams.frames import Quality

_SETTLE_S = 0.25
"""Shares of time need two looks at the clock."""


def check(settings: EdgeSettings) -> list[str]:
    """Problems of the settings and of every sensor, as sentences; none when all is in order."""
    problems: list[str] = []
    working = 0
    for each in settings.sensors:
        try:
            sensors = make_sensors([each])
        except MisuseError as error:
            problems.append(str(error))
            continue
        for sensor in sensors:
            sentence = _problem(sensor, each)
            working += sentence is None
            if sentence:
                problems.append(sentence)
    if not working and not problems:
        problems.append("there is no sensor at all: name one with [[edge.sensors]]")
    return problems


def read_once(settings: EdgeSettings, *, pause: Callable[[float], None] = time.sleep) -> list[dict[str, Any]]:
    """One reading of every series: sensor, metric, value, unit, quality, time_ns. Blocks for a moment."""
    opened: list[tuple[Sensor, list[Series]]] = []
    for sensor in make_sensors(settings.sensors):
        with contextlib.suppress(PenstockError, OSError):
            opened.append((sensor, list(sensor.open())))
    pause(_SETTLE_S)
    found: list[dict[str, Any]] = []
    for sensor, declared in opened:
        found += _readings(sensor, declared, time.time_ns())
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
        "running": _in_use(state),
        "frames": max(0, int(spool.get("upto", 0)) - int(spool.get("oldest", 0))),
        "bytes": int(spool.get("bytes", 0)),
        "readings_numbered": sum(book.sealed for book in books),
        "readings_held": sum(book.held.count() for book in books),
        "readings_dropped": sum(book.dropped_count() for book in books),
        "journal_bytes": sum(_size(state / name) for name in NAMES),
        "disk_bytes": sum(_size(path) for path in (state / "spool").rglob("*")),
    }


def _problem(sensor: Sensor, settings: SensorSettings) -> str | None:
    try:
        declared = list(sensor.open())
        _values(sensor, declared, time.time_ns())
    except SensorAbsentError as error:
        return None if settings.kind == HOST else f"sensor {sensor.name}: {error}"
    except Exception as error:  # a plug-in may raise anything
        return f"sensor {sensor.name}: {str(error) or type(error).__name__}"
    finally:
        sensor.close()
    return None


def _values(sensor: Sensor, declared: list[Series], time_ns: int) -> list[Any]:
    values = sensor.read(time_ns)
    return [None if value is None else check_value(series, value) for series, value in zip(declared, values)]


def _readings(sensor: Sensor, declared: list[Series], time_ns: int) -> Iterable[dict[str, Any]]:
    quality = Quality.GOOD
    try:
        values = _values(sensor, declared, time_ns)
    except Exception:  # a plug-in may raise anything; `check` says what
        values, quality = [None] * len(declared), Quality.BAD
    for series, value in zip(declared, values):
        shown = reading(time_ns, value, series.unit, quality if value is not None else Quality.BAD)
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


def _in_use(state: Path) -> bool:
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
