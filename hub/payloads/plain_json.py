"""Plain JSON: an object of names and values, as most devices send it.

    {"temperature": 21.5, "door": false}                            at the time of arrival
    {"time": "2026-09-23T10:00:00Z", "temperature": 21.5}           time, timestamp or ts; text, or a number
    [{"ts": 1790000000000, "a": 1}, {"ts": 1790000001000, "a": 2}]  several objects, each with its time
    {"bme280": {"pressure": 1013.2}, "load": [0.1, 0.2]}            bme280.pressure, load.0, load.1
    21.5                                                            value

A null is no reading. The same name twice is two readings.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from hub.payloads.reading import Reading, Readings
from hub.payloads.times import from_number, from_text
from streams.errors import JunkError

TIME_NAMES = frozenset({"time", "timestamp", "ts"})
DEPTH_MAX = 16


class _Object(list[tuple[str, Any]]):
    """An object with all its names: one may come twice."""


def read_json(payload: bytes, now_ns: int) -> list[Reading]:
    """See the head of this file. Raises JunkError."""
    try:
        source = json.loads(
            payload.decode(), object_pairs_hook=_Object, parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise JunkError(f"not JSON in UTF-8 ({str(error)[:120]})") from None
    found = Readings()
    if isinstance(source, list) and source and all(isinstance(each, _Object) for each in source):
        for each in source:
            _take_object(found, each, now_ns)
    elif isinstance(source, _Object):
        _take_object(found, source, now_ns)
    else:
        _take(found, "" if isinstance(source, list) else "value", source, now_ns, 0)
    return found


def _take_object(found: Readings, source: _Object, now_ns: int) -> None:
    place, time_ns = next(
        (
            (place, time_ns)
            for place, (name, value) in enumerate(source)
            if name.lower() in TIME_NAMES and (time_ns := _time(value)) is not None
        ),
        (-1, now_ns),
    )
    for at, (name, value) in enumerate(source):
        if at != place:
            _take(found, name, value, time_ns, 1)


def _time(value: Any) -> int | None:
    """None: it is a reading that happens to be called so."""
    if isinstance(value, str):
        return from_text(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return from_number(value)
    return None


def _take(found: Readings, name: str, value: Any, time_ns: int, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise JunkError(f"nested more than {DEPTH_MAX} deep at {name[:80]!r}")
    if isinstance(value, _Object):
        for inner, each in value:
            _take(found, f"{name}.{inner}" if name else inner, each, time_ns, depth + 1)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _take(found, f"{name}.{index}" if name else str(index), each, time_ns, depth + 1)
    elif value is not None:
        found.take(name, value, time_ns)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is more than a float64 holds")
    return value
