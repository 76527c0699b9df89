"""BME280 (temperature, pressure, humidity) and BMP280 (without humidity) on I2C.

One measurement a tick (forced mode, each quantity once, no filter), as the data sheet suggests for weather. Between
ticks the chip sleeps and does not warm itself. Source: Bosch BST-BME280-DS002, 3.3, 3.5, 5.4 and 9.1.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from edge.sensors.bme280_compensation import Trimming, fine_temperature, humidity_percent, pressure_pa
from edge.sensors.i2c import Bus, OpenBus, open_bus, read, write
from edge.sensors.sensor import Bad, Given, SensorContext, SensorFailedError, Series
from streams.settings import setting

_CHIPS = {"bme280": (0x60,), "bmp280": (0x56, 0x57, 0x58)}
_ID, _TRIMMING_LOW, _TRIMMING_HIGH = 0xD0, 0x88, 0xE1
_CTRL_HUM, _STATUS, _CTRL_MEAS, _CONFIG, _DATA = 0xF2, 0xF3, 0xF4, 0xF5, 0xF7
_ONCE = 0b001
_FORCED = _ONCE << 5 | _ONCE << 2 | 0b01
_MEASURING = 1 << 3
_MEASURING_S = 0.0093
"""Longest time of one measurement of all three (9.1)."""
_LOOKS_MAX = 20
_NOT_MEASURED = (0x80000, 0x8000)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bme280Options:
    """Where the chip is."""

    chip: str = setting("bme280", "Which of the two.", choices=tuple(_CHIPS))
    bus: int = setting(1, "The bus: 1 is /dev/i2c-1.", minimum=0, maximum=255)
    address: int = setting(0x76, "0x76, or 0x77 when SDO is high.", minimum=0x76, maximum=0x77)


class Bme280Sensor:
    """Measures once at each tick; a chip that was unplugged is set up anew."""

    may_block = True

    def __init__(self, context: SensorContext, open_bus: OpenBus = open_bus) -> None:
        self._options = context.read_options(Bme280Options)
        self.name = context.name
        self.interval_s = context.interval_s
        self.timeout_s = context.timeout_s
        self._has_humidity = self._options.chip == "bme280"
        self._open_bus = open_bus
        self._bus: Bus | None = None
        self._trimming: Trimming | None = None

    def open(self) -> Sequence[Series]:
        declared = [
            self._series("temperature", "Cel", 0.01, -40, 85),
            self._series("pressure", "Pa", 0.01, 30_000, 110_000),
        ]
        return [*declared, self._series("humidity", "%", 0.01, 0, 100)] if self._has_humidity else declared

    def read(self, time_ns: int) -> Sequence[Given]:
        try:
            return self._values()
        except Exception:
            self.close()  # it may have lost its power, and with it its settings
            raise

    def close(self) -> None:
        if self._bus is not None:
            self._bus.close()
        self._bus = self._trimming = None

    def _series(self, quantity: str, unit: str, resolution: float, minimum: float, maximum: float) -> Series:
        return Series(
            name=f"{self.name}.{quantity}",
            unit=unit,
            resolution=resolution,
            interval_s=self.interval_s,
            minimum=minimum,
            maximum=maximum,
            description=f"{quantity}, {self._options.chip} at 0x{self._options.address:02x}",
        )

    def _values(self) -> list[Given]:
        if self._bus is None:
            self._bus = self._open_bus(self._options.bus)
        bus, address = self._bus, self._options.address
        if self._trimming is None:
            self._trimming = self._set_up(bus)
        if self._has_humidity:
            write(bus, address, _CTRL_HUM, _ONCE)
        write(bus, address, _CTRL_MEAS, _FORCED)
        for _ in range(_LOOKS_MAX):
            time.sleep(_MEASURING_S)
            if not read(bus, address, _STATUS, 1)[0] & _MEASURING:
                return self._compensated(self._trimming, read(bus, address, _DATA, 8 if self._has_humidity else 6))
        raise SensorFailedError(f"the chip at 0x{address:02x} does not end its measurement")

    def _set_up(self, bus: Bus) -> Trimming:
        address = self._options.address
        found = read(bus, address, _ID, 1)[0]
        if found not in _CHIPS[self._options.chip]:
            other = next((chip for chip, numbers in _CHIPS.items() if found in numbers), "something else")
            raise SensorFailedError(f"at 0x{address:02x} is no {self._options.chip} but {other} (id 0x{found:02x})")
        write(bus, address, _CONFIG, 0)
        low = read(bus, address, _TRIMMING_LOW, 26)
        return Trimming.from_registers(low, read(bus, address, _TRIMMING_HIGH, 7) if self._has_humidity else b"")

    def _compensated(self, trimming: Trimming, data: bytes) -> list[Given]:
        raw_pressure = int.from_bytes(data[0:3], "big") >> 4
        raw_temperature = int.from_bytes(data[3:6], "big") >> 4
        if raw_temperature in _NOT_MEASURED or raw_pressure in _NOT_MEASURED:
            raise SensorFailedError("the chip has not measured: it was reset meanwhile")
        fine = fine_temperature(trimming, raw_temperature)
        pressure = pressure_pa(trimming, raw_pressure, fine)
        values: list[Given] = [
            round(fine / 5120.0, 2),
            Bad("its constants allow no pressure") if pressure is None else round(pressure, 2),
        ]
        if self._has_humidity:
            raw = int.from_bytes(data[6:8], "big")
            values.append(round(humidity_percent(trimming, raw, fine), 2))
        return values
