"""penstock log verify | dump | repair: offline work on an event log, its own or a spool's"""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Check, read and mend an event log on disk.", no_args_is_help=True)
    group.command("verify")(verify)
    group.command("dump")(dump)
    group.command("repair")(repair)
    app.add_typer(group, name="log")
