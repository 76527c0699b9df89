"""The sample settings of docs/sensors, as a test uses them."""

from __future__ import annotations

from pathlib import Path

from edge.settings import EdgeSettings
from penstock.configuration import Configuration
from streams.settings import load

PAGES = Path(__file__).resolve().parents[2] / "docs" / "sensors"


def sample(kind: str, directory: Path, *changes: tuple[str, str]) -> EdgeSettings:
    """The sample of a kind with some text replaced, written to `directory`. Each replacement must be there."""
    text = (PAGES / f"{kind}.toml").read_text("utf-8")
    for before, after in changes:
        assert before in text, f"{kind}.toml does not say {before!r}"
        text = text.replace(before, after)
    path = directory / f"{kind}.toml"
    path.write_text(text)
    return load(Configuration, file=path).edge
