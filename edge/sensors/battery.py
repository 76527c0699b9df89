"""Batteries: charge, voltage, current and status (the kernel's ABI/testing/sysfs-class-power)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.sensors.sensor import (
    SensorAbsentError,
    SensorContext,
    SensorFailedError,
    Series,
    SeriesType,
    Value,
    series_name,
)
from edge.sensors.sysfs import number, text

_QUANTITIES: dict[str, tuple[str, str, SeriesType, float | None]] = {  # file -> series, unit, type, resolution
    "capacity": ("charge", "%", "int64", 1),
    "voltage_now": ("voltage", "V", "float64", 1e-6),
    "current_now": ("current", "A", "float64", 1e-6),
    "status": ("status", "1", "text", None),
}


class BatterySensor:
    """Reads the batteries under /sys/class/power_supply."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        context.check_options()
        self.name = "battery"
        self.interval_s = context.interval_s
        self._class = context.sys / "class" / "power_supply"
        self._files: list[Path] = []

    def open(self) -> Sequence[Series]:
        found: list[Series] = []
        self._files = []
        for supply in sorted(self._class.glob("*")):
            if text(supply / "type") != "Battery":
                continue
            for file in _QUANTITIES:
                if text(supply / file) is not None:
                    self._files.append(supply / file)
                    found.append(self._series(supply.name, file))
        if not found:
            raise SensorAbsentError(f"there is no battery under {self._class}")
        return found

    def read(self, time_ns: int) -> Sequence[Value | None]:
        values = [self._value(path) for path in self._files]
        if all(value is None for value in values):
            raise SensorFailedError(f"no battery can be read; the first was {self._files[0].parent}")
        return values

    def close(self) -> None:
        self._files = []

    def _series(self, supply: str, file: str) -> Series:
        quantity, unit, kind, resolution = _QUANTITIES[file]
        return Series(
            name=series_name("battery", supply, quantity),
            unit=unit,
            type=kind,
            resolution=resolution,
            interval_s=self.interval_s,
            minimum=0 if quantity == "charge" else None,
            maximum=100 if quantity == "charge" else None,
            description=f"{quantity} of {supply}",
        )

    @staticmethod
    def _value(path: Path) -> Value | None:
        if path.name == "status":
            return text(path)
        value = number(path)
        return value if value is None or path.name == "capacity" else value / 1_000_000
