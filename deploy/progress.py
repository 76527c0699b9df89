"""python deploy/progress.py COMMAND ...: run a command behind one line that moves; show all it said only if it fails.

Needs nothing but Python: `make` calls it before anything is installed.
"""

from __future__ import annotations

import collections
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

LINES_KEPT = 400


def run(command: Sequence[str]) -> int:
    """The command's exit status."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    said: collections.deque[str] = collections.deque(maxlen=LINES_KEPT)
    started, live = time.monotonic(), sys.stdout.isatty()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    ) as process:
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), name="output")
        reader.start()
        while reader.is_alive():
            if live:
                _show(f"  {time.monotonic() - started:3.0f} s  {said[-1].strip() if said else ''}")
            reader.join(0.25)
    if live:
        _show("")
    if process.returncode:
        sys.stdout.writelines(said)
    return process.returncode


def _show(text: str) -> None:
    sys.stdout.write("\r\033[K" + text[: shutil.get_terminal_size().columns - 1])
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
