"""Device: live series with alarms drawn in, current values, commands, and what the device says of itself."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from nicegui import ui
from starlette.requests import Request
from starlette.responses import Response

from hub.web import charts
from hub.web.controls import Choice, button
from hub.web.front import Front
from hub.web.live import Live
from hub.web.markup import Markup, tag
from hub.web.pages import alarms as alarm_list
from hub.web.pages import commands as command_list
from hub.web.pages.fleet import model, presence
from hub.web.pages.frame import Frame, content, empty, moment, table
from hub.web.sharing import Answer
from hub.web.words import ago, clock, number, of_series, plural, quantity
from streams.errors import PenstockError

Row = Mapping[str, Any]

SPANS = {"300": "5 min", "3600": "1 h", "21600": "6 h", "86400": "24 h"}
NEAREST_MAX = 5
ALIKE_MIN = 0.6  # of 1: the same
CHARTS_FIRST = 4
CHARTS_MAX = 12
POINTS = 300
NUMBERS = ("float64", "float32", "int64", "bool")
VALUES = (("Series", ""), ("Now", "right now"), ("Chart", "right pick"))
ACTIONS = {"identify": "Identify", "read_now": "Read now"}


def series_of(device: Row) -> list[Row]:
    return list((device.get("manifest") or {}).get("series") or ())


def first_choice(series: Sequence[Row], alarmed: Sequence[str]) -> list[str]:
    """What is drawn until the reader chooses: what has alarms, then what is measured, in the manifest's order."""
    drawable = [each["name"] for each in series if each.get("type") in NUMBERS]
    measured = [each["name"] for each in series if each.get("type") in ("float64", "float32")]
    ordered = [name for name in alarmed if name in drawable] + measured + drawable
    return list(dict.fromkeys(ordered))[:CHARTS_FIRST]


def refresh_every_s(span_s: int) -> float:
    """A chart of a day gains nothing from a new picture each second."""
    return max(1.0, min(30.0, span_s / POINTS / 2))


def title(device_id: str, answer: Answer, now_ms: int) -> Markup:
    """Name, presence, and who it is."""
    device: Row | None = answer.value
    assert device is not None
    offline = f"offline, seen {ago(device['last_seen_ms'], now_ms)}"
    facts = [
        "not known while the hub is away" if answer.problem else "online" if device["connected"] else offline,
        model(device),
        f"{number(device['readings'])} readings",
    ]
    return tag(
        "div",
        tag("h1", presence({**device, "connected": device["connected"] and not answer.problem}), " ", device_id),
        tag("ul", [tag("li", each) for each in facts], class_="facts"),
        class_="heading",
    )


def nearest(device_id: str, names: Sequence[str]) -> list[str]:
    """The devices that may be meant."""
    wanted = device_id.lower()
    likeness = {name: difflib.SequenceMatcher(None, wanted, name.lower()).ratio() for name in names}
    alike = [name for name in names if likeness[name] >= ALIKE_MIN or wanted in name.lower()]
    return sorted(alike, key=lambda name: (-likeness[name], name))[:NEAREST_MAX]


def no_such_device(device_id: str, names: Sequence[str]) -> Markup:
    """A plain sentence, and where to go from here."""
    links = [tag("li", tag("a", name, href=f"/devices/{quote(name, safe='')}")) for name in names]
    return tag(
        "div",
        tag("p", "No device has ever connected as ", tag("b", device_id), "."),
        [tag("p", "Nearest to that:"), tag("ul", links)] if links else None,
        tag("p", tag("a", "All devices", href="/")),
        class_="missing-device",
    )


def none_so_far(answer: Answer, found: bool, hint: str) -> Markup:
    """What stands in place of an empty list, and nothing while it is not known to be empty."""
    if found or answer.is_open:
        return Markup("<div></div>")
    return tag("p", hint if answer.value is not None else "Not known just now.", class_="hint")


def value_row(entry: Row, reading: Row | None, *, drawn: bool, alarms: int) -> Markup:
    """The current value of one series."""
    name = entry["name"]
    value = reading["value"] if reading else None
    text, unit = of_series(entry, value)
    about = entry.get("description") or ""
    toggle = None
    if entry.get("type") in NUMBERS:
        word = "Hide" if drawn else "Show"
        toggle = tag(
            "button", word, type="button", class_="small", data_pick=name, aria_pressed="true" if drawn else "false",
            aria_label=f"{word} the chart of {name}",
        )  # fmt: skip
    mark = [
        tag("span", number(alarms), class_="mark alarm", title=plural(alarms, "open alarm")) if alarms else None,
        bad_mark(reading),
    ]
    return tag(
        "tr",
        tag("th", tag("span", name), " ", mark, tag("small", about) if about else None, scope="row", class_="stacked"),
        tag("td", tag("b", text), " ", tag("span", unit, class_="unit"), class_="right now value"),
        tag("td", toggle, class_="right pick"),
    )


def bad_mark(reading: Row | None) -> Markup | None:
    """Says that the device itself does not trust its reading."""
    if reading is None or reading["quality"] != "bad":
        return None
    return tag("span", "bad", class_="mark", title="the device itself calls this reading bad")


def chart_head(entry: Row, reading: Row | None, alarms: Sequence[Row]) -> Markup:
    """The title of a chart: the series, what it is now, and whether something is wrong."""
    text, unit = of_series(entry, reading["value"] if reading else None)
    wrong = [bad_mark(reading)]
    wrong += [tag("span", alarm["detector"], class_=f"mark alarm {alarm['kind']}") for alarm in alarms]
    return tag(
        "div",
        tag("h2", entry["name"]),
        wrong,
        tag("div", tag("b", text), " ", tag("span", unit, class_="unit"), class_="value figures"),
        class_="chart-head",
    )


def identity(device: Row) -> Markup:
    """What the device and the hub say of it."""
    about = (device.get("manifest") or {}).get("device") or {}
    first = device["first_seen_ms"]
    pairs: list[tuple[str, Markup | str]] = [
        ("agent", device["agent"] or "–"),
        ("address", device["address"] or "–"),
        ("epoch", str(device["epoch"])),
        ("first seen", moment(first, clock(first))),
        ("frames", number(device["frames"])),
        *((str(name), str(value)) for name, value in (about.get("labels") or {}).items()),
    ]
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs]
    manifest = json.dumps(device.get("manifest"), indent=2, ensure_ascii=False)
    return tag(
        "section",
        tag("h2", "About"),
        tag("dl", rows, class_="pairs"),
        tag("details", tag("summary", "Manifest"), tag("pre", manifest, tabindex="0")),
        class_="panel",
    )


class ChartPanel:
    """One chart on the page."""

    def __init__(self, entry: Row) -> None:
        self.entry = entry
        _, unit = quantity(0.0, code=entry.get("unit"))
        with ui.element("section").classes("panel chart-panel") as self.element:
            self.element.props["aria-label"] = f"Chart of {entry['name']}"
            self._head = Live()
            self._chart = ui.echart(charts.base(unit, on_off=entry.get("type") == "bool")).classes("chart")

    def show(self, reading: Row | None, series: Row | None, alarms: Sequence[Row], span_s: int, now_ms: int) -> None:
        start_ms = now_ms - span_s * 1000
        self._head.show(chart_head(self.entry, reading, [alarm for alarm in alarms if alarm["state"] == "open"]))
        if series is not None:
            seen = charts.overlapping(alarms, start_ms=start_ms, end_ms=now_ms)
            step = self.entry.get("type") == "bool"
            drawing = charts.data(series, seen, start_ms=start_ms, end_ms=now_ms, step=step)
            self._chart.run_chart_method("setOption", drawing)


class DevicePage:
    """The page of one device, for one reader."""

    def __init__(self, front: Front, device_id: str) -> None:
        self._front = front
        self._id = device_id
        self._span_s = 300
        self._drawn: list[str] | None = None
        self._panels: dict[str, ChartPanel] = {}
        self._series: list[Row] = []
        self._drawn_at_ns = 0
        self.is_missing = False
        """Whether the hub said that there is no such device."""

    def build(self) -> None:
        with content():
            ui.html(tag("a", "Fleet", href="/", class_="crumb"), sanitize=False)
            with ui.element("div").classes("bar-row"):
                self._title = Live()
                with ui.element("div").classes("actions") as self._actions:
                    for name, text in ACTIONS.items():
                        button(text, self._sender(name), f"action {'main' if name == 'identify' else ''}")
            self._problem = Live()
            self._blank = Live()
            self._body = ui.element("div")
            with self._body:
                self._build_body()
        self._show_body(False)

    def _build_body(self) -> None:
        """What stands on the page of a device that there is."""
        with ui.element("div").classes("tools"):
            spans = Choice("Time range", SPANS, str(self._span_s))
            spans.on_change(self._choose_span)
        self._charts = ui.element("div").classes("charts")
        with ui.element("div").classes("columns"):
            with ui.element("div"):
                ui.html(tag("h2", "Current values"), sanitize=False).classes("over")
                self._values = Live("sheet", frame=table("Current values", VALUES, "values")).on_pick(self._pick)
            with ui.element("div"):
                ui.html(tag("h2", "Alarms"), sanitize=False).classes("over")
                self._alarms = Live("sheet", frame=table("Alarms", alarm_list.COLUMNS, "alarm-list narrow"))
                self._no_alarms = Live()
                ui.html(tag("h2", "Commands"), sanitize=False).classes("over")
                self._commands = Live("sheet", frame=table("Commands", command_list.COLUMNS, "command-list narrow"))
                self._no_commands = Live()
                self._about = Live("over")

    def _show_body(self, known: bool) -> None:
        self._body.set_visibility(known)
        self._actions.set_visibility(known)

    async def refresh(self) -> Sequence[Answer]:
        device, latest, alarms, commands = await asyncio.gather(
            self._front.hub(f"/devices/{quote(self._id, safe='')}"),
            self._front.processors("/latest", {"device": self._id}),
            self._front.processors("/alarms", {"device": self._id, "state": "all", "limit": 100}),
            self._front.hub("/commands", {"device": self._id, "limit": 20}),
        )
        self.is_missing = device.missing
        self._show_body(device.value is not None)
        if device.value is None:
            self._show_nothing(device, await self._front.hub("/devices") if device.missing else None)
            return [device]
        readings = latest.value["devices"].get(self._id, {}) if latest.value else {}
        found = alarms.value["alarms"] if alarms.value else []
        self._show_device(device, readings, found)
        self._show_lists(alarms, commands)
        return [device, latest, alarms, commands, *await self._draw(readings, found)]

    def _show_nothing(self, device: Answer, every: Answer | None) -> None:
        """The page of a device that is not there, or not known yet."""
        self._title.show(tag("h1", "No such device" if device.missing else self._id))
        if every is not None:
            names = [each["device"] for each in every.value["devices"]] if every.value else []
            self._blank.show(no_such_device(self._id, nearest(self._id, names)))
        elif device.problem:
            why = "The hub does not answer; this page goes on by itself when it is back."
            self._blank.show(empty("Nothing to show", why))

    def _show_device(self, answer: Answer, readings: Row, alarms: Sequence[Row]) -> None:
        device: Row | None = answer.value
        assert device is not None
        self._title.show(title(self._id, answer, self._now_ms()))
        self._series = series_of(device)
        if self._drawn is None and self._series:
            self._drawn = first_choice(self._series, [alarm["metric"] for alarm in alarms if alarm["state"] == "open"])
        self._arrange()
        nothing = empty("No series yet", "The device has not sent its manifest; it does so when it connects.")
        self._blank.show(Markup("<div></div>") if self._series else nothing)
        self._about.show(identity(device))
        counts = [alarm["metric"] for alarm in alarms if alarm["state"] == "open"]
        self._values.show(
            {
                each["name"]: value_row(
                    each,
                    readings.get(each["name"]),
                    drawn=each["name"] in self._panels,
                    alarms=counts.count(each["name"]),
                )
                for each in self._series
            }
        )

    def _show_lists(self, alarms: Answer, commands: Answer) -> None:
        found = alarms.value["alarms"][:10] if alarms.value else []
        self._alarms.show(alarm_list.shown(found, now_ms=self._now_ms(), with_device=False))
        self._alarms.set_visibility(bool(found))
        self._no_alarms.show(none_so_far(alarms, bool(found), "None so far."))
        sent = commands.value["commands"][:10] if commands.value else []
        self._commands.show(command_list.shown(sent, with_device=False))
        self._commands.set_visibility(bool(sent))
        self._no_commands.show(none_so_far(commands, bool(sent), "None so far. Identify asks the device who it is."))

    def _arrange(self) -> None:
        """Add and remove charts so that those that are chosen are there."""
        known = {each["name"]: each for each in self._series}
        wanted = [name for name in self._drawn or [] if name in known]
        for name in [name for name in self._panels if name not in wanted]:
            self._panels.pop(name).element.delete()
        for name in wanted:
            if name not in self._panels:
                with self._charts:
                    self._panels[name] = ChartPanel(known[name])
                self._drawn_at_ns = 0

    async def _draw(self, readings: Row, alarms: Sequence[Row]) -> list[Answer]:
        now_ns = self._front.clock.monotonic_ns()
        due = now_ns - self._drawn_at_ns >= refresh_every_s(self._span_s) * 0.9e9 or not self._drawn_at_ns
        panels, span_s = dict(self._panels), self._span_s
        answers: list[Answer | None] = [None] * len(panels)
        if due:
            self._drawn_at_ns = now_ns
            ask = [self._front.series(self._id, name, span_s=span_s, points=POINTS) for name in panels]
            answers = list(await asyncio.gather(*ask))
        for (name, panel), answer in zip(panels.items(), answers):
            if name in self._panels and span_s == self._span_s:
                mine = [alarm for alarm in alarms if alarm["metric"] == name]
                panel.show(readings.get(name), answer.value if answer else None, mine, span_s, self._now_ms())
        return [answer for answer in answers if answer is not None]

    async def _choose_span(self, value: str) -> None:
        self._span_s, self._drawn_at_ns = int(value), 0
        await self.refresh()

    async def _pick(self, name: str) -> None:
        drawn = list(self._drawn or [])
        if name in drawn:
            drawn.remove(name)
        elif name in {each["name"] for each in self._series}:
            drawn = [*drawn, name][-CHARTS_MAX:]
        self._drawn = drawn
        await self.refresh()

    def _sender(self, name: str) -> Callable[[], Any]:
        async def send() -> None:
            try:
                body = {"device": self._id, "name": name, "arguments": {}, "deadline_s": 60}
                await self._front.backend.hub.request("POST", "/commands", body=body)
                self._problem.show(Markup("<div></div>"))
            except PenstockError as error:
                self._problem.show(tag("p", f"{ACTIONS[name]} was not sent: {error}", class_="error", role="alert"))
            await self.refresh()

        return send

    def _now_ms(self) -> int:
        return self._front.clock.time_ns() // 1_000_000


def register(front: Callable[[], Front]) -> None:
    @ui.page("/devices/{device_id}")
    async def device(device_id: str, request: Request) -> Response | None:
        asked = front()
        frame = Frame(asked, device_id, "/")
        page = DevicePage(asked, device_id)
        page.build()
        await frame.run(page.refresh)
        return ui.context.client.build_response(request, 404) if page.is_missing else None
