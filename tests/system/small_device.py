"""The environment of a small device: a wheel of this tree, where there is Python and paho-mqtt and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ("install", "--disable-pip-version-check", "--no-cache-dir", "--quiet")


def build_wheel(directory: Path) -> Path:
    """The wheel as it would be published. The tree is copied first, so that no build leaves anything in it."""
    source = directory / "source"
    names = [name for name in _tracked() if name.split("/")[0] not in ("tests", "docs", "benchmarks", "examples")]
    for name in names:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    wheel = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--quiet", "--no-deps"]
    subprocess.run([*wheel, "--wheel-dir", directory, source], check=True, timeout=300)
    (made,) = directory.glob("penstock-*.whl")
    return made


def make_environment(directory: Path, wheel: Path) -> Path:
    """A virtual environment with the wheel; returns its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True, timeout=120)
    subprocess.run([directory / "bin" / "pip", *INSTALL, wheel], check=True, timeout=300)
    return directory / "bin"


def surroundings(**more: str) -> dict[str, str]:
    """Environment variables without those that would lend the device our own packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PENSTOCK", "VIRTUAL"))}
    return {**kept, **more}


def _tracked() -> list[str]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]
