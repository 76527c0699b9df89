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


async def test_who_refuses_at_its_first_start_is_not_started_again(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    body = "import sys; print('penstock: there is no such thing; name another', file=sys.stderr); sys.exit(2)"
    each = supervisor(data, job(data, monkeypatch, body), said)
    each.start()
    await asyncio.wait_for(each.refused.wait(), 20)
    assert said == ["worker refuses to run: there is no such thing; name another"]
    await each.drain(["worker"])


class FullDisk(DiskFiles):
    def replace(self, path: Path, data: object) -> None:
        raise OSError(28, "No space left on device")


async def test_a_full_disk_does_not_end_the_watch_over_processes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    each = job(data, monkeypatch, "import sys; print('hello', flush=True); sys.exit(3)")
    environment = {**os.environ, "PYTHONPATH": str(data / "stand"), "PYTHONSAFEPATH": "1"}
    watching = Supervisor(
        data, [each], files=FullDisk(), clock=SystemClock(), tell=said.append, environment=environment
    )
    watching.start()
    log = data / "logs" / "worker.log"
    await until(lambda: log.exists() and log.read_text().count("hello") >= 3)
    await watching.drain(["worker"])


async def test_a_log_that_cannot_be_opened_is_told_and_the_process_runs(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    (data / "logs").rmdir()
    each = supervisor(data, job(data, monkeypatch, "import time\nwhile True: time.sleep(0.05)\n"), said)
    each.start()
    await until(lambda: each.is_up("worker"))
    assert said[0].startswith("worker runs without a log: ")
    each.force()
    await each.drain(["worker"])


async def test_a_log_does_not_grow_for_ever(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.supervisor.LOG_BYTES_MAX", 1000)
    monkeypatch.setattr("penstock.supervisor.LOG_LOOK_S", 0.02)
    each = supervisor(data, job(data, monkeypatch, "import time\nwhile True: print('x' * 99, flush=True)\n"), [])
    each.start()
    aside = data / "logs" / "worker.log.1"
    await until(aside.exists)
    await until(lambda: (data / "logs" / "worker.log").stat().st_size < 1_000_000)
    each.force()
    await each.drain(["worker"])
    assert aside.read_text().startswith("x" * 99)
