"""Temperatures that the kernel knows: thermal zones and hardware monitors, in degrees Celsius.

Source: the kernel's documentation of sysfs, driver-api/thermal and hwmon/sysfs-interface. Some lie behind a slow bus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.sensors.sensor import SensorAbsentError, SensorContext, SensorFailedError, Series, Value, series_name
from edge.sensors.sysfs import number, text


class TemperatureSensor:
    """Reads /sys/class/thermal and /sys/class/hwmon."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        context.check_options()
        self.name = "temperature"
        self.interval_s = context.interval_s
        self._class = context.sys / "class"
        self._inputs: list[Path] = []

    def open(self) -> Sequence[Series]:
        found: dict[str, Path] = {}
        for name, path in self._candidates():
            unique, again = name, 2
            while unique in found:
                unique, again = f"{name}_{again}", again + 1
            found[unique] = path
        if not found:
            raise SensorAbsentError(f"there is no thermal zone and no temperature input under {self._class}")
        self._inputs = list(found.values())
        return [
            Series(
                name=name,
                unit="Cel",
                resolution=0.001,
                interval_s=self.interval_s,
                minimum=-273.15,
                description=f"temperature, {path}",
            )
            for name, path in found.items()
        ]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        values: list[Value | None] = []
        for path in self._inputs:
            millidegrees = number(path)
            values.append(None if millidegrees is None else millidegrees / 1000)
        if all(value is None for value in values):
            raise SensorFailedError(
                f"none of the {len(values)} temperatures can be read; the first is {self._inputs[0]}"
            )
        return values

    def close(self) -> None:
        self._inputs = []

    def _candidates(self) -> Iterator[tuple[str, Path]]:
        for zone in sorted(self._class.glob("thermal/thermal_zone*")):
            if number(zone / "temp") is not None:
                yield series_name("temperature", text(zone / "type") or zone.name), zone / "temp"
        for path in sorted(self._class.glob("hwmon/hwmon*/temp*_input")):
            if number(path) is None:
                continue
            chip = text(path.parent / "name") or path.parent.name
            which = path.name.removesuffix("_input")
            yield series_name("temperature", chip, text(path.with_name(f"{which}_label")) or which), path
