"""GPIO inputs and pulse counters on the pins that gpiozero brings for tests: a program drives their levels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gpiozero
import pytest
from gpiozero.pins.mock import MockFactory

from edge.sensors.contract import SensorContract
from edge.sensors.gpio import GpioSensor
from edge.sensors.pulses import PulseSensor
from edge.sensors.registry import make_sensors
from edge.sensors.sensor import SensorFailedError, is_sampled
from tests.edge.opened import make, running, wait_for
from tests.edge.samples import sample


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    before, gpiozero.Device.pin_factory = gpiozero.Device.pin_factory, MockFactory()
    yield gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory.close()
    gpiozero.Device.pin_factory = before


class TestGpioContract(SensorContract):
    constructor = GpioSensor

    @pytest.fixture(autouse=True)
    def _pins(self, pins: MockFactory) -> None:
        pass

    def options(self) -> Mapping[str, Any]:
        return {"series": [{"name": "door", "pin": "GPIO17"}]}


class TestPulsesContract(TestGpioContract):
    constructor = PulseSensor


def test_each_change_is_a_reading_and_the_level_comes_at_each_interval(pins: MockFactory) -> None:
    sensor = make("gpio", interval_s=60.0, series=[{"name": "door", "pin": "GPIO17", "pull": "down"}])
    with running(sensor) as heard:
        assert heard.values(1) == [False]
        pins.pin(17).drive_high()
        pins.pin(17).drive_low()
        assert heard.values(3) == [False, True, False]
    with running(make("gpio", interval_s=0.01, series=[{"name": "door", "pin": "GPIO17"}])) as heard:
        assert heard.values(4) == [False] * 4


@pytest.mark.parametrize(("pull", "idle"), [("up", True), ("down", False)])
@pytest.mark.parametrize("invert", [False, True])
def test_a_value_is_the_level_unless_it_is_inverted(pins: MockFactory, pull: str, idle: bool, invert: bool) -> None:
    series = [{"name": "door", "pin": "GPIO17", "pull": pull, "invert": invert}]
    with running(make("gpio", interval_s=60.0, series=series)) as heard:
        heard.values(1)
        (pins.pin(17).drive_low if idle else pins.pin(17).drive_high)()
        assert heard.values(2) == [idle != invert, idle == invert]


@pytest.mark.parametrize("edge", ["rising", "falling"])
@pytest.mark.parametrize("pull", ["none", "up", "down"])
def test_pulses_are_counted_at_one_edge(pins: MockFactory, edge: str, pull: str) -> None:
    sensor = make("pulses", series=[{"name": "n", "pin": "GPIO5", "pull": pull, "edge": edge}])
    pins.pin(5).drive_low() if pull != "up" else None
    assert is_sampled(sensor)
    sensor.open()
    pin = pins.pin(5)
    first, second = (pin.drive_low, pin.drive_high) if pull == "up" else (pin.drive_high, pin.drive_low)
    for _ in range(250):
        first()
        second()
    wait_for(lambda: list(sensor.read(0)) == [250])
    first()
    assert list(sensor.read(0)) == [250 + ((edge == "falling") == (pull == "up"))]
    sensor.close()


def test_counts_in_units_of_the_meter(pins: MockFactory) -> None:
    series = [{"name": "energy", "pin": "GPIO5", "type": "float64", "scale": 0.001, "unit": "kW.h"}]
    sensor = make("pulses", series=series)
    assert is_sampled(sensor)
    (declared,) = sensor.open()
    assert (declared.resolution, declared.minimum) == (0.001, 0)
    for _ in range(3):
        pins.pin(5).drive_high()
        pins.pin(5).drive_low()
    assert sensor.read(0) == [0.003]
    sensor.close()


def test_a_pin_that_is_in_use_or_not_there_is_named(pins: MockFactory) -> None:
    with gpiozero.DigitalInputDevice("GPIO5"), pytest.raises(SensorFailedError, match=r"pin GPIO5: .*in use"):
        make("pulses", series=[{"name": "n", "pin": "GPIO5"}]).open()
    with pytest.raises(SensorFailedError, match="pin GPIO99"):
        make("pulses", series=[{"name": "n", "pin": "GPIO99"}]).open()


@pytest.mark.parametrize("kind", ["gpio", "pulses"])
def test_the_samples_work(kind: str, pins: MockFactory, tmp_path: Path) -> None:
    (sensor,) = make_sensors(sample(kind, tmp_path).sensors)
    if is_sampled(sensor):
        assert len(sensor.open()) == len(sensor.read(0))
        sensor.close()
    else:
        with running(sensor) as heard:
            heard.values(1)
