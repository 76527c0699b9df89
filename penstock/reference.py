"""The pages that are made from the code: python -m penstock.reference writes them, a test holds them against it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.application import application
from penstock.commands.settings import markdown_page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
ROOMS = ("streams", "edge", "hub", "processors", "simulators", "penstock", "deploy", "benchmarks")


def pages() -> dict[str, str]:
    """Each generated page: file name below docs/ to its text."""
    made = {"commands.md": commands_page(), "settings.md": markdown_page(), "files.md": files_page()}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def commands() -> Iterator[tuple[str, Any]]:
    """Every subcommand: its words, and the command."""
    yield from _walk("penstock", application())


def commands_page() -> Iterator[str]:
    """docs/commands.md."""
    yield "# Commands"
    yield ""
    yield "Made by `make reference`. Exit status: 0 done, 1 failed, 2 misuse. `--json` prints JSON for programs."
    yield "The long-running ones (`hub run`, `process run`, `web run`, `edge run`, `simulate`) also take one flag for"
    yield "each of their settings: see [settings.md](settings.md)."
    for words, command in commands():
        yield f"\n## {words}\n"
        yield " ".join((command.help or "").split())
        options = [each for each in command.params if not _is_setting(each) and each.name != "help"]
        if options:
            yield "\n| option | meaning |\n|---|---|"
            for each in options:
                yield f"| `{_spelling(each)}` | {(getattr(each, 'help', '') or '').replace('|', chr(92) + '|')} |"


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


def _walk(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield words, command
        return
    for name, child in children.items():
        yield from _walk(f"{words} {name}", child)


def _is_setting(parameter: Any) -> bool:
    return bool(getattr(parameter, "rich_help_panel", None))


def _spelling(parameter: Any) -> str:
    opts = ", ".join(each for each in (*parameter.opts, *parameter.secondary_opts))
    if not parameter.opts[0].startswith("-"):
        return str(parameter.metavar or parameter.name.upper()).replace("|", "\\|")
    value = "" if getattr(parameter, "is_flag", False) else f" {parameter.metavar or 'VALUE'}"
    return f"{opts}{value}".replace("|", "\\|")


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, "utf-8")
        print(DOCS / name)
