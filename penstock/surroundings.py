"""What every subcommand takes from its surroundings: the data directory, and how its log lines look."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from streams.errors import MisuseError

DATA_DEFAULT = Path("penstock-data")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def data_directory(chosen: Path | None) -> Path:
    """The data directory of this call, absolute. MisuseError: it is named by an empty text."""
    if chosen is not None and str(chosen) in ("", "."):
        raise MisuseError("--data names no directory of its own; name one, for example --data penstock-data")
    return (chosen or Path(os.environ.get("PENSTOCK_DATA") or DATA_DEFAULT)).expanduser().resolve()


def run_logging(name: str) -> None:
    """Log lines of a long-running process, to standard error: time, level, where, what.

    systemd's journal knows the time and who speaks, and takes the level as a number in front of the line.
    """
    level = os.environ.get("PENSTOCK_LOG_LEVEL", "INFO").upper()
    if level not in LOG_LEVELS:
        raise MisuseError(f"PENSTOCK_LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}, not {level!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter() if _is_journal() else _plain(name))
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _plain(name: str) -> logging.Formatter:
    pattern = f"%(asctime)s.%(msecs)03d %(levelname)-7s {name} %(name)s: %(message)s"
    return logging.Formatter(pattern, "%Y-%m-%dT%H:%M:%S")


def _is_journal() -> bool:
    """Whether standard error leads into the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        there = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"


class _JournalFormatter(logging.Formatter):
    """`<3>edge.uplink: text`, every line of it: the number is syslog's priority (sd-daemon(3))."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = 3 if record.levelno >= logging.ERROR else 4 if record.levelno >= logging.WARNING else 6
        if record.levelno < logging.INFO:
            priority = 7
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
