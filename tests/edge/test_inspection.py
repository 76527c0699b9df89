from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edge.agent import check, read_once, spool_status
from edge.settings import EdgeSettings, SensorSettings, device_from_host
from streams.errors import MisuseError
from streams.names import check_device
from streams.settings import SettingsError, build


def test_this_machine_is_in_order() -> None:
    assert check(EdgeSettings(device="d")) == []


def test_every_problem_is_named() -> None:
    problems = check(
        EdgeSettings(
            sensors=(
                SensorSettings(kind="memry"),
                SensorSettings(kind="disk", options={"paths": ["/no/such/place"]}),
                SensorSettings(kind="load"),
            ),
        )
    )
    assert len(problems) == 2
    assert "did you mean memory?" in problems[0]
    assert "sensor disk: there is no /no/such/place" in problems[1]


def test_a_device_id_that_is_none_is_refused_with_the_settings() -> None:
    with pytest.raises(ValueError, match=r"edge\.device: 'not a device' is not a device id"):
        EdgeSettings(device="not a device")


def test_no_sensor_at_all_is_a_problem() -> None:
    assert "there is no sensor at all" in check(EdgeSettings(device="d", sensors=()))[0]


def test_read_once_shows_every_series_of_this_machine() -> None:
    readings = read_once(EdgeSettings(device="d"))
    metrics = {each["metric"]: each for each in readings}
    assert metrics["memory.used"]["unit"] == "B"
    assert metrics["memory.used"]["quality"] == "good"
    assert {"sensor", "metric", "value", "unit", "quality", "time_ns"} == set(readings[0])
    json.dumps(readings, allow_nan=False)


def test_a_directory_without_an_agents_state_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="is not the state of an edge agent"):
        spool_status(tmp_path)
    assert os.listdir(tmp_path) == [], "looking changes nothing"


@pytest.mark.parametrize(
    ("host", "device"),
    [
        ("pi4.local", "pi4"),
        ("Halle 2/links", "Halle-2-links"),
        ("-_x", "x"),
        ("", "device"),
        ("ü", "device"),
        ("a" * 99, "a" * 64),
    ],
)
def test_the_host_name_makes_a_device_id(host: str, device: str) -> None:
    assert device_from_host(host) == device
    assert check_device(device)


def test_sensors_come_from_tables_of_the_settings_file() -> None:
    made = build(EdgeSettings, {"sensors": [{"kind": "disk", "interval_s": 60, "options": {"paths": ["/"]}}]})
    assert made.sensors == (SensorSettings(kind="disk", interval_s=60.0, options={"paths": ["/"]}),)
    with pytest.raises(SettingsError, match="intervall_s; did you mean interval_s"):
        build(EdgeSettings, {"sensors": [{"kind": "disk", "intervall_s": 60}]})


def test_the_password_is_never_shown() -> None:
    made = build(EdgeSettings, {"link": {"username": "u", "password": "hunter2"}})
    assert "hunter2" not in repr(made)
