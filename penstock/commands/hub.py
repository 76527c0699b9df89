"""penstock hub run"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from hub.settings import HubSettings
from penstock.commands.common import run_logging, with_setting_flags
from penstock.configuration import configure
from penstock.parent import stop_with_parent


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Run the hub: MQTT gateway, event log, devices, commands.", no_args_is_help=True)
    group.command("run")(with_setting_flags("hub", HubSettings, run, "Run until a signal stops it."))
    group.callback()(lambda: None)
    app.add_typer(group, name="hub")


def run(config: Path | None, data: Path, flags: Mapping[str, str]) -> int:
    settings = configure(config, flags).hub
    from hub.hub import run as run_process

    stop_with_parent()
    run_logging("hub")
    return run_process(settings, data)
