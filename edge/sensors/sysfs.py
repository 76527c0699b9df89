"""Reading the small files of /sys, which may vanish or refuse at any moment."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str | None:
    """What `path` holds, without the end of line; None when it cannot be read."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return None


def number(path: Path) -> int | None:
    """The whole number that `path` holds; None when it cannot be read or is none."""
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None
