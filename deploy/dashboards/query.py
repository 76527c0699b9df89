"""Questions in InfluxQL, as the built-in InfluxDB data source sends them.

Measurement `reading`: tags device, metric; fields value, quality, epoch, sequence. Measurement `alarm`: tags device,
metric, detector; fields state, strength, message; its time is when the alarm was opened, and its closing rewrites it.
"""

from __future__ import annotations

from typing import Any, Literal

from deploy.dashboards.source import REFERENCE

THIS_DEVICE = '"device" =~ /^$device$/'
THIS_METRIC = '"metric" =~ /^$metric$/'


def target(
    text: str, ref: str = "A", *, shape: Literal["time_series", "table"] = "time_series", alias: str | None = None
) -> dict[str, Any]:
    """One question of a panel. `alias` names its series, with $tag_device and the like."""
    question: dict[str, Any] = {
        "datasource": REFERENCE,
        "query": text,
        "rawQuery": True,
        "refId": ref,
        "resultFormat": shape,
    }
    return question if alias is None else {**question, "alias": alias}


def select(what: str, measurement: str, *conditions: str, rest: str = "") -> str:
    """`SELECT what FROM measurement` in the time range that the reader has chosen, and under the conditions."""
    where = " AND ".join(["$timeFilter", *conditions])
    return f'SELECT {what} FROM "{measurement}" WHERE {where} {rest}'.strip()


def readings(what: str, *conditions: str, rest: str = "") -> str:
    return select(what, "reading", *conditions, rest=rest)


def alarms(what: str, *conditions: str, rest: str = "") -> str:
    return select(what, "alarm", *conditions, rest=rest)


def variable(name: str, label: str, query: str, *, several: bool = False) -> dict[str, Any]:
    """A choice above the dashboard, filled by a question; `several` may be chosen at once, at first all."""
    made: dict[str, Any] = {
        "datasource": REFERENCE,
        "definition": query,
        "includeAll": several,
        "label": label,
        "multi": several,
        "name": name,
        "query": query,
        "refresh": 2,  # when the time range changes
        "sort": 1,  # by name
        "type": "query",
    }
    if several:
        made["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return made
