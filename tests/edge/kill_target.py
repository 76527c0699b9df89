"""An agent as a process of its own, to be killed: `python -m tests.edge.kill_target STATE PORT FIRST TRUTH`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from edge.agent import Agent
from edge.settings import EdgeSettings, LinkSettings
from tests.edge.sensors_for_tests import CountingSensor


async def main(state: Path, port: int, first: int, truth: Path) -> None:
    written = os.open(truth, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(value: int) -> None:
        os.write(written, b"%d\n" % value)

    sensor = CountingSensor(interval_s=0.002, on_read=write)
    sensor.count = first
    settings = EdgeSettings(
        device="press-7",
        hub_port=port,
        link=LinkSettings(retry_s_min=0.01, retry_s_max=0.05),
        frame_age_s=0.03,
        account_interval_s=0.05,
        health_interval_s=0,
    )
    await Agent(settings, state, sensors=[sensor]).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
