"""kill -9 while it appends: whatever was acknowledged is there, once, at its offset."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from streams.clock import SystemClock
from streams.files import DiskFiles
from streams.log import EventLog
from tests.streams.log_kill_target import SETTINGS
from tests.streams.log_parts import STREAM, number_of, read_all

ROOT = Path(__file__).parents[2]
ROUNDS = 5


def killed(directory: Path, first: int, lines_min: int) -> list[tuple[int, int, int]]:
    """What was acknowledged (number, partition, offset) until it was killed, some time after so many."""
    arguments = [sys.executable, "-m", "tests.streams.log_kill_target", str(directory), str(first)]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(lines_min)]
    process.kill()
    lines += process.stdout.read().splitlines(keepends=True)
    assert process.wait(30) == -9
    return [
        (int(number), int(partition), int(offset))
        for number, partition, offset in (line.split() for line in lines if line.endswith(b"\n"))
    ]


def test_killed_again_and_again_all_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    dice = random.Random(11)
    acknowledged: dict[int, tuple[int, int]] = {}
    for attempt in range(ROUNDS):
        first = attempt * 10_000_000
        for number, partition, offset in killed(tmp_path, first, dice.randrange(1, 1500)):
            acknowledged[number] = partition, offset
        log = EventLog.open(tmp_path, {STREAM: SETTINGS}, files=DiskFiles(), clock=SystemClock())
        there: dict[int, tuple[int, int]] = {}
        for partition in range(SETTINGS.partitions):
            records, damaged = read_all(log.reader(STREAM, partition), bytes_max=1 << 20)
            assert damaged == []
            assert [each.offset for each in records] == list(range(len(records)))
            for each in records:
                assert number_of(each) not in there, "once"
                there[number_of(each)] = partition, each.offset
        assert acknowledged.items() <= there.items()
        extra = [number for number in there if number >= first and number not in acknowledged]
        last = max((number for number in acknowledged if number >= first), default=first - 1)
        assert all(number > last - 20_000 for number in extra), "and but for the last rounds nothing else"
        log.close()
    assert len(acknowledged) > ROUNDS * 100
