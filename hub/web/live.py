"""A region of the page that is drawn as HTML and kept up to date without flicker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from nicegui.element import Element

from hub.web.markup import Markup


class Live(Element, component="assets/live.js"):
    """Shows parts of HTML by key, each one element; what has not changed is neither sent nor touched.

    Parts stand inside the element of `frame` that has the attribute `data-parts`; without a frame, directly.
    """

    def __init__(self, classes: str = "", *, frame: Markup | None = None) -> None:
        super().__init__()
        self._parts: dict[str, Markup] = {}
        self._props["parts"] = []
        self._props["frame"] = frame or ""
        self._sent = False
        if classes:
            self.classes(classes)

    def show(self, content: Markup | Mapping[str, Markup]) -> None:
        """Replace what is shown: one element, or several by key, in order."""
        parts = dict(content) if isinstance(content, Mapping) else {"": content}
        changed = {key: html for key, html in parts.items() if self._parts.get(key) != html}
        if not changed and list(parts) == list(self._parts):
            return
        first, self._parts = not self._sent, parts
        self._sent = True
        if first:  # what the element begins with, on a page that is just opened or added to one that is open
            self._props["parts"] = list(parts.items())
            return
        with self._props.suspend_updates():
            self._props["parts"] = list(parts.items())
        self.run_method("show", list(parts), changed)

    def reframe(self, frame: Markup) -> None:
        """Change what stands around the parts."""
        self._props["frame"] = frame

    def on_pick(self, handler: Callable[[str], Any]) -> Self:
        """Call `handler` with the value of `data-pick` of what was clicked."""
        self.on("pick", lambda event: handler(str(event.args)))
        return self
