"""What a person gets wrong at the keyboard is named with its place and the remedy, exit status 2, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def penstock(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return subprocess.run(
        [sys.executable, "-m", "penstock", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[hub.mqtt]\nprot = 1884\n", ["line 2", "hub.mqtt.prot", "did you mean port?"]),
        ('[hub.mqtt]\nport = "1884"\n', ["line 2", "hub.mqtt.port must be a whole number, not '1884'"]),
        ("[hub.mqtt]\n\nport = 70000\n", ["line 3", "70000"]),
        ("[web\n", ["not valid TOML", "line 1"]),
        ("[hubb]\n", ["line 1", "did you mean hub?"]),
    ],
)
@pytest.mark.parametrize("command", [("up",), ("hub", "run"), ("edge", "check")])
def test_a_wrong_settings_file(tmp_path: Path, text: str, words: list[str], command: tuple[str, ...]) -> None:
    (tmp_path / "penstock.toml").write_text(text)
    done = penstock(*command, "--config", "penstock.toml", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    for word in ["penstock.toml", *words]:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "penstock-data").exists(), "nothing is made before the settings are right"


def test_a_settings_file_that_is_not_there(tmp_path: Path) -> None:
    done = penstock("up", "--config", "absent.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "absent.toml" in done.stderr
    assert "--config" in done.stderr


def test_wrong_variables_flags_and_words(tmp_path: Path) -> None:
    done = penstock("up", cwd=tmp_path, PENSTOCK_HUB__MQTT__PROT="1")
    assert (done.returncode, "PENSTOCK_HUB__MQTT__PROT" in done.stderr) == (2, True), done.stderr
    done = penstock("hub", "run", "--mqtt-port", "many", cwd=tmp_path)
    assert (done.returncode, "hub.mqtt.port must be a whole number, not 'many'" in done.stderr) == (2, True), (
        done.stderr
    )
    done = penstock("up", "--set", "hub.mqtt.port", cwd=tmp_path)
    assert (done.returncode, "NAME=VALUE" in done.stderr) == (2, True), done.stderr
    done = penstock("leger", cwd=tmp_path)
    assert (done.returncode, "leger" in done.stderr) == (2, True), done.stderr
    done = penstock("command", "send", "x", "identify", "novalue", cwd=tmp_path)
    assert (done.returncode, "KEY=VALUE" in done.stderr) == (2, True), done.stderr


def test_asking_a_hub_that_is_not_running(tmp_path: Path) -> None:
    for arguments in (("ledger",), ("device", "list"), ("command", "list")):
        done = penstock(*arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert "is not running" in done.stderr
        assert "penstock up" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = penstock("up", "--data", "file/below", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "file/below" in done.stderr
    assert "Traceback" not in done.stderr


def test_version_and_help(tmp_path: Path) -> None:
    assert penstock("--version", cwd=tmp_path).stdout.startswith("penstock 0.")
    listing = penstock("--help", cwd=tmp_path).stdout
    for name in ("up", "ledger", "command", "device", "edge", "log", "quarantine", "dashboards", "doctor"):
        assert name in listing


def test_the_sample_file_is_a_settings_file_that_changes_nothing(tmp_path: Path) -> None:
    sample = penstock("settings", cwd=tmp_path).stdout
    assert "[hub.mqtt]" in sample
    (tmp_path / "penstock.toml").write_text(sample)
    done = penstock("edge", "check", "--config", "penstock.toml", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
