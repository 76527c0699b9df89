"""Imports go one way (docs/architecture.md): streams knows nobody, rooms know streams, the command wires them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.tidy

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {
    "streams": {"streams"},
    "edge": {"edge", "streams"},
    "hub": {"hub", "streams"},
    "processors": {"processors", "streams"},
    "simulators": {"simulators", "edge", "streams"},
    "deploy": {"deploy", "streams"},
    "penstock": {"penstock", "streams", "edge", "hub", "processors", "simulators", "deploy"},
}
HEAVY = {"numpy", "numba", "duckdb", "pyarrow", "pandas", "psutil", "typer", "rich", "httpx", "uvicorn", "starlette"}


def python_files() -> list[Path]:
    return sorted(path for room in ALLOWED for path in (ROOT / room).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def at_module_level(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from imported(ast.Module(body=[node], type_ignores=[]))


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for module in imported(ast.parse(path.read_text("utf-8"))):
        top = module.split(".")[0]
        assert top not in ALLOWED or top in ALLOWED[room], f"{path}: {room} must not import {module}"
        assert top not in ("tests", "benchmarks"), f"{path}: the product must not import {module}"


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_edge_and_the_ground_stay_light(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    if room not in ("edge", "streams", "simulators") or path.stem.endswith(("_numpy", "_compiled")):
        return
    for module in at_module_level(ast.parse(path.read_text("utf-8"))):
        assert module.split(".")[0] not in HEAVY, f"{path} is imported on a Pi Zero, where there is no {module}"


def test_no_file_is_dead() -> None:
    """Every module is imported by another one, or is an entry of its own."""
    files = python_files()
    wanted: set[str] = set()
    for path in [*files, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        tree = ast.parse(path.read_text("utf-8"))
        wanted.update(imported(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                wanted.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
                wanted.add(node.value.split(":")[0])
    for path in files:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.stem in ("__init__", "__main__") or name in ("penstock.warm", "penstock.reference", "deploy.progress"):
            continue
        assert name in wanted, f"{path} is imported by nobody"
