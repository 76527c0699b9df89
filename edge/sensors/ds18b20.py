"""DS18B20 thermometers on the 1-wire bus, by the kernel's w1_therm driver (sysfs).

Source: the kernel's documentation, w1/slaves/w1_therm; DS18B20 data sheet (Maxim 19-7487), memory map and table 1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from edge.sensors.sensor import Bad, Given, SensorAbsentError, SensorContext, SensorFailedError, Series, series_name
from edge.sensors.sysfs import text
from streams.settings import setting

_SLAVE = re.compile(
    r"(?P<bytes>(?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (?P<crc>YES|NO)\n(?:[0-9a-f]{2} ){9}t=(?P<t>-?\d+)"
)
_POWER_ON_MILLIDEGREES = 85_000
_POWER_ON_BYTE_6 = "0c"
"""What the reserved byte 6 holds before the first conversion; a true 85 degrees leaves another value there."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ds18b20Options:
    """Which thermometers."""

    ids: tuple[str, ...] = setting((), "Their ids, such as 28-00000a1b2c3d; empty: those that are there at the start.")

    def __post_init__(self) -> None:
        for each in self.ids:
            if not re.fullmatch(r"[0-9a-f]{2}-[0-9a-f]{12}", each):
                raise ValueError(f"{each!r} is not an id of a thermometer: write it like 28-00000a1b2c3d")


class Ds18b20Sensor:
    """All thermometers measure at the same time where the kernel can do that (5.10 and later), else one by one."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(Ds18b20Options)
        self.name = context.name
        self.interval_s = context.interval_s
        self.timeout_s = context.timeout_s
        self._devices = context.sys / "bus" / "w1" / "devices"
        self._ids: tuple[str, ...] = ()

    def open(self) -> Sequence[Series]:
        self._ids = self._options.ids or tuple(sorted(path.name for path in self._devices.glob("28-*")))
        if not self._ids:
            raise SensorAbsentError(
                f"there is no thermometer 28-... under {self._devices}; is dtoverlay=w1-gpio in config.txt?"
            )
        return [
            Series(
                name=series_name(self.name, each),
                unit="Cel",
                resolution=0.0625,
                interval_s=self.interval_s,
                minimum=-55,
                maximum=125,
                description=f"thermometer {each}",
            )
            for each in self._ids
        ]

    def read(self, time_ns: int) -> Sequence[Given]:
        for trigger in self._devices.glob("w1_bus_master*/therm_bulk_read"):
            with contextlib.suppress(OSError):  # without it each read starts a conversion of its own
                trigger.write_text("trigger\n")
        values = [_value(self._devices / each) for each in self._ids]
        if all(isinstance(value, Bad) for value in values):
            raise SensorFailedError("; ".join(value.reason for value in values if isinstance(value, Bad)))
        return values

    def close(self) -> None:
        self._ids = ()


def _value(device: Path) -> Given:
    said = text(device / "w1_slave")
    if not said:
        return Bad(f"{device.name} does not answer")
    match = _SLAVE.search(said)
    if match is None:
        return Bad(f"{device.name} says {said[:80]!r}")
    if match["crc"] != "YES" or match["bytes"].split() == ["00"] * 9:
        return Bad(f"{device.name} is disturbed on its way (checksum): look at cable and pull-up resistor")
    millidegrees = int(match["t"])
    if millidegrees == _POWER_ON_MILLIDEGREES and match["bytes"].split()[6] == _POWER_ON_BYTE_6:
        return Bad(f"{device.name} has lost power and not measured yet (85 degrees)")
    return millidegrees / 1000
