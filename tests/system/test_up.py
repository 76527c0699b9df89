"""`penstock up` as a person meets it: quick to start, says what is taken, drains on Ctrl-C, forces on the second."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.system.stack import Stack, is_alive, running, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

FIRST_GRAPH_S = 60.0
SECOND_START_S = 10.0


def test_first_start_second_start_and_what_is_taken(tmp_path: Path) -> None:
    with running(tmp_path / "data") as stack:
        started = time.monotonic()
        stack.wait_until_storing(1)
        first_s = time.monotonic() - started
        assert first_s <= FIRST_GRAPH_S
        wait_for("the hints", lambda: "penstock ledger" in stack.said())
        assert stack.web_url in stack.said()
        assert str(stack.data) in stack.said(), "the data directory is named"

        again = stack.penstock("up")
        assert again.returncode == 2
        assert f"{stack.data} is in use by penstock up (process " in again.stderr

        other = Stack(tmp_path / "other", {"hub.mqtt.port": stack.mqtt_port})
        taken = other.penstock("up", "--set", f"hub.mqtt.port={stack.mqtt_port}")
        assert taken.returncode == 2
        assert f"port {stack.mqtt_port} on 127.0.0.1 is taken by" in taken.stderr
        assert f"--set hub.mqtt.port={stack.mqtt_port + 1}" in taken.stderr

        assert stack.stop() == 0
        assert "stopped; all data is in" in stack.said()
        started = time.monotonic()
        stack.start()
        stack.wait_until_storing(1)
        second_s = time.monotonic() - started
        print(f"first readings stored after {first_s:.1f} s, at the second start after {second_s:.1f} s")
        assert second_s <= SECOND_START_S
        assert stack.stop() == 0


def test_a_second_interrupt_forces(tmp_path: Path) -> None:
    with running(tmp_path / "data") as stack:
        stack.wait_until_storing(1)
        pids = stack.pids()
        os.kill(pids["fleet"], signal.SIGSTOP)  # a process that does not drain
        stack.interrupt()
        wait_for("the drain to begin", lambda: "stopping" in stack.said())
        assert stack.stop(timeout_s=10) == 1
        assert not any(is_alive(pid) for pid in pids.values())


def test_processes_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "data") as stack:
        stack.wait_until_storing(1)
        pids = stack.pids()
        assert stack._process is not None
        stack._process.kill()
        wait_for("the processes to end", lambda: not any(is_alive(pid) for pid in pids.values()), timeout_s=30)


def test_a_foreign_listener_is_named(tmp_path: Path) -> None:
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen(1)
        port = foreign.getsockname()[1]
        done = Stack(tmp_path / "data").penstock("up", "--set", f"web.port={port}")
        assert done.returncode == 2
        assert f"port {port} on 127.0.0.1 is taken by " in done.stderr
        assert "(process " in done.stderr
