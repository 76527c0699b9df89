"""Anomalies: what the detectors found, where and when."""

from __future__ import annotations

from typing import Any

from deploy.dashboards.panel import AMBER, VIOLET, bars, dashboard, device_link, field, stat, table
from deploy.dashboards.query import alarms, target

UID = "penstock-anomalies"


def anomalies() -> dict[str, Any]:
    per_device = alarms('COUNT("strength") AS "alarms"', rest='GROUP BY "device"')
    newest = '"device", "metric", "detector", "state", "strength", "message"'
    return dashboard(
        UID,
        "Anomalies",
        "Alarms of every detector.",
        [
            (
                4,
                [
                    stat("Open", target(alarms('COUNT("strength")', "\"state\" = 'open'")), colour=AMBER),
                    stat("Opened", target(alarms('COUNT("strength")')), colour=AMBER),
                    stat("Devices with alarms", target(f'SELECT COUNT("alarms") FROM ({per_device})'), colour=AMBER),
                    stat("Strongest", target(alarms('MAX("strength")')), colour=VIOLET),
                ],
            ),
            (
                8,
                [
                    bars(
                        "Alarms opened, by detector",
                        [
                            target(
                                alarms('COUNT("strength")', rest='GROUP BY time($__interval), "detector" fill(none)'),
                                alias="$tag_detector",
                            )
                        ],
                    ),
                    table("By device", [target(per_device, shape="table")], overrides=[device_link()]),
                ],
            ),
            (
                12,
                [
                    table(
                        "Newest alarms",
                        [target(alarms(newest, rest="ORDER BY time DESC LIMIT 200"), shape="table")],
                        overrides=[device_link(), field("Time", displayName="opened")],
                    )
                ],
            ),
        ],
        past="now-24h",
        refresh="10s",
    )
