"""What several subcommands share: options, flags made from settings, the two control APIs, printing."""

from __future__ import annotations

import inspect
import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streams.control import ControlClient
from streams.errors import MisuseError
from streams.settings import Leaf, leaves

DATA_DEFAULT = Path("penstock-data")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data directory (PENSTOCK_DATA; default ./penstock-data)."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The settings file (PENSTOCK_CONFIG; default: none)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

console = Console(highlight=False)


def data_directory(chosen: Path | None) -> Path:
    """The data directory of this call, absolute. MisuseError: it is named by an empty text."""
    if chosen is not None and str(chosen) in ("", "."):
        raise MisuseError("--data names no directory of its own; name one, for example --data penstock-data")
    return (chosen or Path(os.environ.get("PENSTOCK_DATA") or DATA_DEFAULT)).expanduser().resolve()


def hub_client(data: Path | None) -> ControlClient:
    return ControlClient(data_directory(data) / "run" / "hub.sock", what="the hub")


def processors_client(data: Path | None) -> ControlClient:
    return ControlClient(data_directory(data) / "run" / "processors.sock", what="the processors")


def run_logging(name: str) -> None:
    """Log lines of a long-running process: time, level, where, what; to standard error."""
    level = os.environ.get("PENSTOCK_LOG_LEVEL", "INFO").upper()
    if level not in LOG_LEVELS:
        raise MisuseError(f"PENSTOCK_LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}, not {level!r}")
    logging.basicConfig(
        level=level,
        format=f"%(asctime)s.%(msecs)03d %(levelname)-7s {name} %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        stream=sys.stderr,
    )
    logging.captureWarnings(True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def with_setting_flags(room: str, kind: type[Any], run: Callable[..., int], doc: str) -> Callable[..., int]:
    """A command function with --config, --data and one flag for each setting of a room.

    `run(config, data, flags)` is called with flags as {"hub.mqtt.port": "1884"}.
    """
    chosen = [leaf for leaf in leaves(kind, (room,)) if _has_flag(leaf)]

    def command(**values: Any) -> int:
        data, config = values.pop("data"), values.pop("config")
        flags = {leaf.name: values[_argument(leaf)] for leaf in chosen if values[_argument(leaf)] is not None}
        status = run(config, data_directory(data), flags)
        if status:
            raise typer.Exit(status)
        return status

    annotations: dict[str, Any] = {"config": ConfigOption, "data": DataOption}
    for leaf in chosen:
        annotations[_argument(leaf)] = Annotated[
            str | None,
            typer.Option(
                flag(leaf),
                metavar=_metavar(leaf),
                help=f"{leaf.doc}{_default_note(leaf)}",
                rich_help_panel=f"Settings of {'.'.join(leaf.path[:-1])}",
            ),
        ]
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in annotations.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = annotations
    command.__doc__ = doc
    return command


def flag(leaf: Leaf) -> str:
    """--mqtt-port for hub.mqtt.port."""
    return "--" + "-".join(leaf.path[1:]).replace("_", "-")


def assignments(pairs: Sequence[str]) -> dict[str, str]:
    """The flags of `--set NAME=VALUE`."""
    flags: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise MisuseError(f"--set {pair}: write it as NAME=VALUE, for example --set hub.mqtt.port=1884")
        flags[name.strip()] = value.strip()
    return flags


def emit(value: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print an answer for a program or for a person."""
    if as_json:
        print(json.dumps(value, indent=1))
    else:
        show(value)


def table(title: str, columns: Iterable[tuple[str, str]], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under headings; a column is (heading, "left" | "right")."""
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, title_style="bold", header_style="dim")
    for heading, justify in columns:
        grid.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    for row in rows:
        grid.add_row(*("" if cell is None else escape(str(cell)) for cell in row))  # a device's unit is not our markup
    console.print(grid)


def when(milliseconds: int | None) -> str:
    """A time as people write it, local; a dash when there is none."""
    if not milliseconds:
        return "-"
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def count(number: int) -> str:
    return f"{number:,}"


def called(*words: str, data: Path | None = None) -> str:
    """A call of ours as the person at the keyboard can copy it."""
    where = data_directory(data)
    shown = os.path.relpath(where) if where.is_relative_to(Path.cwd()) else str(where)
    option = [] if where == data_directory(None) else ["--data", shown]
    return shlex.join([program(), *words, *option])


def program() -> str:
    """How the person at the keyboard calls us: `penstock`, or the path to it when it is not on the search path."""
    ours = Path(sys.argv[0]).absolute()
    found = shutil.which("penstock")
    if ours.name != "penstock" or (found and Path(found).samefile(ours)):
        return "penstock"
    return os.path.relpath(ours) if ours.is_relative_to(Path.cwd()) else str(ours)


def _has_flag(leaf: Leaf) -> bool:
    return "tuple[" not in str(leaf.kind) or "str" in str(leaf.kind)


def _argument(leaf: Leaf) -> str:
    return "_".join(leaf.path[1:])


def _metavar(leaf: Leaf) -> str:
    if leaf.choices:
        return "|".join(leaf.choices)
    return {"int": "N", "float": "X", "bool": "true|false"}.get(getattr(leaf.kind, "__name__", ""), "TEXT")


def _default_note(leaf: Leaf) -> str:
    if leaf.secret or leaf.default in (None, "", ()):
        return ""
    return f" (default {str(leaf.default).lower() if isinstance(leaf.default, bool) else leaf.default})"
