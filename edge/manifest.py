"""The manifest: what the series numbers in frames mean (docs/protocol.md, manifest). Pure."""

from __future__ import annotations

import dataclasses
import json
import logging
import zlib
from collections.abc import Iterable, Mapping

from edge.sensors.sensor import Series, SeriesType

_log = logging.getLogger(__name__)

SERIES_MAX = 65536


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """The payload as it is sent; frames name it by `number`, the CRC-32 of these very bytes."""

    payload: bytes
    number: int
    types: Mapping[int, SeriesType]
    resolutions: Mapping[int, float]


def number_series(declared: Iterable[Series]) -> list[tuple[int, Series]]:
    """Give every series a number and a name of its own: a second one of a name gets `_2`, and so on."""
    taken: set[str] = set()
    numbered: list[tuple[int, Series]] = []
    for number, series in enumerate(declared):
        name, again = series.name, 2
        while name in taken:
            name, again = f"{series.name[:120]}_{again}", again + 1
        if name != series.name:
            _log.warning("two sensors declare a series %s; the second one is called %s", series.name, name)
        taken.add(name)
        numbered.append((number, series if name == series.name else dataclasses.replace(series, name=name)))
    return numbered


def make_manifest(
    series: Iterable[tuple[int, Series]], *, model: str, agent: str, labels: Mapping[str, str]
) -> Manifest:
    """The manifest of numbered series."""
    kept = list(series)
    document = {
        "series": [{"id": number, **_entry(each)} for number, each in kept],
        "device": {"model": model, "agent": agent, "labels": dict(labels)},
    }
    payload = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    return Manifest(
        payload,
        zlib.crc32(payload),
        {number: each.type for number, each in kept},
        {number: each.resolution for number, each in kept if each.resolution is not None},
    )


def types_of(payload: bytes) -> dict[int, SeriesType]:
    """The series types that a kept manifest declares."""
    return {int(each["id"]): each["type"] for each in json.loads(payload)["series"]}


def _entry(series: Series) -> dict[str, object]:
    return {
        "name": series.name,
        "unit": series.unit,
        "type": series.type,
        "resolution": series.resolution,
        "interval_s": series.interval_s,
        "minimum": series.minimum,
        "maximum": series.maximum,
        "description": series.description,
    }
