"""What a person gets wrong at the keyboard is named with its place and the remedy, exit status 2, and no traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.configuration import configure


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
        assert "cannot be reached" in done.stderr
        assert "penstock up" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = penstock("up", "--data", "file/below", cwd=tmp_path)
    assert done.returncode == 2
    assert "file/below" in done.stderr
    assert "choose another one" in done.stderr
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
    assert (done.returncode, done.stderr) == (0, "")
    every_line = re.sub(r"(?m)^# (\w+ = (?!\(none\)))", r"\1", sample)
    assert every_line.count("\n# ") < sample.count("\n# ")
    (tmp_path / "all.toml").write_text("\ufeff" + every_line)  # with the mark that some editors begin a file with
    assert configure(tmp_path / "all.toml") == configure(None)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("edge.device=a b/ü", "is not a device id"),
        ("fleet.prefix=x/+#", "is not a device id"),
        ("fleet.models=", "fleet.models is empty"),
        ("fleet.interval_s=nan", "fleet.interval_s must be a finite number"),
        ("hub.mqtt.connect_timeout_s=inf", "hub.mqtt.connect_timeout_s must be a finite number"),
        ("processors.alarms.detectors=foo", "there is no detector 'foo'"),
        ("hub.mqtt.host=127.0.0.300", "cannot listen on 127.0.0.300"),
        ("web.port=1", "web.port and hub.mqtt.port are both 1"),
        ("hub=3", "known here: hub."),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_made(tmp_path: Path, setting: str, words: str) -> None:
    done = penstock(
        "up", "--set", "hub.mqtt.port=1", "--set", setting, cwd=tmp_path, PENSTOCK_HUB__MQTT__ANONYMOUS_ANYWHERE="1"
    )
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "penstock-data").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("device", "show", ""),
        ("device", "show", "a/b"),
        ("command", "show", ""),
        ("command", "cancel", "a/b"),
        ("command", "send", "d", "identify", "--wait-s", "nan"),
        ("command", "send", "d", "identify", "--deadline-s", "-1"),
        ("log", "dump", "--limit", "-1"),
        ("log", "dump", "--start", "-5"),
        ("up", "--data", ""),
        ("dashboards", "build", "--out", "/proc/x"),
        ("dashboards", "push", "--url", "http://[::", "--token", "x"),
    ],
)
def test_odd_arguments_are_misuse(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = penstock(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_one_underscore_too_few_and_a_level_that_is_none(tmp_path: Path) -> None:
    done = penstock("up", cwd=tmp_path, PENSTOCK_HUB_MQTT_PORT="1")
    assert (done.returncode, "did you mean PENSTOCK_HUB__MQTT__PORT?" in done.stderr) == (2, True), done.stderr
    done = penstock("hub", "run", cwd=tmp_path, PENSTOCK_LOG_LEVEL="loud")
    assert (done.returncode, "PENSTOCK_LOG_LEVEL must be one of" in done.stderr) == (2, True), done.stderr


def test_doctor_names_a_data_directory_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = penstock("doctor", "--data", "file", cwd=tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/file is no directory" in done.stdout
