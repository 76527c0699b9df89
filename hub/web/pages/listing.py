"""A long list: ordered by its headings, shown a page at a time, so that a large fleet is quick to read and draw."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nicegui import ui

from hub.web.controls import button
from hub.web.live import Live
from hub.web.markup import Markup, tag
from hub.web.pages.frame import body_of
from hub.web.words import number

Item = TypeVar("Item")

ROWS = 25  # of a page


@dataclass(frozen=True, slots=True)
class Column(Generic[Item]):
    """A column; with `key` its heading sorts by that. Numbers begin with the largest, names with the first."""

    title: str
    classes: str = ""
    key: Callable[[Item], Any] | None = None
    largest_first: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """By which column, and which way; without a column, as the list comes."""

    title: str | None = None
    descending: bool = False

    def after_click(self, column: Column[Any]) -> Order:
        """A heading sorts the natural way, then the other way, then no more."""
        if self.title != column.title:
            return Order(column.title, column.largest_first)
        return Order(self.title, not self.descending) if self.descending == column.largest_first else Order()


def ordered(items: Sequence[Item], columns: Sequence[Column[Item]], order: Order) -> list[Item]:
    """Stable: items that are equal stay as they came."""
    key = next((each.key for each in columns if each.title == order.title), None)
    return list(items) if key is None else sorted(items, key=key, reverse=order.descending)


def page_at(index: int, count: int) -> tuple[int, int, int]:
    """The page nearest to `index` that there is, and where it begins and ends among `count` rows."""
    index = max(0, min(index, (count - 1) // ROWS))
    return index, index * ROWS, min(count, (index + 1) * ROWS)


def frame(caption: str, columns: Sequence[Column[Any]], classes: str, order: Order) -> Markup:
    """The table around the rows, whose headings are buttons."""
    heads = [_head(column, order) for column in columns]
    return tag(
        "table",
        tag("caption", caption, class_="unseen"),
        tag("thead", tag("tr", heads)),
        body_of(),
        class_=f"{classes} sortable",
    )


def _head(column: Column[Any], order: Order) -> Markup:
    if column.key is None:
        return tag("th", column.title, class_=f"{column.classes} unsorted".strip(), scope="col")
    way = None if order.title != column.title else "descending" if order.descending else "ascending"
    press = tag("button", column.title, type="button", data_pick=column.title, class_="sort")
    return tag("th", press, class_=column.classes or None, scope="col", aria_sort=way)


class Listing(Generic[Item]):
    """The list on a page of one reader."""

    def __init__(self, caption: str, columns: Sequence[Column[Item]], classes: str) -> None:
        self._caption, self._columns, self._classes = caption, tuple(columns), classes
        self._order = Order()
        self._index = 0
        self._on_change: Callable[[], Awaitable[Any]] | None = None
        self._rows = Live("sheet scroll", frame=frame(caption, columns, classes, self._order)).on_pick(self._sort)
        with ui.element("div").classes("pager") as self._pager:
            self._place = Live()
            self._before = button("Previous", self._turn(-1), "action")
            self._after = button("Next", self._turn(1), "action")

    def on_change(self, handler: Callable[[], Awaitable[Any]]) -> None:
        """Call `handler`, which shows the items again, when the reader sorts or turns the page."""
        self._on_change = handler

    def show(self, items: Sequence[Item], draw: Callable[[Item], tuple[str, Markup]]) -> None:
        """Show the page of `items` that the reader is at; `draw` gives a row and its key."""
        self._index, start, stop = page_at(self._index, len(items))
        shown: Mapping[str, Markup] = dict(map(draw, ordered(items, self._columns, self._order)[start:stop]))
        self._rows.show(shown)
        self._rows.set_visibility(bool(items))
        self._pager.set_visibility(len(items) > ROWS)
        text = f"{number(start + 1)} to {number(stop)} of {number(len(items))}"
        self._place.show(tag("p", text, class_="figures", role="status"))
        self._before.props["disabled"] = start == 0
        self._after.props["disabled"] = stop == len(items)

    def first_page(self) -> None:
        self._index = 0

    async def _sort(self, title: str) -> None:
        column = next((each for each in self._columns if each.title == title and each.key is not None), None)
        if column is not None:
            self._order, self._index = self._order.after_click(column), 0
            self._rows.reframe(frame(self._caption, self._columns, self._classes, self._order))
            await self._changed()

    def _turn(self, pages: int) -> Callable[[], Awaitable[None]]:
        async def turn() -> None:
            self._index = max(0, self._index + pages)
            await self._changed()
            self._rows.run_method("reveal")

        return turn

    async def _changed(self) -> None:
        if self._on_change is not None:
            await self._on_change()
