"""Alarms: what the detectors found, open and closed, with the evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from nicegui import ui

from hub.web.controls import Choice
from hub.web.front import Front
from hub.web.live import Live
from hub.web.markup import Markup, tag
from hub.web.pages.frame import Frame, content, empty, heading, moment, table
from hub.web.sharing import Answer
from hub.web.words import clock, duration, number, plural, quantity

Alarm = Mapping[str, Any]

FILTERS = {"open": "Open", "closed": "Closed", "all": "All"}
COLUMNS = (
    ("Alarm", ""),
    ("What was seen", "seen-what"),
    ("Since", "since"),
    ("Lasted", "right lasted"),
    ("Strength", "right strength"),
)
LIMIT = 200
KINDS = {"process": "process", "sensor": "sensor fault"}


def row(alarm: Alarm, *, now_ms: int, with_device: bool = True) -> Markup:
    """One alarm; its evidence opens below the message."""
    device = tag("a", alarm["device"], href=f"/devices/{quote(alarm['device'], safe='')}")
    title = [device, " "] if with_device else []
    is_open = alarm["state"] == "open"
    end_ms = now_ms if is_open else (alarm["closed_ns"] or alarm["opened_ns"]) / 1e6
    opened_ms = alarm["opened_ns"] // 1_000_000
    return tag(
        "tr",
        tag(
            "th",
            tag(
                "div",
                mark(alarm),
                tag("div", title, tag("span", alarm["metric"]), tag("small", KINDS.get(alarm["kind"], alarm["kind"]))),
                class_="named",
            ),
            scope="row",
        ),
        tag("td", tag("div", alarm["message"]), evidence(alarm), class_="seen-what"),
        tag("td", moment(opened_ms, clock(opened_ms)), class_="since"),
        tag("td", duration(end_ms / 1000 - opened_ms / 1000), class_="right lasted"),
        tag("td", f"{alarm['strength']:.1f}", class_="right strength"),
        class_="open" if is_open else None,
    )


def mark(alarm: Alarm) -> Markup:
    is_open = alarm["state"] == "open"
    return tag("span", alarm["state"], class_=f"mark {'alarm' if is_open else ''}".strip())


def evidence(alarm: Alarm) -> Markup:
    """Why the alarm was raised, so that it can be checked: detector, parameters, and the reading in the log."""
    where = alarm.get("evidence") or {}
    value, unit = quantity(alarm.get("value"))
    facts = [
        ("detector", f"{alarm['detector']}, version {alarm['version']}"),
        ("reading", f"{value} {unit}".strip()),
        ("number", _numbered(where)),
        ("in the log", f"telemetry, partition {where.get('partition')}, offset {where.get('offset')}"),
        *((name.replace("_", " "), str(each)) for name, each in (alarm.get("parameters") or {}).items()),
        ("alarm", alarm["id"]),
    ]
    rows = [tag("div", tag("dt", name), tag("dd", text)) for name, text in facts]
    return tag("details", tag("summary", "Evidence"), tag("dl", rows, class_="pairs"))


def _numbered(where: Mapping[str, Any]) -> str:
    sequence = where.get("sequence")
    return "–" if sequence is None else f"{number(sequence)} of epoch {where.get('epoch')}"


def nothing(state: str, problem: str | None) -> Markup:
    if problem:
        return empty(
            "No alarms to show", "The processors do not answer; this page goes on by itself when they are back."
        )
    if state == "open":
        return empty("No open alarms", "Every detector is quiet. Choose Closed to see what was found before.")
    return empty(
        "No alarms yet", "Detectors learn what is usual first. The simulated fleet shows a fault every few minutes."
    )


def shown(alarms: Sequence[Alarm], *, now_ms: int, with_device: bool = True) -> dict[str, Markup]:
    return {alarm["id"]: row(alarm, now_ms=now_ms, with_device=with_device) for alarm in alarms}


def register(front: Callable[[], Front]) -> None:
    @ui.page("/alarms")
    async def alarms() -> None:
        asked = front()
        frame = Frame(asked, "Alarms", "/alarms")
        chosen = {"state": "open"}
        with content():
            head = Live()
            with ui.element("div").classes("tools"):
                state = Choice("Show", FILTERS, "open")
            rows = Live("sheet", frame=table("Alarms", COLUMNS, "alarm-list"))
            blank = Live()

        async def refresh() -> Sequence[Answer]:
            answer = await asked.processors("/alarms", {"state": chosen["state"], "limit": LIMIT})
            found = answer.value["alarms"] if answer.value else []
            head.show(heading("Alarms", facts(found, chosen["state"])))
            rows.show(shown(found, now_ms=asked.clock.time_ns() // 1_000_000))
            rows.set_visibility(bool(found))
            blank.show(Markup("<div></div>") if found or answer.is_open else nothing(chosen["state"], answer.problem))
            return [answer]

        async def choose(value: str) -> None:
            chosen["state"] = value
            await refresh()

        state.on_change(choose)
        await frame.run(refresh)


def facts(found: Sequence[Alarm], state: str) -> str:
    if len(found) >= LIMIT:
        return f"the newest {number(LIMIT)}"
    return plural(len(found), f"{state} alarm" if state != "all" else "alarm") if found else ""
