"""penstock ledger"""

from __future__ import annotations

from typing import Any

import typer
from rich.markup import escape

from penstock.commands.common import DataOption, JsonOption, console, count, emit, hub_client, processors_client, table
from streams.errors import TryLaterError


def register(app: typer.Typer) -> None:
    app.command("ledger")(ledger)


def ledger(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Account for every reading: produced = stored + declared + in flight; exit 1 if one is not, or it is not known."""
    from hub.ledger import reconcile

    # the store is asked first: what the hub has received can then only be more than what is stored
    stored, away = None, None
    try:
        stored = processors_client(data).get("/ledger")
    except TryLaterError as error:
        away = str(error)
    made = reconcile(hub_client(data).get("/ledger"), stored)
    emit({**made.to_json(), "processors_away": away}, as_json, _show)
    if made.verdict != "balanced":
        raise typer.Exit(1)


COLUMNS = ("produced", "stored", "declared", "in flight", "lost", "stored twice")
CONFLICTS_SHOWN = 20
DECLARED = ("thinned", "dropped", "quarantined")


def _show(answer: dict[str, Any]) -> None:
    accounts = answer["accounts"]
    several_epochs = len({each["device"] for each in accounts}) < len(accounts)
    columns = [("device", "left"), *[("epoch", "right")] * several_epochs, *((name, "right") for name in COLUMNS)]
    rows = [(each["device"], *[each["epoch"]] * several_epochs, *_figures(each)) for each in accounts]
    totals = answer["totals"]
    table("", columns, [*rows, ("all", *[""] * several_epochs, *_figures(totals))])
    for name in DECLARED:
        if totals[name]:
            console.print(f"{count(totals[name])} declared as {name}")
    for each in [each for each in accounts if each["conflicts"]][:CONFLICTS_SHOWN]:
        told = f"{each['device']}: {count(each['conflicts'])} came under numbers that other readings have"
        console.print(f"{escape(told)}; they are on the hub's log and not stored", soft_wrap=True)
    if answer["undecodable"]:
        console.print(f"{_messages(answer)} cannot be read (see `penstock quarantine list`)")
    if answer["processors_away"] is not None:
        console.print(f"what is stored is not known: {escape(answer['processors_away'])}", soft_wrap=True)
    console.print(_verdict(answer))


def _verdict(answer: dict[str, Any]) -> str:
    match answer["verdict"]:
        case "balanced" if answer["undecodable"]:
            return f"[green]every reading is accounted for[/green], but for what {_messages(answer)} may hold"
        case "balanced":
            return "[green]every reading is accounted for[/green]"
        case "unknown":
            return "[yellow]NOT known whether every reading is accounted for[/yellow]"
        case _:
            return "[red]NOT balanced[/red]"


def _messages(answer: dict[str, Any]) -> str:
    return f"{count(answer['undecodable'])} message{'s' if answer['undecodable'] > 1 else ''}"


def _figures(row: dict[str, Any]) -> list[str]:
    declared, in_flight = sum(row[name] for name in DECLARED), sum(row["in_flight"].values())
    figures = (row["produced"], row["stored"], declared, in_flight, row["lost"], row["duplicate_rows"])
    return [count(each) for each in figures]
