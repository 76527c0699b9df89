"""Settings: what is wrong is named with file, line, value and remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from streams.settings import SettingsError, leaves, load, section, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    port: int = setting(1883, "The port.", minimum=1, maximum=65535)
    host: str = setting("127.0.0.1", "The address.")
    password: str | None = setting(None, "The password.", secret=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    kind: str = setting(doc="What it is.")
    interval_s: float = setting(1.0, "How often.", minimum=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    mqtt: Mqtt = section(Mqtt)
    mode: str = setting("open", "How.", choices=("open", "closed"))
    names: tuple[str, ...] = setting((), "Names.")
    sensors: tuple[Sensor, ...] = setting((), "Sensors.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    room: Room = section(Room)


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "penstock.toml"
    path.write_text(text)
    return path


def test_defaults_then_file_then_environment_then_flags(tmp_path: Path) -> None:
    path = file(tmp_path, '[room]\nnames = ["a"]\n[room.mqtt]\nport = 1\nhost = "file"\n')
    environment = {"PENSTOCK_ROOM__MQTT__PORT": "2", "PENSTOCK_DATA": "x", "HOME": "/"}
    whole = load(Whole, file=path, environment=environment, flags={"room.mqtt.port": "3"})
    assert (whole.room.mqtt.port, whole.room.mqtt.host, whole.room.names) == (3, "file", ("a",))
    assert load(Whole, file=path, environment=environment).room.mqtt.port == 2
    assert load(Whole, file=path).room.mqtt.port == 1
    assert load(Whole).room.mqtt.port == 1883


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[room]\n\n[room.mqtt]\nprot = 1\n", 4, ["room.mqtt.prot", "did you mean port?"]),
        ("[rom]\nx = 1\n", 1, ["rom", "did you mean room?"]),
        ('[room.mqtt]\nport = "1883"\n', 2, ["room.mqtt.port", "whole number", "'1883'"]),
        ("[room.mqtt]\nport = true\n", 2, ["whole number", "True"]),
        ("[room.mqtt]\nport = 0\n", 2, ["from 1 to 65535", "not 0"]),
        ('[room]\nmode = "ajar"\n', 2, ["one of open, closed", "'ajar'"]),
        ('[room]\nnames = "a"\n', 2, ["a list"]),
        ('[[room.sensors]]\nkind = "a"\n[[room.sensors]]\nkind = "b"\ninterval = 2\n', 5, ["sensors.1.interval"]),
        ("[[room.sensors]]\ninterval_s = 2\n", 1, ["room.sensors.0.kind is missing", "What it is."]),
        ("room.mqtt.port = 99999\n", 1, ["from 1 to 65535"]),
        ("[room]\nmqtt = 5\n", 2, ["must be a table"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, line: int, words: list[str]) -> None:
    path = file(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(Whole, file=path)
    message = str(caught.value)
    assert f"{path} line {line}:" in message
    for word in words:
        assert word in message
    assert caught.value.exit_status == 2


def test_broken_toml_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"not valid TOML.*line 1"):
        load(Whole, file=file(tmp_path, "[room\n"))
    with pytest.raises(SettingsError, match=r"there is no settings file .*absent\.toml; name another with --config"):
        load(Whole, file=tmp_path / "absent.toml")


def test_environment_and_flags_are_checked_by_name() -> None:
    with pytest.raises(SettingsError, match="environment variable PENSTOCK_ROOM__MQTT__PROT: there is no setting"):
        load(Whole, environment={"PENSTOCK_ROOM__MQTT__PROT": "1"})
    with pytest.raises(SettingsError, match=r"flag for room\.mqtt\.port: room\.mqtt\.port must be a whole number"):
        load(Whole, flags={"room.mqtt.port": "many"})
    with pytest.raises(SettingsError, match=r"environment variable PENSTOCK_ROOM__MQTT__PORT.*from 1 to 65535"):
        load(Whole, environment={"PENSTOCK_ROOM__MQTT__PORT": "0"})


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    whole = load(Whole, flags={"room.mqtt.password": "hunter2"})
    assert whole.room.mqtt.password == "hunter2"
    assert "hunter2" not in repr(whole)
    with pytest.raises(SettingsError) as caught:
        load(Whole, file=file(tmp_path, "[room.mqtt]\npassword = 271828\n"))
    assert "271828" not in str(caught.value)


def test_every_leaf_knows_its_variable() -> None:
    assert [leaf.variable for leaf in leaves(Whole)][:3] == [
        "PENSTOCK_ROOM__MODE", "PENSTOCK_ROOM__NAMES", "PENSTOCK_ROOM__SENSORS",
    ]  # fmt: skip
    assert [leaf.variable for leaf in leaves(Whole)][3] == "PENSTOCK_ROOM__MQTT__PORT"
