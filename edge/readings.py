"""Readings as people and commands see them: by name, with unit and quality."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from edge.sampler import SampledSensor
from edge.sensors.sensor import Value
from streams.frames import Quality


def latest_readings(sampled: Iterable[SampledSensor]) -> dict[str, dict[str, Any]]:
    """The latest reading of every series that has one, plain JSON."""
    found: dict[str, dict[str, Any]] = {}
    for each in sampled:
        tick = each.latest
        if tick is None:
            continue
        series = dict(zip(each.numbers, each.series))
        for number, value, quality in zip(tick.series, tick.values, tick.qualities):
            found[series[number].name] = reading(tick.time_ns, value, series[number].unit, Quality(quality))
    return found


def reading(time_ns: int, value: Value | None, unit: str, quality: Quality) -> dict[str, Any]:
    """One reading; a value that JSON cannot hold (NaN, infinite) is null."""
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    return {"time_ns": time_ns, "value": value, "unit": unit, "quality": quality.name.lower()}
