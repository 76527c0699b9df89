"""What every sensor owes the agent (edge/sensors/sensor.py), run over all that are built in."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.manifest import make_manifest, number_series
from edge.sensors.health import Health, HealthSensor
from edge.sensors.registry import SENSORS
from edge.sensors.sensor import Sensor, SensorAbsentError, SensorContext, check_value
from streams.errors import MisuseError
from tests.edge.trees import make_tree

NOW_NS = 1_700_000_000_000_000_000


def make(kind: str, root: Path, *, interval_s: float = 2.5) -> Sensor:
    if kind == "agent":
        return HealthSensor(interval_s, lambda: Health(1, 2.0, 3, 4))
    return SENSORS[kind](SensorContext(kind=kind, interval_s=interval_s, proc=root / "proc", sys=root / "sys"))


@pytest.fixture(params=[*sorted(SENSORS), "agent"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sensor(kind: str, tmp_path: Path) -> Sensor:
    return make(kind, make_tree(tmp_path))


def test_it_says_who_it_is_and_how_often_it_is_read(sensor: Sensor, kind: str) -> None:
    assert sensor.name == kind
    assert sensor.interval_s == 2.5
    assert isinstance(sensor.may_block, bool)


def test_it_declares_series_that_make_a_manifest(sensor: Sensor) -> None:
    declared = sensor.open()
    assert declared
    assert len({series.name for series in declared}) == len(declared), "names are unique"
    assert all(series.interval_s == 2.5 for series in declared)
    manifest = make_manifest(number_series(declared), model="m", agent="a", labels={})
    assert len(manifest.types) == len(declared)


def test_it_gives_one_value_of_the_declared_type_for_each_series_at_every_tick(sensor: Sensor) -> None:
    declared = sensor.open()
    for tick in range(3):
        values = sensor.read(NOW_NS + tick)
        assert len(values) == len(declared)
        for series, value in zip(declared, values):
            if value is None:
                continue
            assert check_value(series, value) == value
            if series.minimum is not None and not isinstance(value, str):
                assert value >= series.minimum
            if series.maximum is not None and not isinstance(value, str):
                assert value <= series.maximum


def test_it_can_be_closed_whether_it_was_opened_or_not(sensor: Sensor) -> None:
    sensor.close()
    sensor.open()
    sensor.close()
    sensor.close()


def test_it_can_be_opened_again(sensor: Sensor) -> None:
    first = sensor.open()
    sensor.close()
    assert sensor.open() == first


def test_where_there_is_no_such_sensor_it_says_so_when_it_is_opened(kind: str, tmp_path: Path) -> None:
    if kind in ("agent", "disk"):  # every machine has an agent and a root directory
        assert make(kind, tmp_path / "empty").open()
        return
    with pytest.raises(SensorAbsentError, match=r"there is no"):
        make(kind, tmp_path / "empty").open()


def test_an_option_that_it_does_not_know_is_misuse(kind: str) -> None:
    if kind == "agent":  # not made from settings
        assert kind not in SENSORS
        return
    with pytest.raises(MisuseError, match=f"sensor {kind} has no option 'colour'"):
        SENSORS[kind](SensorContext(kind=kind, options={"colour": "red"}))


def test_on_this_machine_it_works_or_says_that_there_is_none(kind: str) -> None:
    sensor = make(kind, Path("/"))
    try:
        declared = sensor.open()
    except SensorAbsentError as error:
        assert str(error)
        return
    assert len(sensor.read(NOW_NS)) == len(declared)
    sensor.close()
