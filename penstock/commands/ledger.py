"""penstock ledger"""

from __future__ import annotations

from typing import Any

import typer

from penstock.commands.common import DataOption, JsonOption, console, count, emit, hub_client, processors_client, table
from streams.errors import TryLaterError


def register(app: typer.Typer) -> None:
    app.command("ledger")(ledger)


def ledger(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Account for every reading: produced = stored + declared + in flight; exit 1 if one is lost or stored twice."""
    from hub.ledger import reconcile

    # the store is asked first: what the hub has received can then only be more than what is stored
    try:
        stored = processors_client(data).get("/ledger")
    except TryLaterError:
        stored = None
    answer = reconcile(hub_client(data).get("/ledger"), stored).to_json()
    emit(answer, as_json, lambda _: _show(answer, stored is None))
    if not answer["balanced"]:
        raise typer.Exit(1)


COLUMNS = ("produced", "stored", "declared", "in flight", "lost", "stored twice")
DECLARED = ("thinned", "dropped", "quarantined")


def _show(answer: dict[str, Any], without_store: bool) -> None:
    accounts = answer["accounts"]
    several_epochs = len({each["device"] for each in accounts}) < len(accounts)
    columns = [("device", "left"), *[("epoch", "right")] * several_epochs, *((name, "right") for name in COLUMNS)]
    rows = [(each["device"], *[each["epoch"]] * several_epochs, *_figures(each)) for each in accounts]
    totals = answer["totals"]
    table("", columns, [*rows, ("all", *[""] * several_epochs, *_figures(totals))])
    for name in DECLARED:
        if totals[name]:
            console.print(f"{count(totals[name])} declared as {name}")
    if without_store:
        console.print("the processors are not running: what they have stored counts as in flight")
    console.print("[green]every reading is accounted for[/green]" if answer["balanced"] else "[red]NOT balanced[/red]")


def _figures(row: dict[str, Any]) -> list[str]:
    declared, in_flight = sum(row[name] for name in DECLARED), sum(row["in_flight"].values())
    figures = (row["produced"], row["stored"], declared, in_flight, row["lost"], row["duplicate_rows"])
    return [count(each) for each in figures]
