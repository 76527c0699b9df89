"""The agent where there is Python, its MQTT client and nothing else: each of its commands, and a run with a hub."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streams.control import ControlClient
from tests.system.small_device import build_wheel, make_environment, surroundings
from tests.system.stack import free_port, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

SETTINGS = """
[edge]
device = "small-1"
hub_port = {port}
[[edge.sensors]]
kind = "load"
interval_s = 0.1
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("device"), build_wheel(tmp_path_factory.mktemp("wheel")))


def penstock(programs: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [programs / "penstock", *words]
    return subprocess.run(command, cwd=cwd, env=surroundings(), capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def running(*command: str | Path, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (cwd / f"{Path(command[0]).name}.out").open("ab") as out:
        process = subprocess.Popen(command, cwd=cwd, env=surroundings(), stdout=out, stderr=out)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=30)


def test_nothing_else_is_installed(programs: Path) -> None:
    done = subprocess.run(
        [programs / "pip", "list", "--format", "json", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {each["name"] for each in json.loads(done.stdout)}
    assert names - {"pip", "setuptools"} == {"paho-mqtt", "penstock"}


def test_its_own_commands_work(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text(SETTINGS.format(port=1))
    options = ("--config", "penstock.toml", "--json")
    checked = penstock(programs, "edge", "check", *options, cwd=tmp_path)
    assert (checked.returncode, json.loads(checked.stdout)) == (0, {"problems": []}), checked.stderr
    read = penstock(programs, "edge", "read", *options, cwd=tmp_path)
    assert {"load.1m"} <= {each["metric"] for each in json.loads(read.stdout)["readings"]}, read.stdout
    shown = penstock(programs, "edge", "read", "--config", "penstock.toml", cwd=tmp_path)
    assert "load.1m" in shown.stdout
    nothing = penstock(programs, "edge", "spool", "--data", "nowhere", cwd=tmp_path)
    assert nothing.returncode == 2
    assert "is not the state of an edge agent" in nothing.stderr
    assert "Traceback" not in nothing.stderr


def test_the_commands_of_the_hub_say_what_they_need(programs: Path, tmp_path: Path) -> None:
    done = penstock(programs, "ledger", cwd=tmp_path)
    assert done.returncode != 0
    assert "pip install 'penstock[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_serves_a_hub_and_the_ledger_balances(programs: Path, tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "hub"
    (tmp_path / "penstock.toml").write_text(SETTINGS.format(port=port))
    hub_command = (sys.executable, "-m", "penstock", "hub", "run", "--data", data, "--mqtt-port", str(port))
    agent_command = (programs / "penstock", "edge", "run", "--config", "penstock.toml", "--data", "device")
    hub = ControlClient(data / "run" / "hub.sock", what="the hub")

    def device() -> dict[str, Any] | None:
        found = [each for each in hub.get("/devices")["devices"] if each["device"] == "small-1"]
        return found[0] if found and found[0]["readings"] >= 20 else None

    with running(*hub_command, cwd=tmp_path), running(*agent_command, cwd=tmp_path) as agent:
        assert wait_for("readings of the small device", device)["agent"].startswith("penstock ")
        sent = hub.request(
            "POST", "/commands", body={"device": "small-1", "name": "identify", "arguments": {}, "deadline_s": 60}
        )
        ended = hub.get(f"/commands/{sent['key']}", wait_s=30)
        assert (ended["state"], ended["result"]["device"]) == ("succeeded", "small-1"), ended
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=30) == 0
        (account,) = [each for each in hub.get("/ledger")["accounts"] if each["device"] == "small-1"]
    assert account["received"] == [[0, account["produced"]]], account
    assert account["produced"] >= 20
    status = json.loads(penstock(programs, "edge", "spool", "--data", "device", "--json", cwd=tmp_path).stdout)
    assert (status["frames"], status["running"]) == (0, False)
