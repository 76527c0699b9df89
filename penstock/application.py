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
    twin,
    up,
    web,
)

_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""For a command that reads its own arguments."""


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

    for each in (up, doctor, device, command, twin, ledger, log, quarantine, dashboards, settings, hub, process, web):
        each.register(app)

    @app.command("edge", help=edge.HELP, context_settings=_PASSED_ON)
    def run_edge(context: typer.Context) -> int:
        return edge.main(context.args)

    simulate.register(app)
    return typer.main.get_command(app)
