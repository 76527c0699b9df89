"""penstock web run"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from hub.web.settings import WebSettings
from penstock.commands.common import run_logging, with_setting_flags
from penstock.configuration import configure
from penstock.parent import stop_with_parent


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Run the web page and the public HTTP API.", no_args_is_help=True)
    group.command("run")(with_setting_flags("web", WebSettings, run, "Run until a signal stops it."))
    group.callback()(lambda: None)
    app.add_typer(group, name="web")


def run(config: Path | None, data: Path, flags: Mapping[str, str]) -> int:
    settings = configure(config, flags).web
    from hub.web.server import run as run_process

    stop_with_parent()
    run_logging("web")
    return run_process(settings, data)
