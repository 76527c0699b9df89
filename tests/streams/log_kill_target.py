"""A log as a process of its own, to be killed: `python -m tests.streams.log_kill_target DIRECTORY FIRST`.

It appends numbered records from FIRST on, as fast as it can, and writes the number of each that is acknowledged to its
standard output, from the committer's thread. Some rounds are large, segments are small, old ones are removed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from streams.clock import SystemClock
from streams.errors import TryLaterError
from streams.files import DiskFiles
from streams.log import Appended, EventLog, LogSettings
from tests.streams.log_parts import STREAM, record

SETTINGS = LogSettings(partitions=2, segment_bytes=50_000, index_interval_bytes=512, pending_bytes_max=1 << 20)


def main(directory: Path, first: int) -> None:
    def tell(fates: Sequence[Appended]) -> None:
        lines = [b"%d %d %d\n" % (fate.token, fate.partition, fate.offset) for fate in fates if fate.error is None]
        os.write(1, b"".join(lines))

    log = EventLog.open(directory, {STREAM: SETTINGS}, files=DiskFiles(), clock=SystemClock(), on_commit=tell)
    number = first
    while True:
        try:
            log.append(STREAM, [record(number, size=number % 1000)], number)
            number += 1
        except TryLaterError:
            log.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
