"""What the fleet page draws beside each device: its key series, over the last few minutes, from memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

POINTS_MAX = 75
NUMBERS = ("float64", "float32", "int64")

Point = tuple[int, float]  # time in ns, value


def key_metric(device: Mapping[str, Any]) -> str | None:
    """The series that stands for a device: the first measured quantity of its manifest. None without a manifest."""
    series = (device.get("manifest") or {}).get("series") or ()
    names = [each["name"] for each in series if each.get("type") == "float64"]
    names += [each["name"] for each in series if each.get("type") in NUMBERS]
    return next(iter(names), None)


@dataclass(slots=True)
class _Trend:
    metric: str
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS_MAX))


class Trends:
    """The last values of each device's key series. Bounded: `POINTS_MAX` points a device that exists."""

    def __init__(self) -> None:
        self._trends: dict[str, _Trend] = {}

    def learn(self, devices: Iterable[Mapping[str, Any]], latest: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Take in the latest readings; returns (device, metric) that are new and whose past may be looked up."""
        new = []
        known = {}
        for device in devices:
            name, metric = device["device"], key_metric(device)
            if metric is None:
                continue
            trend = self._trends.get(name)
            if trend is None or trend.metric != metric:
                trend = _Trend(metric)
                new.append((name, metric))
            known[name] = trend
            _add(trend, latest.get(name, {}).get(metric))
        self._trends = known
        return new

    def recall(self, device: str, metric: str, times_ns: Sequence[int], values: Sequence[float | None]) -> None:
        """Put the past, as `GET /series` tells it, before what was learnt since."""
        trend = self._trends.get(device)
        if trend is None or trend.metric != metric:
            return
        first_ns = trend.points[0][0] if trend.points else None
        past = [
            (time_ns, float(value))
            for time_ns, value in zip(times_ns, values)
            if value is not None and (first_ns is None or time_ns < first_ns)
        ]
        trend.points = deque([*past, *trend.points], maxlen=POINTS_MAX)

    def points(self, device: str) -> list[Point]:
        trend = self._trends.get(device)
        return list(trend.points) if trend else []

    def metric(self, device: str) -> str | None:
        trend = self._trends.get(device)
        return trend.metric if trend else None


def _add(trend: _Trend, reading: Mapping[str, Any] | None) -> None:
    value = reading.get("value") if reading else None
    if reading is None or not isinstance(value, (int, float)):
        return
    if not trend.points or reading["time_ns"] > trend.points[-1][0]:
        trend.points.append((reading["time_ns"], float(value)))
