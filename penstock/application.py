"""All subcommands, put together."""

from __future__ import annotations

from typing import Any

import typer

from penstock import __version__
from penstock.commands import (
    command,
    dashboards,
    device,
    doctor,
    edge,
    hub,
    ledger,
    log,
    process,
    quarantine,
    settings,
    simulate,
    up,
    web,
)


def application() -> Any:
    """The command tree, ready to be called with a list of arguments."""
    app = typer.Typer(
        name="penstock",
        help="Device telemetry with every reading accounted for.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback(invoke_without_command=True)
    def root(
        version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
    ) -> None:
        if version:
            print(f"penstock {__version__}")
            raise typer.Exit()

    for each in (up, doctor, device, command, ledger, log, quarantine, dashboards, settings, hub, process, web, edge):
        each.register(app)
    simulate.register(app)
    return typer.main.get_command(app)
