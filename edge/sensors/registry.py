"""Sensors by name: those built in, and those that users install (entry points `penstock.sensors`)."""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path

from edge.sensors.battery import BatterySensor
from edge.sensors.cpu import CpuSensor
from edge.sensors.disk import DiskSensor
from edge.sensors.load import LoadSensor
from edge.sensors.memory import MemorySensor
from edge.sensors.network import NetworkSensor
from edge.sensors.sensor import Sensor, SensorContext
from edge.sensors.temperature import TemperatureSensor
from edge.settings import SensorSettings
from streams.errors import MisuseError

Constructor = Callable[[SensorContext], Sensor]

ENTRY_POINTS = "penstock.sensors"

SENSORS: dict[str, Constructor] = {
    "battery": BatterySensor,
    "cpu": CpuSensor,
    "disk": DiskSensor,
    "load": LoadSensor,
    "memory": MemorySensor,
    "network": NetworkSensor,
    "temperature": TemperatureSensor,
}

HOST = "host"
"""The kind that stands for every built-in sensor of this machine."""


def constructor(kind: str) -> Constructor:
    """The constructor of a kind of sensor. MisuseError names the nearest that there is."""
    if kind in SENSORS:
        return SENSORS[kind]
    installed = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if kind in installed:
        made: Constructor = installed[kind].load()
        return made
    known = sorted({HOST, *SENSORS, *installed})
    near = difflib.get_close_matches(kind, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise MisuseError(f"there is no kind of sensor {kind!r}; {hint}")


def make_sensors(
    settings: Iterable[SensorSettings], *, proc: Path = Path("/proc"), sys: Path = Path("/sys")
) -> list[Sensor]:
    """The sensors that the settings ask for, not opened yet. MisuseError when one cannot be made."""
    sensors: list[Sensor] = []
    for each in settings:
        kinds = sorted(SENSORS) if each.kind == HOST else [each.kind]
        if each.kind == HOST and each.options:
            raise MisuseError("sensor host takes no options; name the sensor that should have them, for example disk")
        for kind in kinds:
            context = SensorContext(kind=kind, interval_s=each.interval_s, options=each.options, proc=proc, sys=sys)
            sensors.append(constructor(kind)(context))
    return sensors
