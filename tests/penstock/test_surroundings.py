"""How log lines look: for people, and for systemd's journal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging
from penstock.surroundings import run_logging
run_logging("edge")
logging.getLogger("a.b").error("one\\ntwo")
logging.getLogger("a.b").warning("three")
logging.getLogger("a.b").info("four")
"""


def lines(path: Path, *, journal: bool) -> list[str]:
    with path.open("wb") as out:
        there = os.fstat(out.fileno())
        stream = f"{there.st_dev}:{there.st_ino}" if journal else "1:2"
        environment = {**os.environ, "JOURNAL_STREAM": stream, "PENSTOCK_LOG_LEVEL": "INFO"}
        subprocess.run([sys.executable, "-c", PROGRAM], stderr=out, env=environment, check=True, timeout=60)
    return path.read_text().splitlines()


def test_the_journal_gets_priorities_and_no_times(tmp_path: Path) -> None:
    assert lines(tmp_path / "log", journal=True) == ["<3>a.b: one", "<3>two", "<4>a.b: three", "<6>a.b: four"]


def test_everybody_else_gets_times(tmp_path: Path) -> None:
    first, second, *_ = lines(tmp_path / "log", journal=False)
    assert first.endswith(" ERROR   edge a.b: one")
    assert first[:2] == "20"
    assert second == "two"
