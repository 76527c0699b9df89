"""penstock settings"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from penstock.configuration import Configuration
from streams.settings import Leaf, leaves


def register(app: typer.Typer) -> None:
    app.command("settings")(settings)


def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the page docs/settings.md.")] = False,
) -> None:
    """Print a settings file with every setting at its default, and what it means."""
    print("\n".join(markdown_page() if markdown else sample_file()))


def sample_file() -> Iterator[str]:
    """A settings file that changes nothing."""
    yield "# Penstock settings. Every line shows a default; take away its # to change it."
    yield "# Also as environment variables (PENSTOCK_HUB__MQTT__PORT=1884) and flags (penstock hub run --mqtt-port 1)."
    table: tuple[str, ...] = ()
    for leaf in leaves(Configuration):
        if leaf.path[:-1] != table:
            table = leaf.path[:-1]
            yield f"\n[{'.'.join(table)}]"
        yield f"# {leaf.doc}{_bounds(leaf)}"
        yield f"# {leaf.path[-1]} = {_toml(leaf.default)}"


def markdown_page() -> Iterator[str]:
    """docs/settings.md."""
    yield "# Settings"
    yield ""
    yield "Made by `penstock settings --markdown`; `penstock settings` prints the same as a sample file. A setting may"
    yield "stand in the file (`--config`), in the environment (`PENSTOCK_HUB__MQTT__PORT` for `hub.mqtt.port`), or be a"
    yield "flag of the process (`penstock hub run --mqtt-port`); `penstock up` takes `--set hub.mqtt.port=1884`."
    yield "The last one wins, in that order."
    table: tuple[str, ...] = ()
    for leaf in leaves(Configuration):
        if leaf.path[:-1] != table:
            table = leaf.path[:-1]
            yield f"\n## {'.'.join(table)}\n"
            yield "| setting | default | meaning |"
            yield "|---|---|---|"
        yield f"| `{leaf.path[-1]}` | `{_toml(leaf.default)}` | {leaf.doc}{_bounds(leaf)} |"


def _bounds(leaf: Leaf) -> str:
    if leaf.choices:
        return f" One of: {', '.join(leaf.choices)}."
    if leaf.minimum is not None and leaf.maximum is not None:
        return f" From {leaf.minimum} to {leaf.maximum}."
    if leaf.minimum is not None:
        return f" At least {leaf.minimum}."
    return f" At most {leaf.maximum}." if leaf.maximum is not None else ""


def _toml(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {_toml(each)}' for key, each in value.items())}}}"
    return str(value) if isinstance(value, (int, float)) else json.dumps(str(value))
