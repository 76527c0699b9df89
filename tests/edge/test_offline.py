"""Weeks without a hub, in virtual time: what they take of the disk, and that nothing is missing."""

from __future__ import annotations

import math
import random
from pathlib import Path

from edge.manifest import make_manifest
from edge.recorder import Recorder
from edge.sensors.sensor import Series
from edge.settings import EdgeSettings
from edge.storage import open_storage
from streams.clock import ManualClock
from streams.files import DiskFiles
from streams.frames import ClockQuality
from tests.edge.ticks import tick

SERIES = [(number, Series(name=f"s{number}", resolution=0.01)) for number in range(10)]
HOURS = 6
BYTES_A_READING_MAX = 1.5
"""docs/edge.md states it: thirty days of 10 readings a second fit in 40 MB."""


async def test_thirty_days_without_a_hub_fit_in_the_stated_size(tmp_path: Path) -> None:
    clock, dice = ManualClock(), random.Random(1)
    settings = EdgeSettings(device="d", commit_interval_s=60)
    quality = ClockQuality.SYNCHRONISED
    recorder = Recorder(settings, clock=clock, executor=None, clock_quality=lambda: quality)
    recorder.is_connected = lambda: False
    manifest = make_manifest(SERIES, model="m", agent="a", labels={})
    storage = open_storage(settings, tmp_path, manifest, files=DiskFiles(), clock=clock)
    recorder.start(storage)
    for second in range(HOURS * 3600):
        clock.advance(1)
        level = 50 + 10 * math.sin(second / 300)
        recorder.record(tick(clock.time_ns(), *(round(dice.gauss(level, 0.2), 2) for _ in SERIES)))
        await recorder.work()
    await recorder.seal_all()
    readings = HOURS * 3600 * len(SERIES)
    told = storage.spool.account(epoch=storage.identity.epoch, produced=recorder.produced, time_ms=0)
    assert (told["produced"], told["held"], told["dropped"]) == (readings, [[0, readings]], [])
    storage.close()
    used = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert used / readings <= BYTES_A_READING_MAX
    assert used / readings * 10 * 86_400 * 30 <= 40_000_000
