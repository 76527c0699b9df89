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


def _show(answer: dict[str, Any], without_store: bool) -> None:
    names = ("produced", "stored", "thinned", "dropped", "quarantined", "held", "logged", "lost", "duplicate_rows")
    columns = [("device", "left"), ("epoch", "right"), *((name.replace("_", " "), "right") for name in names)]

    def figures(row: dict[str, Any]) -> list[str]:
        flat = {**row, **row.get("in_flight", {})}
        return [count(flat[name]) for name in names]

    rows = [(each["device"], each["epoch"], *figures(each)) for each in answer["accounts"]]
    table("", columns, [*rows, ("all", "", *figures(answer["totals"]))])
    if without_store:
        console.print("the processors are not running: what they have stored counts as in flight (logged)")
    console.print("[green]every reading is accounted for[/green]" if answer["balanced"] else "[red]NOT balanced[/red]")
