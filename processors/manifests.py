"""What the series numbers of frames mean: manifests as devices sent them, by device and checksum. Pure.

A manifest that cannot be read is remembered too, with the reason: frames that name it must not wait for another.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streams.errors import JunkError
from streams.frames import KINDS
from streams.units import written

SERIES_MAX = 65_536

_NAME = re.compile(r"[A-Za-z0-9._\-]{1,128}")


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """One series of a device, as its manifest declares it."""

    device: str
    metric: str
    kind: str = "float64"
    unit: str | None = None
    resolution: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    interval_s: float | None = None

    def shown(self, value: float) -> str:
        """A value of this series as a person reads it, with its unit."""
        return f"{value:.4g} {written(self.unit)}".rstrip()


class Manifests:
    """Manifest payloads, and the series that they declare."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, int], dict[int, SeriesInfo] | str] = {}

    def add(self, device: str, payload: bytes) -> int | None:
        """Take a manifest; returns its number, None when it is known already."""
        number = zlib.crc32(payload)
        if (device, number) in self._series:
            return None
        try:
            self._series[device, number] = _read(device, payload)
        except JunkError as error:
            self._series[device, number] = str(error)
        return number

    def knows(self, device: str, number: int) -> bool:
        return (device, number) in self._series

    def get(self, device: str, number: int) -> dict[int, SeriesInfo]:
        """Series number to series. Raises KeyError when this manifest was never seen, JunkError when it is junk."""
        found = self._series[device, number]
        if isinstance(found, str):
            raise JunkError(found)
        return found


def _read(device: str, payload: bytes) -> dict[int, SeriesInfo]:
    """The rules of docs/protocol.md, Manifest."""
    try:
        manifest = json.loads(payload.decode())
        series = manifest.get("series") if isinstance(manifest, dict) else None
        if not isinstance(series, list) or len(series) > SERIES_MAX:
            raise ValueError(f"it needs a list `series` of at most {SERIES_MAX}")
        declared: dict[int, SeriesInfo] = {}
        for each in series:
            if not isinstance(each, dict):
                raise ValueError("a series must be an object")
            declared[_id(each, declared)] = _info(device, each)
        if len({info.metric for info in declared.values()}) < len(declared):
            raise ValueError("two of its series have the same name")
        return declared
    except (ValueError, OverflowError, RecursionError) as error:
        raise JunkError(f"the manifest of {device} cannot be read: {str(error)[:200]}") from None


def _id(each: Mapping[str, Any], declared: Mapping[int, SeriesInfo]) -> int:
    number = each.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < SERIES_MAX or number in declared:
        raise ValueError(f"id {number!r} is not a number from 0 to {SERIES_MAX - 1} of its own")
    return number


def _info(device: str, each: Mapping[str, Any]) -> SeriesInfo:
    name, kind, unit = each.get("name"), each.get("type"), each.get("unit")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name: use 1 to 128 letters, digits, '.', '_' or '-'")
    if kind not in KINDS:
        raise ValueError(f"type {kind!r} of {name} is not one of {', '.join(KINDS)}")
    if unit is not None:
        if not isinstance(unit, str):
            raise ValueError(f"unit {unit!r} of {name} is not text")
        unit = unit.encode("utf-8", "replace").decode()  # half a surrogate pair is JSON, and no store takes it
    resolution, minimum, maximum, interval_s = (
        _number(each, key) for key in ("resolution", "minimum", "maximum", "interval_s")
    )
    return SeriesInfo(device, name, str(kind), unit, resolution, minimum, maximum, interval_s)


def _number(each: Mapping[str, Any], key: str) -> float | None:
    value = each.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{key} {value!r} of {each['name']} is not a number")
    return float(value)
