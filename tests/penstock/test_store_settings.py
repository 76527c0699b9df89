"""A store that cannot be is refused before anything is started, with the remedy; one that is only away is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.penstock.test_misuse import penstock

INFLUX = ("--set", "processors.store.kind=influx")


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("influx_url=127.0.0.1:8086", "write it as http://127.0.0.1:8086"),
        ("influx_url=http://me:pa55word@127.0.0.1:8086", "put it into influx_token"),
        ("influx_bucket=", "name the bucket"),
        ("influx_batch_rows=0", "processors.store.influx_batch_rows"),
        ("kind=influxdb", "influx"),
    ],
)
def test_wrong_settings(tmp_path: Path, setting: str, word: str) -> None:
    done = penstock("up", *INFLUX, "--set", f"processors.store.{setting}", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert "pa55word" not in done.stdout + done.stderr
    assert not (tmp_path / "penstock-data").exists(), "nothing is made before the settings are right"


@pytest.mark.parametrize("command", [("up",), ("process", "run")])
def test_a_missing_package(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "influxdb_client.py").write_text("raise ModuleNotFoundError(name=__name__)\n")
    root = Path(__file__).resolve().parents[2]
    done = penstock(*command, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{root}", PENSTOCK_PROCESSORS__STORE__KIND="influx")
    assert done.returncode == 2, done.stderr
    assert "pip install 'penstock[influx]'" in done.stderr
    assert "Traceback" not in done.stderr
