"""What the series numbers of frames mean: manifests as devices sent them, by device and checksum. Pure."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

from streams.errors import JunkError


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


class Manifests:
    """Manifest payloads, and the series that they declare. A payload without meaning declares nothing."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, int], dict[int, SeriesInfo]] = {}

    def add(self, device: str, payload: bytes) -> int:
        """Take a manifest; returns its number. JunkError when it cannot be one."""
        number = zlib.crc32(payload)
        self._series[device, number] = _read(device, payload)
        return number

    def get(self, device: str, number: int) -> dict[int, SeriesInfo] | None:
        """Series number to series; None when this manifest was never seen."""
        return self._series.get((device, number))


def _read(device: str, payload: bytes) -> dict[int, SeriesInfo]:
    try:
        declared = json.loads(payload)["series"]
        return {
            int(each["id"]): SeriesInfo(
                device=device,
                metric=str(each["name"]),
                kind=str(each.get("type", "float64")),
                unit=each.get("unit"),
                resolution=_number(each, "resolution"),
                minimum=_number(each, "minimum"),
                maximum=_number(each, "maximum"),
                interval_s=_number(each, "interval_s"),
            )
            for each in declared
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JunkError(f"the manifest of {device} cannot be read: {type(error).__name__}: {error}") from None


def _number(declared: dict[str, Any], name: str) -> float | None:
    value = declared.get(name)
    return None if value is None else float(value)
