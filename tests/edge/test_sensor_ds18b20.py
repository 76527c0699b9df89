from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.sensors.contract import SensorContract
from edge.sensors.ds18b20 import Ds18b20Sensor
from edge.sensors.sensor import AnySensor, Bad, SensorAbsentError, SensorContext, SensorFailedError
from streams.errors import MisuseError
from tests.edge.samples import sample
from tests.edge.trees import write

DEVICES = "sys/bus/w1/devices"
ONE, TWO = "28-00000a1b2c3d", "28-00000a1b2c3e"
WARM = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n"
COLD = "5e ff 4b 46 7f ff 02 10 ab : crc=ab YES\n5e ff 4b 46 7f ff 02 10 ab t=-10125\n"
DISTURBED = "72 01 4b 46 7f ff 0e 10 57 : crc=11 NO\n72 01 4b 46 7f ff 0e 10 57 t=23125\n"
SHORTED = "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n"
POWER_ON = "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n"
TRULY_85 = "50 05 4b 46 7f ff 10 10 9c : crc=9c YES\n50 05 4b 46 7f ff 10 10 9c t=85000\n"


def bus(root: Path, **slaves: str) -> Path:
    (root / DEVICES / "w1_bus_master1").mkdir(parents=True)
    for name, said in slaves.items():
        write(root, f"{DEVICES}/{name}/w1_slave", said)
    return root


def make(root: Path, **options: Any) -> Ds18b20Sensor:
    return Ds18b20Sensor(SensorContext(kind="ds18b20", options=options, sys=root / "sys"))


class TestContract(SensorContract):
    @pytest.fixture(autouse=True)
    def _bus(self, tmp_path: Path) -> None:
        self.root = bus(tmp_path, **{ONE: WARM, TWO: COLD})

    def make(self, **options: Any) -> AnySensor:
        context = SensorContext(kind="x", name="under-test", interval_s=2.5, options=options, sys=self.root / "sys")
        return Ds18b20Sensor(context)


def test_every_thermometer_on_the_bus_has_its_series(tmp_path: Path) -> None:
    sensor = make(bus(tmp_path, **{ONE: WARM, TWO: COLD}))
    assert [each.name for each in sensor.open()] == [f"ds18b20.{ONE}", f"ds18b20.{TWO}"]
    assert sensor.read(0) == [23.125, -10.125]


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (DISTURBED, Bad(f"{TWO} is disturbed on its way (checksum): look at cable and pull-up resistor")),
        (SHORTED, Bad(f"{TWO} is disturbed on its way (checksum): look at cable and pull-up resistor")),
        (POWER_ON, Bad(f"{TWO} has lost power and not measured yet (85 degrees)")),
        (TRULY_85, 85.0),
        ("", Bad(f"{TWO} does not answer")),
        ("hello", Bad(f"{TWO} says 'hello'")),
    ],
)
def test_one_that_cannot_be_believed_is_bad_and_the_other_is_not(tmp_path: Path, said: str, value: object) -> None:
    sensor = make(bus(tmp_path, **{ONE: WARM, TWO: said}))
    sensor.open()
    assert sensor.read(0) == [23.125, value]


def test_those_that_the_settings_name_need_not_be_there_at_the_start(tmp_path: Path) -> None:
    sensor = make(bus(tmp_path), ids=[ONE])
    assert len(sensor.open()) == 1
    with pytest.raises(SensorFailedError, match=f"{ONE} does not answer"):
        sensor.read(0)
    write(tmp_path, f"{DEVICES}/{ONE}/w1_slave", WARM)
    assert sensor.read(0) == [23.125]


def test_where_the_kernel_can_all_measure_at_once(tmp_path: Path) -> None:
    sensor = make(bus(tmp_path, **{ONE: WARM}))
    write(tmp_path, f"{DEVICES}/w1_bus_master1/therm_bulk_read", "0\n")
    sensor.open()
    sensor.read(0)
    assert (tmp_path / DEVICES / "w1_bus_master1" / "therm_bulk_read").read_text() == "trigger\n"


def test_a_bus_without_thermometers_says_what_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(SensorAbsentError, match=r"is dtoverlay=w1-gpio in config\.txt"):
        make(tmp_path).open()


def test_what_is_no_id_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="'28-xyz' is not an id of a thermometer"):
        make(tmp_path, ids=["28-xyz"])


def test_the_sample_reads_its_thermometers(tmp_path: Path) -> None:
    (settings,) = sample("ds18b20", tmp_path).sensors
    sensor = make(bus(tmp_path, **dict.fromkeys(settings.options["ids"], WARM)), **settings.options)
    sensor.open()
    assert set(sensor.read(0)) == {23.125}
