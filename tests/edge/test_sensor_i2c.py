from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sensors.ads1115 import Ads1115Sensor
from edge.sensors.bme280 import Bme280Sensor
from edge.sensors.bme280_compensation import Trimming, fine_temperature, humidity_percent, pressure_pa
from edge.sensors.contract import SensorContract
from edge.sensors.i2c import open_bus
from edge.sensors.sensor import Bad, SensorContext, SensorFailedError
from streams.errors import MisuseError
from tests.edge.chips import RAW_PRESSURE, RAW_TEMPERATURE, Ads1115Chip, Bme280Chip, ChipBus, H, P, T
from tests.edge.samples import sample

TRIMMING = Trimming(T, P, H)


def bme280(bus: ChipBus, **options: Any) -> Bme280Sensor:
    return Bme280Sensor(SensorContext(kind="bme280", options=options), bus.open)


def ads1115(bus: ChipBus, *series: dict[str, Any], **options: Any) -> Ads1115Sensor:
    options = {"samples_per_s": 860, "series": list(series), **options}
    return Ads1115Sensor(SensorContext(kind="ads1115", options=options), bus.open)


class TestBme280Contract(SensorContract):
    @staticmethod
    def constructor(context: SensorContext) -> Bme280Sensor:
        return Bme280Sensor(context, ChipBus(Bme280Chip()).open)


class TestAds1115Contract(SensorContract):
    @staticmethod
    def constructor(context: SensorContext) -> Ads1115Sensor:
        return Ads1115Sensor(context, ChipBus(Ads1115Chip(A0=1.0)).open)

    def options(self) -> Mapping[str, Any]:
        return {"samples_per_s": 860, "series": [{"name": "level", "input": "A0"}]}


# -- the BME280's data sheet ---


def test_the_data_sheets_example() -> None:
    fine = fine_temperature(TRIMMING, RAW_TEMPERATURE)
    assert round(fine) == 128422
    assert round(fine / 5120, 2) == 25.08
    assert round(pressure_pa(TRIMMING, RAW_PRESSURE, fine) or 0, 2) == 100653.27


def integer_compensation(raw_t: int, raw_p: int, raw_h: int) -> tuple[float, float, float]:
    """The data sheet's other formulas (4.2.3): 32 and 64 bit integers. In degrees, pascals, percent."""
    t1, t2, t3 = T
    var1 = (((raw_t >> 3) - (t1 << 1)) * t2) >> 11
    var2 = (((((raw_t >> 4) - t1) * ((raw_t >> 4) - t1)) >> 12) * t3) >> 14
    fine = var1 + var2
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = P
    var1 = fine - 128000
    var2 = var1 * var1 * p6 + ((var1 * p5) << 17) + (p4 << 35)
    var1 = ((var1 * var1 * p3) >> 8) + ((var1 * p2) << 12)
    var1 = (((1 << 47) + var1) * p1) >> 33
    p = 1048576 - raw_p
    p = (((p << 31) - var2) * 3125) // var1
    var1 = (p9 * (p >> 13) * (p >> 13)) >> 25
    var2 = (p8 * p) >> 19
    p = ((p + var1 + var2) >> 8) + (p7 << 4)
    h1, h2, h3, h4, h5, h6 = H
    v = fine - 76800
    v = ((((raw_h << 14) - (h4 << 20) - (h5 * v)) + 16384) >> 15) * (
        (((((((v * h6) >> 10) * (((v * h3) >> 11) + 32768)) >> 10) + 2097152) * h2) + 8192) >> 14
    )
    v = v - (((((v >> 15) * (v >> 15)) >> 7) * h1) >> 4)
    v = min(419430400, max(0, v))
    return ((fine * 5 + 128) >> 8) / 100, p / 256, (v >> 12) / 1024


@given(st.integers(400_000, 600_000), st.integers(250_000, 450_000), st.integers(0x5000, 0x8FFF))
def test_both_of_the_data_sheets_formulas_agree(raw_t: int, raw_p: int, raw_h: int) -> None:
    temperature, pressure, humidity = integer_compensation(raw_t, raw_p, raw_h)
    fine = fine_temperature(TRIMMING, raw_t)
    assert fine / 5120 == pytest.approx(temperature, abs=0.011)
    assert pressure_pa(TRIMMING, raw_p, fine) == pytest.approx(pressure, abs=1.0)
    assert humidity_percent(TRIMMING, raw_h, fine) == pytest.approx(humidity, abs=0.05)


def test_the_constants_are_where_the_data_sheet_has_them() -> None:
    chip = Bme280Chip()
    assert Trimming.from_registers(chip.read(0x88, 26), chip.read(0xE1, 7)) == TRIMMING
    negative = bytes([0, 0, 0, 0xFF, 0xFE, 0xFF, 0])  # E4, E5, E6
    assert Trimming.from_registers(chip.read(0x88, 26), negative).h[3:5] == (-2, -1)


def test_constants_that_allow_no_pressure_give_none() -> None:
    assert pressure_pa(Trimming(T, (0,) * 9), RAW_PRESSURE, 128422.0) is None


# -- the chip on its bus ---


def test_each_tick_is_one_measurement() -> None:
    chip = Bme280Chip(busy_looks=3)
    sensor = bme280(ChipBus(chip))
    assert [each.name for each in sensor.open()] == ["bme280.temperature", "bme280.pressure", "bme280.humidity"]
    values = sensor.read(0)
    assert values[:2] == [25.08, 100653.27]
    assert isinstance(values[2], float)
    assert 0 < values[2] < 100
    sensor.read(1)
    assert chip.measurements == 2


def test_a_bmp280_has_no_humidity() -> None:
    sensor = bme280(ChipBus(Bme280Chip(number=0x58)), chip="bmp280")
    assert len(sensor.open()) == 2
    assert sensor.read(0) == [25.08, 100653.27]


def test_another_chip_is_named() -> None:
    with pytest.raises(SensorFailedError, match="at 0x76 is no bme280 but bmp280"):
        bme280(ChipBus(Bme280Chip(number=0x58))).read(0)
    with pytest.raises(SensorFailedError, match="no bmp280 but something else"):
        bme280(ChipBus(Bme280Chip(number=0x61)), chip="bmp280").read(0)


def test_a_chip_that_is_pulled_out_is_set_up_anew_when_it_is_back() -> None:
    bus = ChipBus(Bme280Chip())
    sensor = bme280(bus)
    sensor.read(0)
    chip = bus.chips.pop()
    with pytest.raises(SensorFailedError, match="nothing answers at I2C address 0x76: Remote I/O error"):
        sensor.read(0)
    assert bus.opened == 0, "the bus is let go"
    bus.chips.append(chip)
    assert sensor.read(0)[0] == 25.08


def test_a_chip_that_does_not_end_its_measurement_is_a_failure() -> None:
    with pytest.raises(SensorFailedError, match="does not end its measurement"):
        bme280(ChipBus(Bme280Chip(busy_looks=10_000))).read(0)


# -- ADS1115 ---


def test_volts_in_steps_of_the_range() -> None:
    bus = ChipBus(Ads1115Chip(A0=1.5, A1=0.1, A3=-0.05))
    sensor = ads1115(
        bus,
        {"name": "a", "input": "A0", "range_v": 4.096},
        {"name": "b", "input": "A1", "range_v": 0.256},
        {"name": "c", "input": "A0-A1"},
        {"name": "d", "input": "A3", "range_v": 0.256},
    )
    assert [each.resolution for each in sensor.open()] == [0.000125, 0.0000078125, 0.0000625, 0.0000078125]
    assert sensor.read(0) == [1.5, 0.1, 1.4, -0.05]


def test_a_current_loop_in_units_of_what_it_measures() -> None:
    loop = {"name": "pressure", "input": "A0", "scale": 6.25, "offset": -2.5, "unit": "bar"}  # 4-20 mA over 100 ohm
    sensor = ads1115(ChipBus(Ads1115Chip(A0=1.2)), loop)
    assert sensor.open()[0].resolution == 0.0000625 * 6.25
    assert sensor.read(0) == [5.0]


@pytest.mark.parametrize("volts", [2.5, -2.5])
def test_an_input_beyond_its_range_is_bad_and_the_others_are_not(volts: float) -> None:
    sensor = ads1115(ChipBus(Ads1115Chip(A0=volts, A1=1.0)), {"name": "a", "input": "A0"}, {"name": "b", "input": "A1"})
    assert sensor.read(0) == [Bad("input A0 is beyond its range of 2.048 V"), 1.0]


def test_options_that_cannot_be_are_misuse() -> None:
    with pytest.raises(MisuseError, match=r"range_v of a must be one of 6\.144"):
        ads1115(ChipBus(), {"name": "a", "input": "A0", "range_v": 5.0})
    with pytest.raises(MisuseError, match="samples_per_s must be one of 8"):
        ads1115(ChipBus(), {"name": "a", "input": "A0"}, samples_per_s=100)
    with pytest.raises(MisuseError, match="address must be from 118 to 119"):
        bme280(ChipBus(), address=0x40)


def test_a_machine_without_the_bus_is_told_how_to_switch_it_on() -> None:
    with pytest.raises(SensorFailedError, match=r"there is no /dev/i2c-99; switch I2C on \(raspi-config"):
        open_bus(99)


def test_the_samples_read_their_chips(tmp_path: Path) -> None:
    bus = ChipBus(Bme280Chip(), Ads1115Chip(A0=1.2, A1=2.0))
    for kind, constructor in (("bme280", Bme280Sensor), ("ads1115", Ads1115Sensor)):
        (settings,) = sample(kind, tmp_path).sensors
        sensor = constructor(SensorContext(kind=kind, name=settings.name, options=settings.options), bus.open)
        values = sensor.read(0)
        assert len(values) == len(sensor.open())
        assert not any(isinstance(value, Bad) for value in values)
