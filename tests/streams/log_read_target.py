"""A reader as a process of its own: `python -m tests.streams.log_read_target DIRECTORY STREAM`.

Each line on its standard input is an offset; it prints the numbers of all records from there on, on one line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from streams.files import DiskFiles
from streams.log import StreamReader
from tests.streams.log_parts import number_of


def main(directory: Path, stream: str) -> None:
    reader = StreamReader(directory, stream, files=DiskFiles())
    for line in sys.stdin:
        offset, found = int(line), []
        while records := reader.read(offset):
            found += [number_of(each) for each in records]
            offset = records[-1].offset + 1
        print(*found, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
