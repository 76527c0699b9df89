"""Charts of one series: mean as a line, minimum to maximum as a band behind it, alarms drawn in. For ECharts.

The colours stand out from light and dark alike, so that a chart needs no redrawing when the reader switches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from itertools import pairwise
from typing import Any

LINE = "#189aa0"
BAND = "rgba(24,154,160,.20)"
ALARM = {"process": "#d9730d", "sensor": "#8a7fd1"}
GREY = "#808b93"
GRID = "rgba(128,139,147,.22)"

TIMES = {
    "year": "{yyyy}",
    "month": "{MMM}",
    "day": "{d} {MMM}",
    "hour": "{HH}:{mm}",
    "minute": "{HH}:{mm}",
    "second": "{HH}:{mm}:{ss}",
}
TOOLTIP_TIME = "{ dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' }"

SHORT_NUMBER = (
    "(value) => { const large = [[1e12, 1e12, 'T'], [1e9, 1e9, 'G'], [1e6, 1e6, 'M'], [1e5, 1e3, 'k']]"
    ".find(([from]) => Math.abs(value) >= from); const [, factor, prefix] = large ?? [0, 1, '']; "
    "return (value / factor).toLocaleString(undefined, {maximumFractionDigits: 4}) + (prefix && ' ' + prefix); }"
)

LABEL_SHARE = 0.12  # of the chart's width: an alarm that is drawn narrower gets no label
SLIVER_SHARE = 0.004  # an alarm is drawn at least this wide

Series = Mapping[str, Any]
Alarm = Mapping[str, Any]


def base(unit: str, *, on_off: bool = False) -> dict[str, Any]:
    """What stays the same while a chart is shown."""
    scale = {"min": 0, "max": 1, "interval": 1} if on_off else {"scale": True, "splitNumber": 3}
    label = {"color": GREY, "fontSize": 11, "fontFamily": "Inter"}
    return {
        "animation": False,
        "grid": {"left": 8, "right": 12, "top": 12, "bottom": 4, "containLabel": True},
        "tooltip": {
            "trigger": "axis",
            "axisPointer": {"type": "line", "lineStyle": {"color": GREY, "width": 1}},
            "backgroundColor": "var(--sheet)",
            "borderColor": "var(--line)",
            "padding": [6, 10],
            "textStyle": {"color": "var(--ink)", "fontSize": 12, "fontFamily": "Inter"},
            ":formatter": _tooltip(unit),
        },
        "xAxis": {
            "type": "time",
            "axisLine": {"lineStyle": {"color": GRID}},
            "axisTick": {"show": False},
            "axisLabel": {**label, "hideOverlap": True, "formatter": TIMES},
            "splitLine": {"show": False},
            "splitNumber": 4,
        },
        "yAxis": {
            "type": "value",
            **scale,
            "axisLabel": {**label, ":formatter": SHORT_NUMBER},
            "splitLine": {"lineStyle": {"color": GRID}},
        },
        "series": [],
    }


def _tooltip(unit: str) -> str:
    """A function of the browser: the time, the mean, and the extremes when they differ.

    The unit comes from a device, and this is code: it goes in as a JSON string, escaped for HTML.
    """
    return (
        "(points) => { const [time, mean, low, high] = points[points.length - 1].data; "
        f"const unit = {json.dumps(escape(unit))}; "
        "const text = (x) => Number(x.toPrecision(5)).toLocaleString(); "
        "const range = high > low ? `<br><small>${text(low)} to ${text(high)} ${unit}</small>` : ''; "
        f"const when = new Date(time).toLocaleString(undefined, {TOOLTIP_TIME}); "
        "return `${when}<br><b>${text(mean)}</b> ${unit}${range}`; }"
    )


def data(series: Series, alarms: Iterable[Alarm], *, start_ms: float, end_ms: float, step: bool) -> dict[str, Any]:
    """What changes with each refresh: the readings from `start_ms` to `end_ms`, and alarms in the same span."""
    rows = [
        [time_ns / 1e6, mean, low, high]
        for time_ns, mean, low, high in _with_gaps(series)
        if time_ns / 1e6 >= start_ms - series["bucket_ns"] / 1e6
    ]
    common = {"type": "line", "showSymbol": False, "silent": True, "step": "end" if step else False}
    band = {**common, "symbol": "none", "stack": "band", "stackStrategy": "all", "lineStyle": {"opacity": 0}}
    return {
        "xAxis": {"min": start_ms, "max": end_ms},
        "series": [
            {
                **band,
                "id": "low",
                "data": [[row[0], row[2]] for row in rows],
                "markArea": {"silent": True, "data": _bad_areas(series, start_ms, end_ms)},
            },
            {
                **band,
                "id": "high",
                "data": [[row[0], _height(row[2], row[3])] for row in rows],
                "areaStyle": {"color": BAND},
            },
            {
                **common,
                "id": "mean",
                "data": rows,
                "encode": {"x": 0, "y": 1},
                "lineStyle": {"color": LINE, "width": 1.5},
                "itemStyle": {"color": LINE},
                "markArea": {"silent": True, "data": [_area(alarm, start_ms, end_ms) for alarm in alarms]},
            },
        ],
    }


def _bad_areas(series: Series, start_ms: float, end_ms: float) -> list[list[dict[str, Any]]]:
    """Grey where the device itself calls its readings bad; those that follow one another are one area."""
    bucket_ms = series["bucket_ns"] / 1e6
    runs: list[list[float]] = []
    for first_ms in (time_ns / 1e6 for time_ns in series["bad_ns"]):
        if runs and first_ms - runs[-1][1] <= bucket_ms:
            runs[-1][1] = first_ms + bucket_ms
        else:
            runs.append([first_ms, first_ms + bucket_ms])
    return [
        _shaded(max(first, start_ms), min(last, end_ms), "bad", GREY, start_ms, end_ms)
        for first, last in runs
        if last > start_ms and first < end_ms
    ]


def _height(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else high - low


def _with_gaps(series: Series) -> Iterable[tuple[int, float | None, float | None, float | None]]:
    """The buckets, with an empty one where some are missing, so that no line is drawn across a gap."""
    gap_ns = 2.5 * max(series["bucket_ns"], 1) if series["time_ns"] else 0
    gap_ns = max(gap_ns, 2.5 * _usual_step(series["time_ns"]))
    before = None
    for row in zip(series["time_ns"], series["mean"], series["min"], series["max"]):
        if before is not None and row[0] - before > gap_ns:
            yield (before + 1, None, None, None)
        before = row[0]
        yield row


def _usual_step(times_ns: list[int]) -> int:
    """The median distance: a series that is read each minute has no gaps at a bucket of a second."""
    steps = sorted(after - before for before, after in pairwise(times_ns))
    return steps[len(steps) // 2] if steps else 0


def overlapping(alarms: Iterable[Alarm], *, start_ms: float, end_ms: float) -> list[Alarm]:
    """The alarms that are seen between two times."""
    return [
        alarm
        for alarm in alarms
        if alarm["opened_ns"] / 1e6 <= end_ms and (alarm["closed_ns"] is None or alarm["closed_ns"] / 1e6 >= start_ms)
    ]


def _area(alarm: Alarm, start_ms: float, end_ms: float) -> list[dict[str, Any]]:
    first = max(start_ms, alarm["opened_ns"] / 1e6)
    last = end_ms if alarm["closed_ns"] is None else min(end_ms, alarm["closed_ns"] / 1e6)
    return _shaded(first, last, alarm["detector"], ALARM.get(alarm["kind"], GREY), start_ms, end_ms)


def _shaded(first: float, last: float, name: str, colour: str, start_ms: float, end_ms: float) -> list[dict[str, Any]]:
    """A shaded span, at least a sliver wide, with a label if there is room."""
    span_ms = end_ms - start_ms
    last = max(last, first + span_ms * SLIVER_SHARE)
    label = {
        "show": last - first >= span_ms * LABEL_SHARE,
        "position": "insideTop",
        "color": colour,
        "fontSize": 11,
        "fontFamily": "Inter",
    }
    style = {"color": colour, "opacity": 0.16}
    return [{"xAxis": first, "name": name, "label": label, "itemStyle": style}, {"xAxis": last}]
