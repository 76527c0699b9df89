"""The agent as a service: what systemd says of the unit, and that an installation comes and goes without a trace."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.system.small_device import ROOT, build_wheel, surroundings

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

DEPLOY = ROOT / "deploy" / "edge"
EXPOSURE_MAX = 2.0
"""systemd's own measure: from 0 (safe) to 10; a unit without hardening has 9.6."""


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=surroundings(), timeout=300, check=False)


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_it_is_installed_works_and_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc" / "systemd" / "system").mkdir(parents=True)
    (root / "opt").mkdir()
    (root / "var" / "lib").mkdir(parents=True)
    before = tree(root)
    install = ("sh", DEPLOY / "install.sh", wheel, "--root", root)
    refused = run(*install)
    assert (refused.returncode, "--hub" in refused.stderr) == (2, True)
    assert tree(root) == before
    done = run(*install, "--hub", "hub.local:1884", "--device", "press-7")
    assert done.returncode == 0, done.stderr
    settings = root / "etc" / "penstock" / "edge.toml"
    assert [line for line in settings.read_text().splitlines() if line.startswith(("device", "hub"))] == [
        'device = "press-7"',
        'hub_host = "hub.local"',
        "hub_port = 1884",
    ]
    assert settings.stat().st_mode & 0o777 == 0o640
    program = root / "opt" / "penstock-edge" / "bin" / "penstock"
    checked = run(program, "edge", "check", "--config", settings)
    assert checked.returncode == 0, checked.stderr

    settings.write_text(settings.read_text() + "# mine\n")
    again = run(*install)
    assert again.returncode == 0, again.stderr
    assert "# mine" in settings.read_text()

    gone = run("sh", root / "opt" / "penstock-edge" / "uninstall.sh", "--root", root)
    assert gone.returncode == 0, gone.stderr
    assert tree(root) == before


def test_readings_that_only_the_device_has_keep_it_there(wheel: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert run("sh", DEPLOY / "install.sh", wheel, "--root", root, "--hub", "127.0.0.1:1").returncode == 0
    program, data = root / "opt" / "penstock-edge" / "bin" / "penstock", root / "var" / "lib" / "penstock"
    settings = root / "etc" / "penstock" / "edge.toml"
    agent = subprocess.Popen(
        [program, "edge", "run", "--config", settings, "--data", data, "--frame-age-s", "0.1"],
        env=surroundings(),
        stderr=subprocess.DEVNULL,
    )
    try:
        agent.wait(timeout=8)
    except subprocess.TimeoutExpired:
        agent.terminate()
    assert agent.wait(timeout=30) == 0
    uninstall = ("sh", root / "opt" / "penstock-edge" / "uninstall.sh", "--root", root)
    kept = run(*uninstall)
    assert (kept.returncode, "--discard" in kept.stderr) == (1, True), kept.stdout
    assert program.exists()
    assert (data / "edge" / "identity.json").exists()
    assert run(*uninstall, "--discard").returncode == 0
    assert [name for name in tree(root) if "penstock" in name] == []


def test_a_failed_installation_leaves_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "penstock-9-py3-none-any.whl"
    broken.write_bytes(b"no wheel")
    root = tmp_path / "root"
    done = run("sh", DEPLOY / "install.sh", broken, "--root", root, "--hub", "hub.local")
    assert done.returncode != 0
    assert [name for name in tree(root) if "penstock" in name] == []


def unit_with(directory: Path, program: str) -> Path:
    """The unit with another program, which systemd wants to see."""
    unit = directory / "penstock-edge.service"
    unit.write_text((DEPLOY / unit.name).read_text().replace("/opt/penstock-edge/bin/penstock", program))
    return unit


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    verified = run("systemd-analyze", "verify", "--man=no", unit_with(tmp_path, "/bin/true"))
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    spoilt = unit_with(tmp_path, "/bin/true")
    spoilt.write_text(spoilt.read_text().replace("WatchdogSec", "WatchdogSecs"))
    assert "WatchdogSecs" in run("systemd-analyze", "verify", "--man=no", spoilt).stderr  # it does look


def test_the_unit_exposes_little() -> None:
    judged = run("systemd-analyze", "security", "--offline=yes", "--no-pager", DEPLOY / "penstock-edge.service")
    exposure = re.search(r"Overall exposure level for penstock-edge.service: ([\d.]+)", judged.stdout)
    assert exposure, judged.stdout + judged.stderr
    assert float(exposure[1]) <= EXPOSURE_MAX, judged.stdout
