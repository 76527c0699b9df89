"""penstock simulate"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from penstock.commands.common import run_logging, with_setting_flags
from penstock.configuration import configure
from penstock.parent import stop_with_parent
from simulators.settings import FleetSettings


def register(app: typer.Typer) -> None:
    app.command("simulate")(
        with_setting_flags("fleet", FleetSettings, run, "Run a simulated fleet against a hub until a signal stops it.")
    )


def run(config: Path | None, data: Path, flags: Mapping[str, str]) -> int:
    settings = configure(config, flags).fleet
    from simulators.fleet import run as run_fleet

    stop_with_parent()
    run_logging("fleet")
    return run_fleet(settings, data)
