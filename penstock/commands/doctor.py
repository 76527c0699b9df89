"""penstock doctor"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from penstock.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    console,
    data_directory,
    emit,
    hub_client,
    processors_client,
)
from penstock.configuration import configure
from streams.errors import PenstockError

FREE_BYTES_MIN = 1 << 30


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check this installation and what runs in its data directory; exit 1 if something is wrong."""
    findings = [{"check": check, "ok": ok, "detail": detail} for check, ok, detail in examine(config, data)]

    def show(_: Any) -> None:
        for each in findings:
            mark = "[green]✓[/green]" if each["ok"] else "[red]✗[/red]"
            console.print(f"{mark} {each['check']}: {escape(str(each['detail']))}", soft_wrap=True)

    emit({"findings": findings}, as_json, show)
    if not all(each["ok"] for each in findings):
        raise typer.Exit(1)


def examine(config: Path | None, data: Path | None) -> Iterator[tuple[str, bool, str]]:
    """Each check with its outcome and a sentence."""
    yield "python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.machine()}"
    try:
        configure(config)
        yield "settings", True, str(config) if config else "defaults and environment"
    except PenstockError as error:
        yield "settings", False, str(error)
    directory = data_directory(data)
    near = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(near).free
    usable = near.is_dir() and os.access(near, os.W_OK)
    said = f"{free / 1e9:.1f} GB free at {near}" if usable else f"{near} is no directory that we may write to"
    yield "disk", usable and free >= FREE_BYTES_MIN, said
    for name, client in (("hub", hub_client(data)), ("processors", processors_client(data))):
        try:
            health = client.get("/health")
        except PenstockError as error:
            yield name, False, str(error)
            continue
        yield name, not health["problems"], "; ".join(health["problems"]) or "ok"
    yield from _processes(directory)


def _processes(directory: Path) -> Iterator[tuple[str, bool, str]]:
    """The processes without a control API, as `penstock up` started them."""
    try:
        pids: dict[str, int] = json.loads((directory / "run" / "processes.json").read_text())
    except (OSError, ValueError):
        return
    for name in ("web", "edge", "fleet"):
        if name in pids:
            alive = Path(f"/proc/{pids[name]}").exists()
            yield name, alive, f"process {pids[name]}" if alive else f"process {pids[name]} is gone"
