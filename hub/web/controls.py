"""What a reader can use: a search field, a choice of a few, a button. Plain elements with the page's own style."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui

Handler = Callable[[str], Awaitable[None]]


class Search:
    """A field that tells each change of its text."""

    def __init__(self, label: str) -> None:
        field = ui.element("input").classes("search")
        field.props["type"] = "search"
        field.props["placeholder"] = label
        field.props["aria-label"] = label
        field.props["autocomplete"] = "off"
        field.props["spellcheck"] = "false"
        self._field = field

    def on_change(self, handler: Handler) -> None:
        async def changed(event: Any) -> None:
            await handler(str(event.args)[:200])

        self._field.on("input", changed, throttle=0.1, js_handler="(event) => emit(event.target.value)")


def search(label: str) -> Search:
    return Search(label)


class Choice:
    """A row of buttons of which one is pressed."""

    def __init__(self, label: str, options: Mapping[str, str], chosen: str) -> None:
        self._handler: Handler | None = None
        self._buttons: dict[str, ui.element] = {}
        with ui.element("div").classes("choice").props('role="group"') as group:
            group.props["aria-label"] = label
            for key, text in options.items():
                self._buttons[key] = button(text, self._picker(key), "option")
        self._press(chosen)

    def on_change(self, handler: Handler) -> None:
        self._handler = handler

    def _picker(self, key: str) -> Callable[[], Awaitable[None]]:
        async def pick() -> None:
            self._press(key)
            if self._handler is not None:
                await self._handler(key)

        return pick

    def _press(self, chosen: str) -> None:
        for key, each in self._buttons.items():
            each.props["aria-pressed"] = "true" if key == chosen else "false"


def button(text: str, handler: Callable[[], Awaitable[None]], classes: str = "") -> ui.element:
    """A button that calls `handler`."""
    made = ui.element("button").classes(classes)
    made.props["type"] = "button"
    with made:
        ui.label(text)

    async def clicked() -> None:
        await handler()

    made.on("click", clicked, args=[])
    return made
