"""Device: every series of one device, with its alarms drawn in."""

from __future__ import annotations

from typing import Any

from deploy.dashboards.panel import AMBER, TEAL, dashboard, field, lines, table
from deploy.dashboards.query import THIS_DEVICE, THIS_METRIC, alarms, readings, target, variable
from deploy.dashboards.source import REFERENCE

UID = "penstock-device"

BUCKETS = "GROUP BY time($__interval) fill(none)"


def device() -> dict[str, Any]:
    return dashboard(
        UID,
        "Device",
        "Every series of one device: mean, with minimum and maximum behind it, and alarms drawn in.",
        [
            (8, [_series()]),
            (9, [_last_values(), _alarms()]),
        ],
        variables=[
            variable("device", "Device", 'SHOW TAG VALUES FROM "reading" WITH KEY = "device"'),
            variable(
                "metric",
                "Series",
                f'SHOW TAG VALUES FROM "reading" WITH KEY = "metric" WHERE {THIS_DEVICE}',
                several=True,
            ),
        ],
        annotations=[alarm_annotation()],
    )


def _series() -> dict[str, Any]:
    """One panel, repeated for each series that is chosen: units differ, so each has an axis of its own."""
    means = readings('MEAN("value") AS "mean"', THIS_DEVICE, THIS_METRIC, rest=BUCKETS)
    lows = readings('MIN("value") AS "min"', THIS_DEVICE, THIS_METRIC, rest=BUCKETS)
    highs = readings('MAX("value") AS "max"', THIS_DEVICE, THIS_METRIC, rest=BUCKETS)
    quiet = {"custom__lineWidth": 0, "custom__hideFrom": {"legend": True, "tooltip": False, "viz": False}}
    return lines(
        "$metric",
        [target(means, "A", alias="mean"), target(lows, "B", alias="min"), target(highs, "C", alias="max")],
        overrides=[
            field("mean", color={"fixedColor": TEAL, "mode": "fixed"}),
            field("min", color={"fixedColor": TEAL, "mode": "fixed"}, **quiet),
            field(
                "max",
                color={"fixedColor": TEAL, "mode": "fixed"},
                custom__fillBelowTo="min",
                custom__fillOpacity=15,
                **quiet,
            ),
        ],
        repeat="metric",
        repeatDirection="h",
        maxPerRow=3,
    )


def _last_values() -> dict[str, Any]:
    last = readings('LAST("value") AS "value", "quality"', THIS_DEVICE, rest='GROUP BY "metric"')
    return table(
        "Last values",
        [target(last, shape="table")],
        overrides=[field("Time", displayName="at")],
    )


def _alarms() -> dict[str, Any]:
    listed = alarms(
        '"metric", "detector", "state", "strength", "message"', THIS_DEVICE, rest="ORDER BY time DESC LIMIT 100"
    )
    return table(
        "Alarms",
        [target(listed, shape="table")],
        overrides=[field("Time", displayName="opened")],
    )


def alarm_annotation() -> dict[str, Any]:
    """Alarms of this device, as marks on every panel."""
    question = target(
        alarms('"message", "detector", "metric"', THIS_DEVICE, rest="ORDER BY time DESC LIMIT 200"), "Anno"
    )
    return {
        "datasource": REFERENCE,
        "enable": True,
        "iconColor": AMBER,
        "name": "Alarms",
        "target": {**question, "tagsColumn": "detector,metric", "textColumn": "message", "titleColumn": ""},
        "textColumn": "message",
        "tagsColumn": "detector,metric",
        "query": question["query"],
    }
