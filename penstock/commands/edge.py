"""penstock edge run | check | read | spool"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.settings import EdgeSettings
from penstock.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    count,
    data_directory,
    emit,
    run_logging,
    table,
    with_setting_flags,
)
from penstock.configuration import configure
from penstock.parent import stop_with_parent


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The edge agent: reads sensors, stores and forwards.", no_args_is_help=True)
    group.command("run")(with_setting_flags("edge", EdgeSettings, run, "Run the agent until a signal stops it."))
    group.command("check")(check)
    group.command("read")(read)
    group.command("spool")(spool)
    app.add_typer(group, name="edge")


def state_directory(data: Path) -> Path:
    return data / "edge"


def run(config: Path | None, data: Path, flags: Mapping[str, str]) -> int:
    settings = configure(config, flags).edge
    from edge.agent import run as run_agent

    stop_with_parent()
    run_logging("edge")
    return run_agent(settings, state_directory(data))


def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the settings and every sensor, and say what is wrong; exit 1 if something is."""
    from edge.agent import check as check_agent

    problems = check_agent(configure(config).edge)
    emit({"problems": problems}, as_json, lambda _: print("\n".join(problems) or "settings and sensors are in order"))
    if problems:
        raise typer.Exit(1)


def read(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read every sensor once and print what it says."""
    from edge.agent import read_once

    readings = [_plain(each) for each in read_once(configure(config).edge)]

    def show(_: Any) -> None:
        columns = [("metric", "left"), ("value", "right"), ("unit", "left"), ("quality", "left")]
        table("", columns, [(r["metric"], _number(r["value"]), r.get("unit"), r.get("quality")) for r in readings])

    emit({"readings": readings}, as_json, show)


def spool(
    data: DataOption = None,
    as_json: JsonOption = False,
    state: Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The agent's state directory.")] = None,
) -> None:
    """Show what the agent still holds."""
    from edge.agent import spool_status

    status = spool_status(state or state_directory(data_directory(data)))
    emit(
        status,
        as_json,
        lambda _: table("", [("", "left"), ("", "right")], [(k, _number(v)) for k, v in status.items()]),
    )


def _plain(reading: Any) -> dict[str, Any]:
    return dict(reading) if isinstance(reading, Mapping) else dict(reading._asdict())


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return count(value) if isinstance(value, int) else f"{value:,.6g}"
