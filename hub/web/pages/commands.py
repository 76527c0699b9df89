"""Commands: what was sent to devices, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from nicegui import ui

from hub.web.front import Front
from hub.web.live import Live
from hub.web.markup import Markup, tag
from hub.web.pages.frame import Frame, content, empty, heading, moment, table
from hub.web.sharing import Answer
from hub.web.words import clock, plural, quantity

Command = Mapping[str, Any]

STEPS = ("queued", "sent", "accepted", "running", "succeeded")
ENDS = {"succeeded": "good", "failed": "bad", "rejected": "bad", "expired": "alarm", "cancelled": ""}
COLUMNS = (("Command", ""), ("State", "state"), ("Result", "result"), ("Sent", "since"), ("Took", "right took"))
LIMIT = 200
ROWS_MAX = 40  # of a result that is shown as a list


def row(command: Command, *, with_device: bool = True) -> Markup:
    """One command."""
    device = tag("a", command["device"], href=f"/devices/{quote(command['device'], safe='')}")
    name = tag("div", tag("b", command["name"]), tag("small", device) if with_device else None, title=command["key"])
    return tag(
        "tr",
        tag("th", name, scope="row", class_="stacked"),
        tag("td", progress(command), class_="state"),
        tag("td", outcome(command), class_="result"),
        tag("td", moment(command["created_ms"], clock(command["created_ms"])), class_="since"),
        tag("td", took(command), class_="right took"),
    )


def progress(command: Command) -> Markup:
    """The state as a word, and how far along it is as five ticks."""
    state = command["state"]
    reached = {step["state"] for step in command["history"]}
    ticks = [tag("i", class_="done" if step in reached or state == "succeeded" else None) for step in STEPS]
    path = " → ".join(step["state"] for step in command["history"])
    kind = ENDS.get(state, "under-way")
    return tag(
        "div",
        tag("span", state, class_=f"mark {kind}".strip()),
        tag("span", ticks, class_=f"ticks {kind}".strip(), aria_hidden="true"),
        class_="progress",
        title=path,
    )


def outcome(command: Command) -> Markup | str:
    """The result, the error, or what it is waiting for."""
    if command["error"]:
        return tag("span", command["error"], class_="error")
    if command["result"] is not None:
        return result(command["result"])
    if command["progress"] is not None and not command["ended_ms"]:
        return f"{command['progress']:.0%}"
    if command["state"] == "queued":
        return "waits for the device to connect"
    return ""


def result(value: Any) -> Markup:
    """A result as pairs; readings with their values, anything else as it came."""
    if isinstance(value, Mapping) and set(value) == {"readings"} and isinstance(value["readings"], Mapping):
        value = {name: _reading(each) for name, each in value["readings"].items()}
    if not isinstance(value, Mapping):
        return tag("code", json.dumps(value, ensure_ascii=False)[:400])
    pairs = [(str(name), _text(each)) for name, each in value.items() if each is not None]
    rows = [tag("div", tag("dt", name), tag("dd", text)) for name, text in pairs[:ROWS_MAX]]
    return tag("dl", rows, class_="pairs")


def _reading(each: Any) -> Any:
    """The value of a reading, which a device sends alone or with its time and unit."""
    if not isinstance(each, Mapping):
        return each
    text, unit = quantity(each.get("value"), code=each.get("unit"))
    return f"{text} {unit}".strip()


def _text(value: Any) -> str:
    if isinstance(value, (int, float, str)):
        return quantity(value)[0] if isinstance(value, (bool, float)) else str(value)
    return json.dumps(value, ensure_ascii=False)[:400]


def took(command: Command) -> str:
    """From asking to the end, in seconds; empty while it runs."""
    if command["ended_ms"] is None:
        return ""
    seconds = (command["ended_ms"] - command["created_ms"]) / 1000
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def shown(commands: Sequence[Command], *, with_device: bool = True) -> dict[str, Markup]:
    return {command["key"]: row(command, with_device=with_device) for command in commands}


def nothing(problem: str | None) -> Markup:
    if problem:
        return empty("No commands to show", "The hub does not answer; this page goes on by itself when it is back.")
    return empty(
        "No commands yet",
        "Open a device and press Identify.",
        tag("span", "Or: ", tag("code", "penstock command send DEVICE identify")),
    )


def register(front: Callable[[], Front]) -> None:
    @ui.page("/commands")
    async def commands() -> None:
        asked = front()
        frame = Frame(asked, "Commands", "/commands")
        with content():
            head = Live()
            rows = Live("sheet", frame=table("Commands", COLUMNS, "command-list"))
            blank = Live()

        async def refresh() -> Sequence[Answer]:
            answer = await asked.hub("/commands", {"limit": LIMIT})
            found = answer.value["commands"] if answer.value else []
            under_way = sum(command["ended_ms"] is None for command in found)
            head.show(heading("Commands", f"{plural(under_way, 'command')} under way" if under_way else None))
            rows.show(shown(found))
            rows.set_visibility(bool(found))
            blank.show(Markup("<div></div>") if found or answer.is_open else nothing(answer.problem))
            return [answer]

        await frame.run(refresh)
