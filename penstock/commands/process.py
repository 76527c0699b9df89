"""penstock process run"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from penstock.commands.common import run_logging, with_setting_flags
from penstock.configuration import configure
from penstock.parent import stop_with_parent
from processors.settings import ProcessorsSettings


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Run the processors: detection, alarms, time-series store.", no_args_is_help=True)
    group.command("run")(with_setting_flags("processors", ProcessorsSettings, run, "Run until a signal stops it."))
    group.callback()(lambda: None)
    app.add_typer(group, name="process")


def run(config: Path | None, data: Path, flags: Mapping[str, str]) -> int:
    settings = configure(config, flags).processors
    from processors.pipeline import run as run_process

    stop_with_parent()
    run_logging("process")
    return run_process(settings, data)
