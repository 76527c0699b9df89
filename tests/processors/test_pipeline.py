"""The processors as a process: it follows a log that another process writes, and may be killed at any moment."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processors.engine import Engine
from processors.pipeline import run
from processors.settings import ProcessorsSettings
from streams.control import ControlClient
from streams.errors import MisuseError, PenstockError
from streams.names import ALERTS
from tests.processors.world import Log, Processors, ids, manifest, simple

ROOT = Path(__file__).resolve().parents[2]
PAYLOAD = manifest({"name": "level", "maximum": 100.0})
READINGS = 40


def value(number: int) -> float:
    """What reading `number` is; each thousandth is far too much."""
    return 500.0 if number % 1000 == 0 else float(number % 97)


def frame_of(number: int) -> bytes:
    first = number * READINGS
    return simple(first, [value(each) for each in range(first, first + READINGS)], payload=PAYLOAD)


class Process:
    """`penstock process run`, started and ready."""

    def __init__(self, data: Path) -> None:
        self.out = data.parent / "process.out"
        environment = {name: text for name, text in os.environ.items() if not name.startswith("PENSTOCK_")}
        with self.out.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "process", "run", "--data", str(data), "--commit-interval-ms", "5"],
                cwd=ROOT, stdout=out, stderr=out, env=environment,
            )  # fmt: skip
        self.client = ControlClient(data / "run" / "processors.sock", what="the processors")
        self.wait(lambda: self.client.get("/health"))

    def wait(self, probe: Callable[[], Any], *, timeout_s: float = 60.0) -> Any:
        """What `probe` returns as soon as it is true."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.out.read_text("utf-8", "replace")
            with contextlib.suppress(PenstockError):
                if found := probe():
                    return found
            time.sleep(0.01)
        raise AssertionError(f"{self.out.read_text('utf-8', 'replace')[-2000:]}")

    def readings(self) -> int:
        return int(self.client.get("/health")["readings"])

    def wait_for_more(self, count: int) -> None:
        """Wait until so many more readings are stored."""
        enough = self.readings() + count
        self.wait(lambda: self.readings() >= enough)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)


@contextlib.contextmanager
def started(data: Path) -> Iterator[Process]:
    process = Process(data)
    try:
        yield process
    finally:
        process.kill()


@contextlib.contextmanager
def devices(log: Log) -> Iterator[Iterator[int]]:
    """Frames keep coming for as long as the context lasts; yields the count of those on the log."""
    count, ending = itertools.count(), threading.Event()

    def send() -> None:
        while not ending.wait(0.005):
            log.telemetry("d", frame_of(next(count)))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield count
    finally:
        ending.set()
        thread.join()


def test_killed_in_the_middle_of_its_work_it_stores_every_reading_once(tmp_path: Path) -> None:
    data, dice = tmp_path / "data", random.Random(1)
    log = Log(data)
    log.manifest("d", PAYLOAD)
    with devices(log) as count:
        for _ in range(3):
            with started(data) as process:  # which ends in a kill
                process.wait_for_more(5 * READINGS)
                time.sleep(dice.random() * 0.05)
        with started(data) as process:
            process.wait_for_more(1)
            assert process.stop() == 0
    frames = next(count)
    log.close()
    after = Processors(data)
    stored = len(after.readings())
    assert 0 < stored <= frames * READINGS
    assert stored % READINGS == 0
    after.drain()
    assert [(row[2], row[6]) for row in after.readings()] == [(value(n), n) for n in range(frames * READINGS)]
    (account,) = after.store.ledger()["accounts"]
    assert (account["stored"], account["duplicate_rows"]) == ([[0, frames * READINGS]], 0)
    told = ids(after.published(ALERTS))
    assert len(told) == len(set(told)) > 0
    states = {"open": ["open"], "closed": ["open", "closed"]}
    assert sorted(told) == sorted(f"{a['id']}:{state}" for a in after.alarms() for state in states[a["state"]])
    after.close()


def test_a_stop_drains_and_its_place_is_taken_meanwhile(tmp_path: Path) -> None:
    data = tmp_path / "data"
    log = Log(data)
    log.manifest("d", PAYLOAD)
    with started(data) as process:
        with pytest.raises(MisuseError, match="in use by penstock processors"):
            run(ProcessorsSettings(), data)
        log.telemetry("d", *[frame_of(number) for number in range(200)], one_by_one=True)
        assert process.stop() == 0
    assert "ready: store duckdb, 0 readings, 0 series" in process.out.read_text()
    assert "stopped; what is committed is on disk" in process.out.read_text()
    assert not (data / "run" / "processors.sock").exists()
    after = Processors(data)
    assert len(after.readings()) == 200 * READINGS
    assert after.state.detectors, "what was learned is kept"
    after.close()
    log.close()


BUSY = """
import sys, time
from pathlib import Path
from penstock.commands.common import run_logging
from processors.engine import Engine
from processors.pipeline import run
from processors.settings import ProcessorsSettings
Engine.take = lambda *_: print("busy", flush=True) or time.sleep(60)
run_logging("process")
sys.exit(run(ProcessorsSettings(), Path(sys.argv[1])))
"""


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    log.close()
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process:
        for word in ("busy", "stopping; a second signal", "ended by a second signal"):
            assert any(word in line for line in process.stdout), word
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1


def stop_this_process_when_it_is_ready(data: Path) -> None:
    client = ControlClient(data / "run" / "processors.sock", what="the processors")
    while True:  # as long as the test may take
        with contextlib.suppress(PenstockError):
            if client.get("/health")["readings"]:  # it handles signals by then
                os.kill(os.getpid(), signal.SIGTERM)
                return
        time.sleep(0.01)


def test_a_consumer_that_dies_ends_the_process_with_status_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(tmp_path)
    log.manifest("d", PAYLOAD)

    def dies(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Engine, "take", dies)
    with caplog.at_level(logging.INFO):
        assert run(ProcessorsSettings(), tmp_path) == 1
    assert any("the consumer died" in record.getMessage() for record in caplog.records)
    monkeypatch.undo()
    log.telemetry("d", frame_of(0))
    stopping = threading.Thread(target=stop_this_process_when_it_is_ready, args=(tmp_path,), daemon=True)
    stopping.start()
    assert run(ProcessorsSettings(commit_interval_ms=5), tmp_path) == 0, "everything was let go, so it can start again"
    stopping.join()
    after = Processors(tmp_path)
    assert len(after.readings()) == READINGS
    after.close()
    log.close()


def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "readings.duckdb").write_bytes(b"not a database" * 1000)
    for _ in range(2):  # the directory is not in use the second time
        with pytest.raises(PenstockError, match=r"readings\.duckdb"):
            run(ProcessorsSettings(), tmp_path)
