"""kill -9 at any moment: nothing that was numbered is lost, and nothing is doubled."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from tests.edge.broker import Published, broker
from tests.edge.hub import HubView

ROOT = Path(__file__).resolve().parents[2]
ROUND = 1_000_000


async def start(state: Path, port: int, number: int, truth: Path) -> asyncio.subprocess.Process:
    arguments = [str(state), str(port), str(number * ROUND), str(truth)]
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.edge.kill_target", *arguments, cwd=ROOT)


def answered(message: Published) -> int | None:
    return 0


def unanswered(message: Published) -> int | None:
    return None if message.channel == "frames" else 0


def lines(truth: Path) -> list[int]:
    return [int(line) for line in truth.read_text().splitlines()] if truth.exists() else []


async def test_killed_again_and_again_everything_that_was_numbered_arrives_once(tmp_path: Path) -> None:
    dice, rounds = random.Random(7), 4
    truths = [tmp_path / f"truth.{number}" for number in range(rounds)]
    async with broker() as peer:
        for number, truth in enumerate(truths):
            # sometimes the hub takes frames and does not answer, so that the spool is not empty when the agent dies
            peer.puback = unanswered if number % 2 else answered
            process = await start(tmp_path / "state", peer.port, number, truth)
            wanted = dice.randrange(20, 120)
            await peer.until(lambda truth=truth, wanted=wanted: len(lines(truth)) >= wanted)  # type: ignore[misc]
            process.kill()
            await process.wait()
        peer.puback = answered
        process = await start(tmp_path / "state", peer.port, rounds, tmp_path / "last")
        last = rounds * ROUND
        await peer.until(lambda: max(HubView(peer.published).values("count.value"), default=0) >= last)
        process.terminate()
        await process.wait()
        seen = HubView(peer.published)
    assert len(seen.readings) == 1, "one epoch: no state was lost"
    assert seen.missing() == []
    values = seen.values("count.value")
    for number, truth in enumerate(truths):
        arrived = [value for value in values if number * ROUND <= value < (number + 1) * ROUND]
        read = lines(truth)
        assert arrived == read[: len(arrived)]
        assert len(arrived) >= len(read) - 1, "but for the one that was being handed over"
