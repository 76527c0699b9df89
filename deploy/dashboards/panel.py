"""Panels: what they all share stands here once, and each dashboard says only what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deploy.dashboards.source import REFERENCE

WIDTH = 24  # of Grafana's grid

TEAL = "#189aa0"
AMBER = "#d9730d"
VIOLET = "#8a7fd1"

Panel = dict[str, Any]
Target = dict[str, Any]


def panel(kind: str, title: str, targets: Sequence[Target], *, description: str = "", **more: Any) -> Panel:
    """A panel of any kind."""
    return {
        "datasource": REFERENCE,
        "description": description,
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {},
        "targets": list(targets),
        "title": title,
        "type": kind,
        **more,
    }


def stat(title: str, query: Target, *, unit: str = "short", colour: str = TEAL, description: str = "") -> Panel:
    """One big number; where there is nothing, 0."""
    return panel(
        "stat",
        title,
        [query],
        description=description,
        fieldConfig={
            "defaults": {"color": {"fixedColor": colour, "mode": "fixed"}, "noValue": "0", "unit": unit},
            "overrides": [],
        },
        options={
            "colorMode": "value",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value",
        },
    )


def lines(
    title: str,
    targets: Sequence[Target],
    *,
    unit: str = "short",
    description: str = "",
    overrides: Iterable[dict[str, Any]] = (),
    **more: Any,
) -> Panel:
    """Series over time. A gap stays a gap, unless it is one missing bucket."""
    return panel(
        "timeseries",
        title,
        targets,
        description=description,
        fieldConfig={
            "defaults": {
                "custom": {
                    "drawStyle": "line",
                    "fillOpacity": 0,
                    "lineInterpolation": "linear",
                    "lineWidth": 1,
                    "showPoints": "auto",
                    "spanNulls": False,
                },
                "unit": unit,
            },
            "overrides": list(overrides),
        },
        options={
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        **more,
    )


def bars(title: str, targets: Sequence[Target], *, description: str = "") -> Panel:
    """Counts over time, stacked."""
    made = lines(title, targets, description=description)
    custom = made["fieldConfig"]["defaults"]["custom"]
    custom.update(drawStyle="bars", fillOpacity=70, stacking={"group": "A", "mode": "normal"})
    return made


def table(
    title: str,
    targets: Sequence[Target],
    *,
    description: str = "",
    transformations: Iterable[dict[str, Any]] = (),
    overrides: Iterable[dict[str, Any]] = (),
) -> Panel:
    """Rows."""
    return panel(
        "table",
        title,
        targets,
        description=description,
        fieldConfig={"defaults": {"custom": {"align": "auto", "filterable": True}}, "overrides": list(overrides)},
        options={"cellHeight": "sm", "showHeader": True},
        transformations=list(transformations),
    )


def field(name: str, **properties: Any) -> dict[str, Any]:
    """What is different for the field of that name; `custom__width=90` is the property custom.width."""
    listed = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": listed}


def device_link(name: str = "device") -> dict[str, Any]:
    """A device's name leads to its dashboard, in the same time range."""
    url = "/d/penstock-device?var-device=${__value.text}&${__url_time_range}"
    return field(name, links=[{"title": "Show this device", "url": url}])


def placed(rows: Iterable[tuple[int, Sequence[Panel]]]) -> list[Panel]:
    """Rows of panels as (height, panels): given their places and ids. Panels of a row share its width equally."""
    laid: list[Panel] = []
    top = 0
    for height, panels in rows:
        width = WIDTH // len(panels)
        for index, each in enumerate(panels):
            place = {"h": height, "w": width, "x": index * width, "y": top}
            laid.append({**each, "gridPos": place, "id": len(laid) + 1})
        top += height
    return laid


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: Iterable[tuple[int, Sequence[Panel]]],
    *,
    variables: Sequence[dict[str, Any]] = (),
    annotations: Sequence[dict[str, Any]] = (),
    past: str = "now-15m",
    refresh: str = "5s",
) -> dict[str, Any]:
    """A dashboard: editable, live, linked with its neighbours, and always of the same id."""
    return {
        "annotations": {"list": list(annotations)},
        "description": description,
        "editable": True,
        "graphTooltip": 1,  # one crosshair over all panels
        "id": None,
        "links": [
            {
                "asDropdown": False,
                "icon": "external link",
                "includeVars": False,
                "keepTime": True,
                "tags": ["penstock"],
                "title": "Penstock",
                "type": "dashboards",
            }
        ],
        "panels": placed(rows),
        "refresh": refresh,
        "schemaVersion": 39,
        "tags": ["penstock"],
        "templating": {"list": list(variables)},
        "time": {"from": past, "to": "now"},
        "timezone": "browser",
        "title": title,
        "uid": uid,
    }
