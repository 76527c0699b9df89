"""ADS1115: four analog inputs with 16 bits on I2C, each in the range and unit that the settings say.

Source: Texas Instruments SBAS444, tables 8-1 (full scale) and 8-3 (config register). One conversion an input and tick.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from edge.sensors.declared import SeriesOptions, scaled, unique
from edge.sensors.i2c import Bus, OpenBus, open_bus, read, write
from edge.sensors.sensor import Bad, Given, SensorContext, SensorFailedError, Series
from streams.settings import setting

_CONVERSION, _CONFIG = 0x00, 0x01
_INPUTS = {"A0-A1": 0, "A0-A3": 1, "A1-A3": 2, "A2-A3": 3, "A0": 4, "A1": 5, "A2": 6, "A3": 7}
_RANGES_V = {6.144: 0, 4.096: 1, 2.048: 2, 1.024: 3, 0.512: 4, 0.256: 5}
_RATES = {8: 0, 16: 1, 32: 2, 64: 3, 128: 4, 250: 5, 475: 6, 860: 7}
_START, _SINGLE, _NO_COMPARATOR, _READY = 1 << 15, 1 << 8, 0b11, 1 << 15
_CODES = 32768
_LOOKS_MAX = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ads1115SeriesOptions(SeriesOptions):
    """One input. The raw value is in volts."""

    input: str = setting(doc="A0 to A3 against ground, or a difference.", choices=tuple(_INPUTS))
    range_v: float = setting(2.048, "Full scale, plus and minus: 6.144, 4.096, 2.048, 1.024, 0.512 or 0.256.")

    def __post_init__(self) -> None:
        SeriesOptions.__post_init__(self)
        if self.range_v not in _RANGES_V:
            raise ValueError(f"range_v of {self.name} must be one of {', '.join(map(str, _RANGES_V))}")
        if self.type not in ("float64", "float32"):
            raise ValueError(f"series {self.name} must be float64 or float32, not {self.type}")

    @property
    def step_v(self) -> float:
        """Volts of one code."""
        return self.range_v / _CODES


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ads1115Options:
    """Where the chip is, and what is at its inputs."""

    bus: int = setting(1, "The bus: 1 is /dev/i2c-1.", minimum=0, maximum=255)
    address: int = setting(0x48, "0x48 to 0x4b, by the pin ADDR.", minimum=0x48, maximum=0x4B)
    samples_per_s: int = setting(128, "8, 16, 32, 64, 128, 250, 475 or 860: slower is quieter.")
    series: tuple[Ads1115SeriesOptions, ...] = setting((), "The inputs, one table each.")

    def __post_init__(self) -> None:
        unique(self.series)
        if self.samples_per_s not in _RATES:
            raise ValueError(f"samples_per_s must be one of {', '.join(map(str, _RATES))}, not {self.samples_per_s}")


class Ads1115Sensor:
    """Converts one input after the other at each tick."""

    may_block = True

    def __init__(self, context: SensorContext, open_bus: OpenBus = open_bus) -> None:
        self._options = context.read_options(Ads1115Options)
        self.name = context.name
        self.interval_s = context.interval_s
        self.timeout_s = context.timeout_s
        self._open_bus = open_bus
        self._bus: Bus | None = None

    def open(self) -> Sequence[Series]:
        return [self._series(each) for each in self._options.series]

    def read(self, time_ns: int) -> Sequence[Given]:
        try:
            if self._bus is None:
                self._bus = self._open_bus(self._options.bus)
            return [self._value(self._bus, each) for each in self._options.series]
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        if self._bus is not None:
            self._bus.close()
        self._bus = None

    def _series(self, each: Ads1115SeriesOptions) -> Series:
        return dataclasses.replace(
            each.declare(self.interval_s), resolution=each.resolution or each.step_v * abs(each.scale)
        )

    def _value(self, bus: Bus, each: Ads1115SeriesOptions) -> Given:
        address, rate = self._options.address, self._options.samples_per_s
        config = (
            _START | _INPUTS[each.input] << 12 | _RANGES_V[each.range_v] << 9 | _SINGLE | _RATES[rate] << 5
        ) | _NO_COMPARATOR
        write(bus, address, _CONFIG, config >> 8, config & 0xFF)
        for _ in range(_LOOKS_MAX):
            time.sleep(1.1 / rate)  # its own clock may be 10 % slow
            if int.from_bytes(read(bus, address, _CONFIG, 2), "big") & _READY:
                break
        else:
            raise SensorFailedError(f"the chip at 0x{address:02x} does not end its conversion")
        code = int.from_bytes(read(bus, address, _CONVERSION, 2), "big", signed=True)
        if code in (_CODES - 1, -_CODES):
            return Bad(f"input {each.input} is beyond its range of {each.range_v} V")
        return each.value(scaled(code, each.step_v, 0.0))
