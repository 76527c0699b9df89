from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.sensors.registry import SENSORS, constructor, make_sensors
from edge.sensors.sensor import (
    SensorAbsentError,
    SensorContext,
    SensorFailedError,
    Series,
    Value,
    check_value,
    series_name,
)
from edge.settings import SensorSettings
from streams.errors import MisuseError
from tests.edge.trees import make_tree, write


def read(kind: str, root: Path, **options: Any) -> dict[str, Value | None]:
    sensor = SENSORS[kind](SensorContext(kind=kind, options=options, proc=root / "proc", sys=root / "sys"))
    names = [series.name for series in sensor.open()]
    return dict(zip(names, sensor.read(0)))


def test_load(tmp_path: Path) -> None:
    assert read("load", make_tree(tmp_path)) == {"load.1m": 0.52, "load.5m": 0.58, "load.15m": 0.59}


def test_cpu_shares_are_of_the_time_since_the_last_tick(tmp_path: Path) -> None:
    make_tree(tmp_path)
    sensor = SENSORS["cpu"](SensorContext(kind="cpu", proc=tmp_path / "proc"))
    names = [series.name for series in sensor.open()]
    assert list(sensor.read(0)) == [None] * 5, "no time has passed"
    write(tmp_path, "proc/stat", "cpu  110 10 60 850 25 3 7 30 0 0\n")  # 10+10, 10+3, 50, 5, 10 of 98
    assert dict(zip(names, sensor.read(0))) == {
        "cpu.user": 20.41,
        "cpu.system": 13.27,
        "cpu.idle": 51.02,
        "cpu.iowait": 5.1,
        "cpu.steal": 10.2,
    }


def test_cpu_time_that_runs_backwards_is_no_negative_share(tmp_path: Path) -> None:
    make_tree(tmp_path)
    sensor = SENSORS["cpu"](SensorContext(kind="cpu", proc=tmp_path / "proc"))
    sensor.open()
    write(tmp_path, "proc/stat", "cpu  100 0 50 900 10 0 10 20 0 0\n")
    assert list(sensor.read(0)) == [0, 0, 100, 0, 0]


def test_memory_is_in_bytes(tmp_path: Path) -> None:
    values = read("memory", make_tree(tmp_path))
    assert values == {"memory.used": 614400, "memory.available": 409600, "memory.swap_used": 51200}


def test_network_counts_every_interface_but_the_loopback(tmp_path: Path) -> None:
    assert read("network", make_tree(tmp_path)) == {
        "network.eth0.rx_bytes": 692915431,
        "network.eth0.rx_packets": 19470,
        "network.eth0.rx_errors": 1,
        "network.eth0.tx_bytes": 1128515,
        "network.eth0.tx_packets": 11087,
        "network.eth0.tx_errors": 2,
    }


def test_an_interface_that_is_pulled_out_has_no_values_until_it_is_back(tmp_path: Path) -> None:
    make_tree(tmp_path)
    sensor = SENSORS["network"](SensorContext(kind="network", proc=tmp_path / "proc"))
    sensor.open()
    before = (tmp_path / "proc/net/dev").read_text()
    write(tmp_path, "proc/net/dev", before.replace("eth0", "eth1"))
    assert list(sensor.read(0)) == [None] * 6
    write(tmp_path, "proc/net/dev", before)
    assert None not in sensor.read(0)


def test_an_interface_that_was_asked_for_and_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SensorAbsentError, match="no network interface wlan0; there are lo, eth0"):
        read("network", make_tree(tmp_path), interfaces=["wlan0"])


def test_temperatures_have_the_names_of_their_zones_and_chips(tmp_path: Path) -> None:
    assert read("temperature", make_tree(tmp_path)) == {
        "temperature.cpu-thermal": 48.312,
        "temperature.cpu-thermal_2": 50.0,
        "temperature.nvme.Composite": -5.0,
    }


def test_a_temperature_that_cannot_be_read_has_no_value_and_none_at_all_is_a_failure(tmp_path: Path) -> None:
    make_tree(tmp_path)
    sensor = SENSORS["temperature"](SensorContext(kind="temperature", sys=tmp_path / "sys"))
    sensor.open()
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").unlink()
    assert list(sensor.read(0)) == [None, 50.0, -5.0]
    for path in tmp_path.glob("sys/class/*/*/temp*"):
        path.unlink()
    with pytest.raises(SensorFailedError, match="none of the 3 temperatures"):
        sensor.read(0)


def test_battery(tmp_path: Path) -> None:
    assert read("battery", make_tree(tmp_path)) == {
        "battery.BAT0.charge": 87,
        "battery.BAT0.voltage": 12.034,
        "battery.BAT0.current": -1.5,
        "battery.BAT0.status": "Discharging",
    }


def test_disk_of_paths(tmp_path: Path) -> None:
    values = read("disk", tmp_path, paths=["/", str(tmp_path)])
    assert {"disk.root.used", "disk.root.available"} < set(values)
    assert all(isinstance(value, int) and value >= 0 for value in values.values())


@pytest.mark.parametrize("name", ["loadavg", "stat", "meminfo"])
def test_a_file_with_something_else_in_it_is_a_failure_and_not_a_value(tmp_path: Path, name: str) -> None:
    kind = {"loadavg": "load", "stat": "cpu", "meminfo": "memory"}[name]
    make_tree(tmp_path)
    sensor = SENSORS[kind](SensorContext(kind=kind, proc=tmp_path / "proc"))
    sensor.open()
    write(tmp_path, f"proc/{name}", "hello world it is late\n")
    with pytest.raises(SensorFailedError):
        sensor.read(0)


def test_host_stands_for_every_sensor() -> None:
    assert [sensor.name for sensor in make_sensors([SensorSettings(kind="host", interval_s=3)])] == sorted(SENSORS)


def test_host_takes_no_options() -> None:
    with pytest.raises(MisuseError, match="sensor host takes no options"):
        make_sensors([SensorSettings(kind="host", options={"paths": ["/"]})])


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(MisuseError, match="did you mean temperature"):
        constructor("temprature")


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("float64", 3, 3.0),
        ("float32", 0.1, 0.10000000149011612),
        ("int64", -(2**63), -(2**63)),
        ("bool", True, True),
        ("text", "ä", "ä"),
    ],
)
def test_values_that_fit_their_type(kind: Any, value: Value, kept: Value) -> None:
    found = check_value(Series(name="a", type=kind), value)
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("float64", "1"),
        ("float64", True),
        ("float32", 1e39),
        ("int64", 1.0),
        ("int64", 2**63),
        ("int64", True),
        ("bool", 1),
        ("text", 1),
        ("text", "x" * 5000),
        ("text", "\ud800"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(kind: Any, value: Value) -> None:
    with pytest.raises(SensorFailedError, match="series a is"):
        check_value(Series(name="a", type=kind), value)


def test_names_from_the_machine_are_made_valid() -> None:
    assert series_name("temperature", "Core 0 (left)") == "temperature.Core_0_left"
    assert series_name("a", "///") == "a._"
