"""python -m benchmarks.gateway_server DIRECTORY [SYNC_S]: the gateway as in the hub, as a process of its own.

All of it is on: users' rules, sessions that survive a restart, limits, counters. Its intake makes a record of each
message on the event log, and the hub's journal tells when that is on disk; what the hub makes of frames is left out,
because the peer makes nothing of them either.

Prints its port. Then each line on its standard input is a job: `rounds DEVICE N` sends the device N commands, one after
the other, and prints the milliseconds from each to its result, as JSON; `cpu` prints the CPU seconds it has used, `rss`
its resident bytes, `counters` what the gateway counted. With SYNC_S each sync of the disk takes that long. It ends with
its input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hub.authority import DefaultAuthority
from hub.fast_loop import fast_loop, tune
from hub.gateway import Gateway
from hub.gateway_settings import GatewaySettings
from hub.intake import Client, Message, OnTaken
from hub.journal import Journal
from hub.projections import Projections
from hub.session_log import SessionLog
from streams.clock import SystemClock
from streams.files import DiskFile, DiskFiles
from streams.log import EventLog, LogSettings
from streams.names import COMMAND, FRAMES, RESULTS, SESSIONS, STATE, TELEMETRY, topic
from streams.record import NewRecord


class LogIntake:
    """Every message becomes a record of one stream; it is acknowledged when that is on disk."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.result: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._expects = False

    def expect(self) -> None:
        """The next result of a command is waited for."""
        self.result = asyncio.get_running_loop().create_future()
        self._expects = True

    def wants(self, topic: str) -> bool:
        return topic.endswith((f"/{FRAMES}", f"/{RESULTS}", f"/{STATE}"))

    def take(self, client: Client, messages: Sequence[Message], on_taken: OnTaken) -> None:
        if self._expects and messages[0].topic.endswith(RESULTS):
            self._expects = False
            self.result.set_result(time.perf_counter())
        key, time_ms = client.client_id.encode(), time.time_ns() // 1_000_000
        if len(messages) == 1:
            records = [NewRecord(key, messages[0].payload, time_ms)]
        else:
            records = [NewRecord(key, message.payload, time_ms) for message in messages]
        self._journal.append_unfolded(TELEMETRY, records, on_taken)

    def connected(self, client: Client) -> None: ...

    def disconnected(self, client: Client, reason: str) -> None: ...


async def rounds(gateway: Gateway, intake: LogIntake, device: str, count: int) -> list[float]:
    """Milliseconds from a command to the result that the device publishes."""
    latencies_ms = []
    for _ in range(count):
        intake.expect()
        started = time.perf_counter()
        assert gateway.publish_to(device, topic(device, COMMAND), bytes(64))
        latencies_ms.append((await intake.result - started) * 1000)
    return latencies_ms


def rss_bytes() -> int:
    """What this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class SlowFile(DiskFile):
    """A file whose syncs take their time."""

    sync_s = 0.0

    def sync(self) -> None:
        super().sync()
        time.sleep(self.sync_s)


class SlowFiles(DiskFiles):
    """A disk that is far too slow."""

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> DiskFile:
        file = super().open(path, write=write, create=create)
        return SlowFile(path, file.fileno())


async def serve(directory: Path, sync_s: float) -> None:
    clock = SystemClock()
    SlowFile.sync_s = sync_s
    files = SlowFiles() if sync_s else DiskFiles()
    journal = Journal(Projections(directory, DiskFiles(), []), clock=clock, react=lambda _: None)
    streams = {TELEMETRY: LogSettings(segment_bytes=1 << 30), SESSIONS: LogSettings()}
    log = EventLog.open(
        directory / "log", streams, files=files, clock=clock, on_commit=journal.on_commit, owner="benchmark"
    )
    journal.attach(log)
    intake, settings = LogIntake(journal), GatewaySettings(port=0)
    gateway = Gateway(
        settings,
        intake=intake,
        authority=DefaultAuthority(settings),
        clock=clock,
        memory=SessionLog(journal, clock),
    )
    await gateway.start()
    print(gateway.port, flush=True)
    tune()
    while line := await asyncio.to_thread(sys.stdin.readline):
        match line.split():
            case ["rounds", device, count]:
                answer: object = await rounds(gateway, intake, device, int(count))
            case ["cpu"]:
                answer = time.process_time()
            case ["rss"]:
                gc.collect()
                answer = rss_bytes()
            case ["counters"]:
                answer = gateway.counters
            case _:
                raise SystemExit(f"there is no job {line!r}")
        print(json.dumps(answer), flush=True)
    await gateway.stop()
    journal.hand_over()
    await asyncio.to_thread(log.close)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=fast_loop()) as runner:
        runner.run(serve(Path(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else 0.0))
