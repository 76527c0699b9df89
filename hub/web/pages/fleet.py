"""Fleet: every device at a glance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from nicegui import ui

from hub.gateway_settings import GatewaySettings
from hub.web.controls import Choice, search
from hub.web.front import Front
from hub.web.hints import called
from hub.web.live import Live
from hub.web.markup import Markup, tag
from hub.web.pages.frame import Frame, content, empty, heading
from hub.web.pages.listing import Column, Listing
from hub.web.sharing import Answer
from hub.web.trends import Point, Trends
from hub.web.words import ago, compact, number, of_series, plural

Row = Mapping[str, Any]


class Entry(NamedTuple):
    """A device in the list."""

    device: Row
    alarms: int


COLUMNS: tuple[Column[Entry], ...] = (
    Column("Device", "", lambda each: each.device["device"], largest_first=False),
    Column("Now", "right now"),
    Column("Last minutes", "trend"),
    Column("Alarms", "alarms", lambda each: each.alarms),
    Column("Readings", "right readings", lambda each: each.device["readings"]),
    Column("Seen", "right seen", lambda each: each.device["last_seen_ms"] or 0),
)
FILTERS = {"all": "All", "alarms": "With alarms", "offline": "Offline"}


def is_shown(device: Row, *, words: str, only: str, alarms: int) -> bool:
    """Whether a device passes the search and the filter. Every word must be in its id, model or labels."""
    if (only == "alarms" and not alarms) or (only == "offline" and device["connected"]):
        return False
    about = (device.get("manifest") or {}).get("device") or {}
    text = " ".join([device["device"], str(about.get("model") or ""), *map(str, (about.get("labels") or {}).values())])
    return all(word in text.lower() for word in words.lower().split())


def row(device: Row, latest: Row, trends: Trends, *, alarms: int, now_ms: int) -> Markup:
    """One device."""
    name = device["device"]
    link = tag("a", name, href=f"/devices/{quote(name, safe='')}", class_="stretch")
    return tag(
        "tr",
        tag(
            "th",
            tag("div", presence(device), tag("div", link, tag("small", model(device))), class_="named"),
            scope="row",
        ),
        tag("td", key_value(device, latest, trends), class_="right now"),
        tag("td", sparkline(trends.points(name)), class_="trend"),
        tag("td", tag("span", number(alarms), class_="mark alarm") if alarms else None, class_="alarms"),
        tag("td", compact(device["readings"]), class_="right readings", title=f"{number(device['readings'])} readings"),
        tag("td", ago(device["last_seen_ms"], now_ms), class_="right seen"),
        class_=None if device["connected"] else "away",
    )


def presence(device: Row) -> Markup:
    """A dot that says whether a device is connected; a word for who cannot see it."""
    word = "online" if device["connected"] else "offline"
    return tag("span", tag("span", word, class_="unseen"), class_=f"dot {word}", title=word)


def model(device: Row) -> str:
    about = (device.get("manifest") or {}).get("device") or {}
    site = (about.get("labels") or {}).get("site")
    return " · ".join(str(each) for each in (about.get("model"), site) if each) or "no manifest yet"


def key_value(device: Row, latest: Row, trends: Trends) -> Markup | None:
    """The key series' last value, with its name."""
    metric = trends.metric(device["device"])
    reading = latest.get(metric) if metric else None
    if metric is None or reading is None:
        return None
    entry: Row = next((each for each in device["manifest"]["series"] if each["name"] == metric), {})
    text, unit = of_series(entry, reading["value"])
    return tag("div", tag("b", text), " ", tag("span", unit, class_="unit"), tag("small", metric), class_="value")


def sparkline(points: Sequence[Point], *, width: int = 120, height: int = 28) -> Markup | None:
    """A line without axes; None while there are fewer than two points."""
    if len(points) < 2:
        return None
    low, high = min(value for _, value in points), max(value for _, value in points)
    first_ns, span_ns = points[0][0], max(1, points[-1][0] - points[0][0])
    scale = (height - 4) / (high - low) if high > low else 0.0
    base = height - 2 if high > low else height / 2
    places = " ".join(
        f"{(time_ns - first_ns) / span_ns * width:.1f},{base - (value - low) * scale:.1f}" for time_ns, value in points
    )
    line = tag("polyline", points=places)
    options = {"viewBox": f"0 0 {width} {height}", "preserveAspectRatio": "none", "class_": "spark"}
    return tag("svg", line, aria_hidden="true", **options)


def facts(devices: Sequence[Row], alarms: Mapping[str, int], readings_per_s: float | None) -> Markup:
    """The head of the page: the fleet in numbers."""
    if not devices:
        return heading("Fleet")
    offline = sum(not device["connected"] for device in devices)
    return heading(
        "Fleet",
        plural(len(devices), "device"),
        tag("span", f"{number(offline)} offline", class_="warn") if offline else "all online" if devices else None,
        tag("span", plural(sum(alarms.values()), "open alarm"), class_="warn") if alarms else "no open alarms",
        None if readings_per_s is None else f"{compact(readings_per_s)} readings/s",
    )


def nothing(devices: Sequence[Row], problem: str | None, data: Path, mqtt_port: int | None) -> Markup:
    """What stands in place of an empty list."""
    if devices:
        return empty("No device matches", "Search for part of an id, a model or a site, or choose All.")
    if problem:
        return empty("No devices to show", "The hub does not answer; this page goes on by itself when it is back.")
    port = [] if mqtt_port in (None, GatewaySettings().port) else ["--hub-port", str(mqtt_port)]
    return empty(
        "No devices yet",
        tag("span", "Simulate some: ", tag("code", called("simulate", *port, data=data))),
        tag("span", "Or read this machine's own sensors: ", tag("code", called("edge", "run", *port, data=data))),
    )


def by_urgency(devices: Iterable[Row], alarms: Mapping[str, int]) -> list[Row]:
    """Devices with alarms first, then those that are away, then by name: stable, so that rows do not jump about."""
    return sorted(devices, key=lambda each: (not alarms.get(each["device"]), each["connected"], each["device"]))


def count_by_device(alarms: Iterable[Row]) -> Counter[str]:
    return Counter(alarm["device"] for alarm in alarms)


def register(front: Callable[[], Front]) -> None:
    @ui.page("/")
    async def fleet() -> None:
        asked = front()
        frame = Frame(asked, "Fleet", "/")
        chosen = {"words": "", "only": "all"}
        with content():
            head = Live()
            with ui.element("div").classes("tools") as tools:
                words = search("Search devices, models, sites")
                only = Choice("Show", FILTERS, "all")
            rows = Listing("Devices", COLUMNS, "fleet")
            blank = Live()

        async def refresh() -> Sequence[Answer]:
            devices, latest, alarms, health, hub = await asyncio.gather(
                asked.hub("/devices"),
                asked.processors("/latest"),
                asked.processors("/alarms", {"state": "open", "limit": 1000}),
                asked.processors("/health"),
                asked.hub("/health"),
            )
            every = devices.value["devices"] if devices.value else []
            now = latest.value["devices"] if latest.value else {}
            counts = count_by_device(alarms.value["alarms"] if alarms.value else [])
            now_ms = asked.clock.time_ns() // 1_000_000
            shown = [each for each in every if is_shown(each, **chosen, alarms=counts[each["device"]])]
            head.show(facts(every, counts, health.value.get("readings_per_s") if health.value else None))

            def draw(entry: Entry) -> tuple[str, Markup]:
                name = entry.device["device"]
                latest_of = now.get(name, {})
                return name, row(entry.device, latest_of, asked.trends, alarms=entry.alarms, now_ms=now_ms)

            rows.show([Entry(each, counts[each["device"]]) for each in by_urgency(shown, counts)], draw)
            tools.set_visibility(bool(every))
            port = hub.value["mqtt"]["port"] if hub.value else None
            hint = nothing(every, devices.problem, asked.backend.data, port)
            blank.show(Markup("<div></div>") if shown or devices.is_open else hint)
            return devices, latest, alarms

        async def choose(name: str, value: str) -> None:
            chosen[name] = value
            rows.first_page()
            await refresh()

        rows.on_change(refresh)
        words.on_change(lambda value: choose("words", value))
        only.on_change(lambda value: choose("only", value))
        await frame.run(refresh)
