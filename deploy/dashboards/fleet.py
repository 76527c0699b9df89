"""Fleet: is everything sending, and how much."""

from __future__ import annotations

from typing import Any

from deploy.dashboards.panel import AMBER, dashboard, device_link, field, lines, stat, table
from deploy.dashboards.query import alarms, readings, target

UID = "penstock-fleet"

PER_SECOND = 'COUNT("sequence") * 1000 / $__interval_ms'


def fleet() -> dict[str, Any]:
    per_device = readings('COUNT("sequence") AS "count"', rest='GROUP BY "device"')
    return dashboard(
        UID,
        "Fleet",
        "Every device: what it sends, and when it was last heard.",
        [
            (
                4,
                [
                    stat("Devices that sent", target(f'SELECT COUNT("count") FROM ({per_device})')),
                    stat("Readings stored", target(readings('COUNT("sequence")'))),
                    stat("Alarms opened", target(alarms('COUNT("strength")')), colour=AMBER),
                    stat("Alarms open", target(alarms('COUNT("strength")', "\"state\" = 'open'")), colour=AMBER),
                ],
            ),
            (
                9,
                [
                    lines(
                        "Readings per second",
                        [
                            target(
                                readings(PER_SECOND, rest='GROUP BY time($__interval), "device" fill(none)'),
                                alias="$tag_device",
                            )
                        ],
                        unit="short",
                        description="By device. Where a line ends the device is silent; what it holds arrives later.",
                    )
                ],
            ),
            (
                10,
                [
                    table(
                        "Last heard",
                        [
                            target(
                                readings('LAST("sequence") AS "sequence", "epoch"', rest='GROUP BY "device"'),
                                shape="table",
                            )
                        ],
                        description="The last stored reading of each device, with its number for life.",
                        overrides=[device_link(), field("Time", displayName="last heard")],
                    ),
                    table(
                        "Readings by device",
                        [target(readings('COUNT("sequence") AS "readings"', rest='GROUP BY "device"'), shape="table")],
                        transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True}}}],
                        overrides=[device_link()],
                    ),
                ],
            ),
        ],
    )
