"""The supervisor: back-off without clocks, and real child processes that die, drain or do not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.supervisor import Job, Restarts, Supervisor
from streams.clock import SystemClock
from streams.files import DiskFiles


def test_back_off_doubles_for_who_dies_young_and_starts_anew_after_a_healthy_life() -> None:
    restarts = Restarts()
    assert [restarts.on_exit(0.1) for _ in range(4)] == [0.2, 0.4, 0.8, 1.6]
    assert [restarts.on_exit(0.1) for _ in range(20)][-1] == 30.0
    assert restarts.on_exit(11.0) == 0.2
    assert restarts.count == 25


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    yield tmp_path


def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Job:
    """A job whose process runs `body`: a package named penstock that stands before ours on its path."""
    package = tmp_path / "stand" / "penstock"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(body)
    return Job(name="worker", arguments=[], drain_s=5.0)


def supervisor(data: Path, each: Job, said: list[str]) -> Supervisor:
    environment = {**os.environ, "PYTHONPATH": str(data / "stand"), "PYTHONSAFEPATH": "1"}
    return Supervisor(data, [each], files=DiskFiles(), clock=SystemClock(), tell=said.append, environment=environment)


async def until(probe: object, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not probe():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_a_process_that_dies_is_started_again_and_said_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    each = supervisor(data, job(data, monkeypatch, "import sys; print('hello', flush=True); sys.exit(3)"), said)
    each.start()
    log = data / "logs" / "worker.log"
    await until(lambda: log.exists() and log.read_text().count("hello") >= 3)
    each.force()
    await each.drain(["worker"])
    assert "worker ended (exit status 3), started again in 0.2 s" in said[0]
    assert str(log) in said[0]


async def test_draining_asks_first_and_kills_who_does_not_stop(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "import signal, time, pathlib, sys\n"
        "signal.signal(signal.SIGTERM, lambda *a: (print('drained', flush=True), sys.exit(0)))\n"
        "print('up', flush=True)\n"
        "while True: time.sleep(0.05)\n"
    )
    said: list[str] = []
    each = supervisor(data, job(data, monkeypatch, body), said)
    each.start()
    log = data / "logs" / "worker.log"
    await until(lambda: log.exists() and "up" in log.read_text())
    pid = json.loads((data / "run" / "processes.json").read_text())["worker"]
    await each.drain(["worker"])
    assert "drained" in log.read_text()
    assert not Path(f"/proc/{pid}").exists()
    assert said == []


async def test_a_frozen_process_is_killed_when_its_time_is_over(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    frozen = job(data, monkeypatch, "import time\nprint('up', flush=True)\nwhile True: time.sleep(0.05)\n")
    each = supervisor(data, Job(name="worker", arguments=[], drain_s=0.3), said)
    each.start()
    log = data / "logs" / "worker.log"
    await until(lambda: log.exists() and "up" in log.read_text())
    pid = json.loads((data / "run" / "processes.json").read_text())["worker"]
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: "\nState:\tT" in Path(f"/proc/{pid}/status").read_text())
    await each.drain([frozen.name])
    assert "did not stop within" in said[0]
    assert not Path(f"/proc/{pid}").exists()
