"""Ledger: every reading accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from nicegui import ui

from hub.web.controls import search
from hub.web.front import Front
from hub.web.live import Live
from hub.web.markup import Markup, tag
from hub.web.pages.frame import Frame, content, empty, heading
from hub.web.pages.listing import Column, Listing
from hub.web.sharing import Answer
from hub.web.words import number, plural

Amounts = Mapping[str, Any]

# name, title, what it means; in the order of the bar
KINDS = (
    ("stored", "Stored", "in the time-series store, once each"),
    ("in_flight", "In flight", "on the way: held by a device, or on the hub's log and not stored yet"),
    ("thinned", "Thinned", "left out by a device on purpose, and declared"),
    ("dropped", "Dropped", "given up by a device, and declared with the reason"),
    ("quarantined", "Quarantined", "received, kept, and not readable"),
    ("lost", "Lost", "numbered by a device, and nowhere"),
)
ALWAYS = ("produced", "stored", "lost")
RANGES_MAX = 50

# what the hub alone can tell
KINDS_KNOWN = (
    ("logged", "Received", "on the hub's log; whether it is stored is not known"),
    ("held", "Held", "in a device"),
    *(each for each in KINDS if each[0] in ("thinned", "dropped")),
)


def amount(amounts: Amounts, kind: str) -> int:
    if kind in ("held", "logged"):
        return int(amounts["in_flight"][kind])
    if kind == "in_flight":
        return int(amounts["in_flight"]["held"] + amounts["in_flight"]["logged"])
    return int(amounts[kind])


class Entry(NamedTuple):
    """The account of one device and epoch, in the list."""

    account: Amounts
    earlier: bool
    """Whether the device has begun anew since."""
    is_unknown: bool = False
    """Whether nobody can say what is stored."""


def _column(kind: str, title: str) -> Column[Entry]:
    return Column(title, "right", lambda each: amount(each.account, kind))


COLUMNS: tuple[Column[Entry], ...] = (
    Column("Device", "", lambda each: (each.account["device"], -each.account["epoch"]), largest_first=False),
    _column("produced", "Produced"),
    *(_column(kind, title) for kind, title, _ in KINDS),
    _column("duplicates", "Repeats"),
)


def statement(ledger: Mapping[str, Any]) -> Markup:
    """The verdict in words, and the sum that proves it."""
    totals = ledger["totals"]
    kinds, always = (KINDS_KNOWN, "logged") if is_unknown(ledger) else (KINDS, ("stored", "in_flight", "lost"))
    shown = [(kind, title) for kind, title, _ in kinds if kind in always or amount(totals, kind)]
    terms: list[Markup] = [_term("Produced", totals["produced"], "produced")]
    for index, (kind, title) in enumerate(shown):
        terms.append(tag("span", "+" if index else "=", class_="sign", aria_hidden="true"))
        terms.append(_term(title, amount(totals, kind), kind))
    return tag(
        "section",
        tag("h1", verdict(ledger)),
        tag("div", terms, class_="sum figures"),
        bar(totals, kinds),
        class_="statement broken" if ledger["verdict"] == "not balanced" else "statement",
    )


def is_unknown(ledger: Mapping[str, Any]) -> bool:
    """Whether nobody can say what is stored, so that no figure of it may be shown."""
    return bool(ledger["verdict"] == "unknown")


def verdict(ledger: Mapping[str, Any]) -> str:
    totals = ledger["totals"]
    if totals["lost"]:
        return f"{plural(totals['lost'], 'reading')} lost"
    if totals["duplicate_rows"]:
        return f"{plural(totals['duplicate_rows'], 'row')} stored twice"
    if totals["conflicts"]:
        return f"{plural(totals['conflicts'], 'reading')} under numbers that others have"
    if is_unknown(ledger):
        return "Not known just now"
    return "Every reading accounted for"


def _term(title: str, count: int, kind: str) -> Markup:
    return tag("div", tag("b", number(count)), tag("small", title), class_=f"term {kind}{'' if count else ' zero'}")


def bar(totals: Amounts, kinds: Sequence[tuple[str, str, str]] = KINDS) -> Markup:
    """What became of all that was produced, to scale; what there is stays visible however little."""
    produced = max(1, totals["produced"])
    parts = [
        tag(
            "i",
            class_=kind,
            style=f"flex-grow:{amount(totals, kind) / produced:.6f}",
            title=f"{title}: {number(amount(totals, kind))}",
        )
        for kind, title, _ in kinds
        if amount(totals, kind)
    ]
    said = ", ".join(f"{title.lower()} {number(amount(totals, kind))}" for kind, title, _ in kinds)
    return tag("div", parts, class_="bar", role="img", aria_label=f"Of {number(totals['produced'])} readings: {said}")


def explanations(ledger: Mapping[str, Any]) -> Markup:
    """What the words mean, with what is in flight taken apart."""
    totals = ledger["totals"]
    flight = totals["in_flight"]
    items = [
        (
            "In flight",
            f"{number(flight['held'])} held by devices until the hub has them on disk, {number(flight['logged'])} on "
            "the hub's log on their way to the store. While devices send, this is never 0 for long.",
        ),
        (
            "Repeats",
            f"{plural(totals['duplicates'], 'reading')} arrived again after a broken connection and were recognised by "
            "their numbers. They count once.",
        ),
    ]
    items += [(title, f"{meaning[0].upper()}{meaning[1:]}.") for kind, title, meaning in KINDS[2:5] if totals[kind]]
    if totals["conflicts"]:
        items.append(
            (
                "Conflicts",
                f"{plural(totals['conflicts'], 'reading')} came under numbers that other readings have; they are kept "
                "on the hub's log and not stored.",
            )
        )
    if ledger["undecodable"]:
        items.append(("Unreadable", f"{plural(ledger['undecodable'], 'frame')} in quarantine could not be counted."))
    return tag("dl", [tag("div", tag("dt", title), tag("dd", text)) for title, text in items], class_="notes")


def missing(accounts: Sequence[Amounts]) -> Markup:
    """What is lost, by name: device, epoch and numbers."""
    spans = [(account, start, stop) for account in accounts for start, stop in account["lost_ranges"]]
    rows = [
        tag(
            "li",
            tag("b", account["device"]),
            f" readings {number(start)} to {number(stop - 1)} ({number(stop - start)}) of epoch {account['epoch']}",
        )
        for account, start, stop in spans[:RANGES_MAX]
    ]
    if len(spans) > RANGES_MAX:
        rows.append(tag("li", f"and {number(len(spans) - RANGES_MAX)} more; penstock ledger --json lists all"))
    return tag("ul", rows, class_="missing")


def row(entry: Entry) -> Markup:
    """The account of one device and epoch."""
    account, earlier, is_unknown = entry
    name = account["device"]
    link = tag("a", name, href=f"/devices/{quote(name, safe='')}", class_="stretch")
    note = tag("small", f"epoch {account['epoch']}" + (", before it began anew" if earlier else ""))
    hidden = ("stored", "in_flight", "quarantined", "lost") if is_unknown else ()
    cells = [_cell(None if kind in hidden else amount(account, kind), kind, title) for kind, title, _ in KINDS]
    return tag(
        "tr",
        tag("th", link, note, scope="row", class_="stacked"),
        tag("td", number(account["produced"]), class_="right", data_label="Produced"),
        cells,
        _cell(account["duplicates"], "duplicates", "Repeats"),
        class_="bad" if is_wrong(account) else None,
    )


def is_wrong(account: Amounts) -> bool:
    return bool(account["lost"] or account["duplicate_rows"] or account["conflicts"])


def _cell(count: int | None, kind: str, title: str) -> Markup:
    """A figure, if it is known; one that is 0 steps back, and on a phone it goes unless it always matters."""
    classes = "right bad" if kind == "lost" and count else "right" if count else "right faint"
    if not count and kind not in ALWAYS:
        classes += " none"
    return tag("td", "–" if count is None else number(count), class_=classes, data_label=title)


def entries(accounts: Sequence[Amounts], words: str = "", *, is_unknown: bool = False) -> list[Entry]:
    """The accounts whose device has every word in its id; what is wrong comes first, then by name, newest first."""
    newest: dict[str, int] = {}
    for account in accounts:
        newest[account["device"]] = max(account["epoch"], newest.get(account["device"], 0))
    wanted = words.lower().split()
    found = [each for each in accounts if all(word in each["device"].lower() for word in wanted)]
    found.sort(key=lambda each: (not is_wrong(each), each["device"], -each["epoch"]))
    return [Entry(each, each["epoch"] < newest[each["device"]], is_unknown) for each in found]


def draw(entry: Entry) -> tuple[str, Markup]:
    return f"{entry.account['device']}/{entry.account['epoch']}", row(entry)


def top(answer: Answer) -> dict[str, Markup]:
    """Everything above the table."""
    ledger = answer.value
    if answer.is_open:
        return {"title": heading("Ledger")}
    if ledger is None:
        return {
            "empty": empty("No ledger to show", "The hub does not answer; this page goes on by itself when it is back.")
        }
    if not ledger["accounts"]:
        return {
            "empty": empty("Nothing produced yet", "The account begins with the first reading of the first device.")
        }
    parts = {"statement": statement(ledger)}
    if ledger["totals"]["lost"]:
        parts["missing"] = missing(ledger["accounts"])
    if ledger["processors_away"]:
        parts["away"] = tag(
            "p",
            "The processors do not answer: what the hub has received is on its log, and whether it is stored will be "
            "known when they are back.",
            class_="hint over",
        )
    else:
        parts["notes"] = explanations(ledger)
    return parts


def register(front: Callable[[], Front]) -> None:
    @ui.page("/ledger")
    async def ledger() -> None:
        asked = front()
        frame = Frame(asked, "Ledger", "/ledger")
        chosen = {"words": ""}
        with content():
            head = Live()
            with ui.element("div").classes("tools") as tools:
                words = search("Search devices")
            accounts = Listing("Account of each device", COLUMNS, "accounts")
            blank = Live()

        async def refresh() -> Sequence[Answer]:
            answer = await asked.ledger()
            found = answer.value["accounts"] if answer.value else []
            head.show(top(answer))
            shown = entries(found, chosen["words"], is_unknown=answer.value is not None and is_unknown(answer.value))
            accounts.show(shown, draw)
            tools.set_visibility(len({each["device"] for each in found}) > 1)
            nothing = empty("No device matches", "Search for part of a device's id.")
            blank.show(nothing if found and not shown else Markup("<div></div>"))
            return [answer]

        async def choose(value: str) -> None:
            chosen["words"] = value
            accounts.first_page()
            await refresh()

        accounts.on_change(refresh)
        words.on_change(choose)

        await frame.run(refresh)
