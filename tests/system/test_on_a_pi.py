"""The agent in the userlands of Raspberry Pis (arm64, and armhf with its 32-bit numbers), run by an emulator.

An emulator says nothing about speed; it does say whether the agent works on such a Python with paho-mqtt alone.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.control import ControlClient
from tests.system.small_device import ROOT, build_wheel, surroundings
from tests.system.stack import free_port, wait_for
from tests.system.test_paho_alone import SETTINGS, running

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

EMULATORS = {"arm64": ("qemu-aarch64-static", "aarch64", 64), "armhf": ("qemu-arm-static", "armv", 32)}


class Pi:
    """A userland with the agent in it."""

    def __init__(self, architecture: str, packages: Path) -> None:
        self.emulator, self.machine, self.bits = EMULATORS[architecture]
        self.root = ROOT / ".servers" / architecture
        self._packages = packages
        assert (self.root / "unpacked").exists(), f"there is no userland in {self.root}; run: make servers"

    @property
    def python(self) -> tuple[str, ...]:
        (program,) = (self.root / "usr" / "bin").glob("python3.[0-9]*[0-9]")
        return (self.emulator, "-L", str(self.root), "-E", f"PYTHONPATH={self._packages}", str(program))

    def run(self, *words: str, cwd: Path) -> str:
        done = subprocess.run(
            (*self.python, *words),
            cwd=cwd,
            env=surroundings(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and paho-mqtt, unpacked: both are pure Python."""
    directory = tmp_path_factory.mktemp("wheels")
    build_wheel(directory)
    fetch = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    subprocess.run([*fetch, "--dest", directory, "--only-binary=:all:", "paho-mqtt>=2.1"], check=True, timeout=120)
    unpacked = directory / "packages"
    for wheel in directory.glob("*.whl"):
        assert wheel.name.endswith("-none-any.whl"), wheel.name
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
    return unpacked


@pytest.fixture(params=sorted(EMULATORS))
def pi(request: pytest.FixtureRequest, packages: Path) -> Iterator[Pi]:
    yield Pi(request.param, packages)


def test_it_is_another_machine(pi: Pi, tmp_path: Path) -> None:
    said = pi.run("-c", "import platform, struct; print(platform.machine(), 8 * struct.calcsize('P'))", cwd=tmp_path)
    machine, bits = said.split()
    assert machine.startswith(pi.machine)
    assert int(bits) == pi.bits


def test_its_sensors_are_read_and_a_hub_gets_everything(pi: Pi, tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "hub"
    (tmp_path / "penstock.toml").write_text(SETTINGS.format(port=port))
    read = pi.run("-m", "penstock", "edge", "read", "--config", "penstock.toml", "--json", cwd=tmp_path)
    assert "load.1m" in {each["metric"] for each in json.loads(read)["readings"]}
    hub = ControlClient(data / "run" / "hub.sock", what="the hub")
    hub_command = (sys.executable, "-m", "penstock", "hub", "run", "--data", data, "--mqtt-port", str(port))
    agent_command = (*pi.python, "-m", "penstock", "edge", "run", "--config", "penstock.toml", "--data", "device")

    def device() -> dict[str, Any] | None:
        found = [each for each in hub.get("/devices")["devices"] if each["device"] == "small-1"]
        return found[0] if found and found[0]["readings"] >= 20 else None

    with running(*hub_command, cwd=tmp_path), running(*agent_command, cwd=tmp_path) as agent:
        wait_for("readings of the device", device, timeout_s=120)
        body = {"device": "small-1", "name": "identify", "arguments": {}, "deadline_s": 120}
        ended = hub.get(f"/commands/{hub.request('POST', '/commands', body=body)['key']}", wait_s=60)
        assert ended["state"] == "succeeded", ended
        assert pi.machine in ended["result"]["platform"]
        change = {"settings": {"frame_age_s": 0.5, "settings_trial_s": 3.0}}
        hub.request("PATCH", "/devices/small-1/twin", body=change)
        twin = hub.get("/devices/small-1/twin", wait_s=60)
        assert twin["reported"]["outcome"] == "applied", twin
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=60) == 0
        (account,) = [each for each in hub.get("/ledger")["accounts"] if each["device"] == "small-1"]
    assert account["received"] == [[0, account["produced"]]], account
    assert account["produced"] >= 20
