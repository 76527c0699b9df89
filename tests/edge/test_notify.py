"""The agent under a service manager that listens: a socket of our own in systemd's place."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.notify import Notifier
from tests.edge.test_process import PROGRAM, ROOT


class Manager:
    """Hears what a service says, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.heard: list[str] = []

    def hear(self) -> list[str]:
        while True:
            try:
                self.heard += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.heard

    async def until(self, line: str, *, times: int = 1) -> None:
        async with asyncio.timeout(30):
            while self.hear().count(line) < times:
                await asyncio.sleep(0.01)


@contextmanager
def manager(directory: Path) -> Iterator[Manager]:
    made = Manager(directory / "notify")
    try:
        yield made
    finally:
        made.socket.close()


async def test_the_agent_tells_that_it_is_ready_lives_and_stops(tmp_path: Path) -> None:
    with manager(tmp_path) as systemd:
        environment = {**os.environ, "NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "60000"}
        agent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, str(tmp_path / "state"), "1", "0"), cwd=ROOT, env=environment
        )
        try:
            await systemd.until("READY=1")
            await systemd.until("WATCHDOG=1", times=5)
            agent.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(agent.wait(), 30) == 0
            assert systemd.hear().count("STOPPING=1") == 1
            assert systemd.heard.count("READY=1") == 1
        finally:
            if agent.returncode is None:
                agent.kill()
            await agent.wait()


async def test_an_agent_that_may_not_start_is_never_ready(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "identity.json").write_text('{"device": "another", "epoch": 1}')
    with manager(tmp_path) as systemd:
        environment = {**os.environ, "NOTIFY_SOCKET": str(systemd.path)}
        first = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM.replace("sys.exit(run", "from streams.files import DirectoryLock\nlock = "
              "DirectoryLock(Path(sys.argv[1]), owner='somebody')\nsys.exit(run"), str(state), "1", "0"),
            cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await asyncio.wait_for(first.communicate(), 30)
        assert first.returncode == 1
        assert b"somebody" in said
        assert systemd.hear() == []


async def test_a_loop_that_stands_still_does_not_feed_the_watchdog(tmp_path: Path) -> None:
    with manager(tmp_path) as systemd:
        notifier = Notifier({"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "30000"})
        feeding = asyncio.create_task(notifier.feed())
        await systemd.until("WATCHDOG=1", times=2)
        before = len(systemd.hear())
        signal.sigtimedwait([], 0.2)  # nothing else turns in this thread
        assert len(systemd.hear()) == before
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_the_one_that_is_meant_for_us(environment: dict[str, str], watchdog_s: float) -> None:
    assert Notifier(environment).watchdog_s == watchdog_s


def test_without_systemd_and_with_a_dead_one_nothing_happens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier({}).tell(READY=1)
    assert caplog.records == []
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell(READY=1)
    assert "systemd cannot be told READY" in caplog.text
