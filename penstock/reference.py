"""The pages that are made from the code: python -m penstock.reference writes them, a test holds them against it."""

from __future__ import annotations

import argparse
import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.application import application
from penstock.commands import edge
from penstock.commands.settings import markdown_page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
ROOMS = ("streams", "edge", "hub", "processors", "simulators", "penstock", "deploy", "benchmarks")


def pages() -> dict[str, str]:
    """Each generated page: file name below docs/ to its text."""
    made = {"commands.md": commands_page(), "settings.md": markdown_page(), "files.md": files_page()}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A subcommand as its page shows it; `options` are pairs of spelling and meaning, without flags of settings."""

    words: str
    help: str
    options: tuple[tuple[str, str], ...]


def commands() -> Iterator[Described]:
    """Every subcommand."""
    for each in _walk("penstock", application()):
        yield from _agent_commands() if each.words == "penstock edge" else [each]


def commands_page() -> Iterator[str]:
    """docs/commands.md."""
    yield "# Commands"
    yield ""
    yield "Made by `make reference`. Exit status: 0 done, 1 failed, 2 misuse. `--json` prints JSON for programs."
    yield "The long-running ones (`hub run`, `process run`, `web run`, `edge run`, `simulate`) also take one flag for"
    yield "each of their settings: see [settings.md](settings.md)."
    for command in commands():
        yield f"\n## {command.words}\n"
        yield " ".join(command.help.split())
        if command.options:
            yield "\n| option | meaning |\n|---|---|"
            for spelling, meaning in command.options:
                yield f"| `{spelling.replace('|', chr(92) + '|')}` | {meaning.replace('|', chr(92) + '|')} |"


def files_page() -> Iterator[str]:
    """docs/files.md: what every file is, in its own first sentence."""
    yield "# Every file in a sentence"
    yield ""
    yield "Made by `make reference` from the head of each file."
    yield "How they work together: [architecture.md](architecture.md)."
    for room in ROOMS:
        for folder in sorted({path.parent for path in (ROOT / room).rglob("*.py")}):
            yield f"\n## {folder.relative_to(ROOT)}/\n"
            yield "| file | is |\n|---|---|"
            for path in sorted(folder.glob("*.py")):
                head = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
                said = " ".join(head.split("\n\n")[0].split()).replace("|", "\\|")
                if said and path.name != "__init__.py":
                    yield f"| [{path.name}](../{path.relative_to(ROOT)}) | {said} |"


def _walk(words: str, command: Any) -> Iterator[Described]:
    children = getattr(command, "commands", None)
    if children is None:
        options = [each for each in command.params if not _is_setting(each) and each.name != "help"]
        shown = tuple((_spelling(each), getattr(each, "help", "") or "") for each in options)
        yield Described(words=words, help=command.help or "", options=shown)
        return
    for name, child in children.items():
        yield from _walk(f"{words} {name}", child)


def _agent_commands() -> Iterator[Described]:
    """Those of `penstock edge`, which are read by argparse."""
    made = edge.parser()
    (group,) = [each for each in made._actions if isinstance(each, argparse._SubParsersAction)]
    for name, child in group.choices.items():
        options = [each for each in child._actions if each.dest != "help" and not each.dest.startswith("edge.")]
        shown = tuple((_argument_spelling(each), each.help or "") for each in options)
        yield Described(words=f"penstock edge {name}", help=child.description or "", options=shown)


def _argument_spelling(action: argparse.Action) -> str:
    words = ", ".join(action.option_strings) or str(action.metavar or action.dest.upper())
    return f"{words} {action.metavar}" if action.option_strings and action.metavar else words


def _is_setting(parameter: Any) -> bool:
    return bool(getattr(parameter, "rich_help_panel", None))


def _spelling(parameter: Any) -> str:
    opts = ", ".join(each for each in (*parameter.opts, *parameter.secondary_opts))
    if not parameter.opts[0].startswith("-"):
        return str(parameter.metavar or parameter.name.upper())
    value = "" if getattr(parameter, "is_flag", False) else f" {parameter.metavar or 'VALUE'}"
    return f"{opts}{value}"


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, "utf-8")
        print(DOCS / name)
