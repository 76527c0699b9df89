"""docs/benchmarks.md, made of the committed figures: what was measured, when, by which command, beside what."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIGURES = Path(__file__).with_name("figures.json")
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """\
# Benchmarks

What Penstock does, beside a peer or a physical limit measured in the same run: the ratio is what to look at, these
machines are small (2 cores) and noisy. Made by `python -m benchmarks --report` from `benchmarks/figures.json`, which
holds what was seen when somebody last ran `python -m benchmarks --save benchmarks/figures.json`.

    make bench                          # measure everything (installs the peers first)
    make bench-compare                  # and exit 1 if a figure has become worse than the committed one
    python -m benchmarks frames --json  # one of them, a JSON object a line

Rates (a unit that ends in /s) are better the higher they are; bytes, times and CPU the lower.
"""


def page(figures: dict[str, dict[str, Any]], names: tuple[str, ...]) -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for name in names for line in _section(name, figures))])


def _section(name: str, figures: dict[str, dict[str, Any]]) -> Iterator[str]:
    chosen = [figure for figure in figures.values() if str(figure["name"]).split("/")[0] == name]
    yield f"## {name}"
    source = Path(__file__).with_name(f"{name}.py").read_text("utf-8")  # read, not imported: peers need packages
    yield ast.get_docstring(ast.parse(source)) or ""
    yield ""
    if not chosen:
        yield "Not measured yet."
        yield ""
        return
    yield "| figure | Penstock | beside | ratio | seen | note |"
    yield "|---|---|---|---|---|---|"
    for each in chosen:
        peer = f"{each['peer']}: {_amount(each['peer_value'])}" if each["peer"] else ""
        ratio = f"{each['ratio']:.2f}x" if each["ratio"] is not None else ""
        value = f"{_amount(each['value'])} {each['unit']}"
        yield f"| `{each['name']}` | {value} | {peer} | {ratio} | {each['date']} | {each['note']} |"
    yield ""


def _amount(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def read(path: Path = FIGURES) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return found
