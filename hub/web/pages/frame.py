"""What all pages share: head, navigation, the state of the product in one line, and the rhythm of updates."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from pathlib import Path

from nicegui import ui

from hub.web.front import Front
from hub.web.live import Live
from hub.web.markup import Markup, join, tag
from hub.web.sharing import Answer
from hub.web.words import clock, number, plural

_log = logging.getLogger(__name__)

ASSETS = Path(__file__).parents[1] / "assets"
ASSETS_URL = "/assets"
REFRESH_EVERY_S = 1.0
FIRST_ANSWER_S = 1.5  # then the page is shown without it

PAGES = (("/", "Fleet"), ("/alarms", "Alarms"), ("/commands", "Commands"), ("/ledger", "Ledger"))

Refresh = Callable[[], Awaitable[Iterable[Answer]]]
"""Draws anew what a page shows, and returns the answers that it drew."""


class Frame:
    """The head of a page; what is built after it stands below. `run` keeps everything up to date."""

    def __init__(self, front: Front, title: str, here: str) -> None:
        self._front = front
        self._here = here
        ui.page_title(f"{title} · Penstock")
        ui.add_head_html(head(str(int((ASSETS / "style.css").stat().st_mtime))))
        ui.html(SKIP_LINK, sanitize=False)
        with ui.element("header").classes("top"):
            ui.html(BRAND, sanitize=False).classes("brand-cell")
            self._navigation = Live("nav-cell")
            ui.html(THEME_BUTTON, sanitize=False).classes("theme-cell")
        nothing = Answer(value=None, time_ms=None, problem=None)
        self._navigation.show(navigation(here, nothing, nothing))
        self._notice = Live("notice-cell").props('role="status" aria-live="polite"')

    async def run(self, refresh: Refresh, *, every_s: float = REFRESH_EVERY_S) -> None:
        """Show the first answers, then refresh for as long as the page is open."""

        async def both() -> None:
            health, shown = await asyncio.gather(self._refresh(), refresh())
            self._notice.show(notice(health, shown))

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ANSWER_S):
                await both()
        busy = asyncio.Lock()

        async def again() -> None:
            if not busy.locked():  # a slow answer must not pile up questions
                async with busy:
                    await both()

        ui.timer(every_s, again)

    async def _refresh(self) -> tuple[Answer, ...]:
        """Draw the navigation; returns how the hub and the processors are."""
        alarms, ledger, hub, processors = await asyncio.gather(
            self._front.processors("/alarms", {"state": "open", "limit": 1000}),
            self._front.ledger(),
            self._front.hub("/health"),
            self._front.processors("/health"),
        )
        self._navigation.show(navigation(self._here, alarms, ledger))
        return hub, processors


def navigation(here: str, alarms: Answer, ledger: Answer) -> Markup:
    """The links, with the count of open alarms and the verdict of the ledger."""
    open_alarms = len(alarms.value["alarms"]) if alarms.value else 0
    marks = {"/alarms": _count_mark(open_alarms), "/ledger": _verdict(ledger)}
    links = [
        tag("a", title, marks.get(path), href=path, aria_current="page" if path == here else None)
        for path, title in PAGES
    ]
    return tag("nav", links, aria_label="Pages")


def _count_mark(count: int) -> Markup | None:
    return tag("span", number(count), class_="mark alarm", title=plural(count, "open alarm")) if count else None


def _verdict(ledger: Answer) -> Markup | None:
    found = ledger.value
    if ledger.is_open:
        return None
    if found is None or ledger.problem or found["verdict"] == "unknown":
        why = ledger.problem or (found and found["processors_away"])
        return tag("span", "unknown", class_="mark", title=f"What is stored is not known: {why}")
    lost = found["totals"]["lost"]
    good = found["verdict"] == "balanced"
    text = f"{number(lost)} lost" if good or lost else "unbalanced"
    return tag("span", text, class_="mark good" if good else "mark bad")


def notice(health: Iterable[Answer], shown: Iterable[Answer]) -> Markup:
    """What is wrong with the product itself, in sentences, and how old what is `shown` is; nothing when all is well."""
    sentences: list[str] = []
    for answer in health:
        if answer.problem:
            sentences.append(answer.problem)
        elif answer.value is not None:
            sentences += answer.value.get("problems", [])
    lines = [tag("p", f"{sentence[:1].upper()}{sentence[1:]}.") for sentence in sentences]
    old_ms = [answer.time_ms for answer in shown if answer.problem and answer.time_ms is not None]
    if sentences and old_ms:
        lines.append(tag("p", "What they last said stands below, from ", moment(min(old_ms), clock(min(old_ms))), "."))
    return tag("div", lines, class_="notice" if lines else "notice none")


def content() -> ui.element:
    """What stands below the head of every page."""
    return ui.element("div").classes("content").props('id="content" tabindex="-1"')


def heading(title: str, *facts: str | Markup | None) -> Markup:
    """The head of a page: its title, and what matters most beside it."""
    shown = [tag("li", fact) for fact in facts if fact]
    return tag("div", tag("h1", title), tag("ul", shown, class_="facts") if shown else None, class_="heading")


def empty(title: str, *what_to_do: str | Markup) -> Markup:
    """What stands where there is nothing yet: why, and what to do next."""
    return tag("div", tag("h2", title), [tag("p", each) for each in what_to_do], class_="empty")


def table(caption: str, columns: Iterable[tuple[str, str]], classes: str) -> Markup:
    """The frame of a table whose rows are parts; columns are (title, class)."""
    heads = [tag("th", title, class_=name or None, scope="col") for title, name in columns]
    return tag(
        "table",
        tag("caption", caption, class_="unseen"),
        tag("thead", tag("tr", heads)),
        body_of(),
        class_=classes,
    )


def body_of() -> Markup:
    """Where the rows of a table go."""
    return tag("tbody", data_parts=True)


def moment(time_ms: int | None, text: str) -> Markup:
    """A point in time; the browser shows it in its reader's time zone."""
    return tag("time", text, datetime=text) if time_ms is not None else Markup("–")


_PIPE = "M3 4h7a8 8 0 0 1 8 8v8"
_LOGO = Markup(
    '<svg viewBox="0 0 24 24" width="22" height="22" fill="none" aria-hidden="true">'
    f'<path d="{_PIPE}" stroke="currentColor" stroke-width="5"/>'
    f'<path d="{_PIPE}" stroke="var(--flow)" stroke-width="1.6" stroke-dasharray="3 2.4"/></svg>'
)
_HALF_MOON = Markup(
    '<svg viewBox="0 0 24 24" width="18" height="18" fill="none" aria-hidden="true">'
    '<circle cx="12" cy="12" r="8" stroke="currentColor" stroke-width="2"/>'
    '<path d="M12 4a8 8 0 0 1 0 16z" fill="currentColor"/></svg>'
)
BRAND = tag("a", _LOGO, tag("span", "Penstock"), class_="brand", href="/")
SKIP_LINK = tag("a", "Skip to content", class_="skip", href="#content")
THEME_BUTTON = tag(
    "button",
    _HALF_MOON,
    class_="icon",
    type="button",
    aria_label="Switch between light and dark",
    title="Light or dark",
    onclick="penstockTheme()",
)

_THEME_SCRIPT = """
const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
const apply = () => (root.dataset.theme = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light"));
apply();
dark.addEventListener("change", apply);
window.penstockTheme = () => {
  localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark");
  apply();
};
root.lang = "en";
"""


@cache
def head(version: str) -> str:
    """Style and theme, before anything is drawn; `version` changes with the style sheet, so that none is outdated."""
    return join(
        [
            Markup('<meta name="theme-color" content="#0d6b70"/>'),
            Markup(f"<script>(() => {{{_THEME_SCRIPT}}})()</script>"),
            tag("link", rel="stylesheet", href=f"{ASSETS_URL}/style.css?{version}"),
        ]
    )
