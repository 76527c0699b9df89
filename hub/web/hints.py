"""Commands that the page suggests, as the person before it can copy them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def called(*words: str, data: Path) -> str:
    """A call of ours that works on `data`, from the directory in which this was started."""
    return shlex.join([program(), *words, "--data", _shown(data.absolute())])


def program() -> str:
    """`penstock`, or the path to the one beside this Python when it is not on the search path."""
    ours = Path(sys.executable).with_name("penstock")
    found = shutil.which("penstock")
    if not ours.exists() or (found and Path(found).samefile(ours)):
        return "penstock"
    return _shown(ours)


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
