"""Sensors by name: those built in, and those that users install (entry points `penstock.sensors`)."""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path

from edge.sensors.sensor import AnySensor, SensorContext
from edge.settings import SensorSettings
from streams.errors import MisuseError

Constructor = Callable[[SensorContext], AnySensor]

ENTRY_POINTS = "penstock.sensors"

HOST_SENSORS: dict[str, str] = {
    "battery": "edge.sensors.battery:BatterySensor",
    "cpu": "edge.sensors.cpu:CpuSensor",
    "disk": "edge.sensors.disk:DiskSensor",
    "load": "edge.sensors.load:LoadSensor",
    "memory": "edge.sensors.memory:MemorySensor",
    "network": "edge.sensors.network:NetworkSensor",
    "temperature": "edge.sensors.temperature:TemperatureSensor",
    "throttling": "edge.sensors.throttling:ThrottlingSensor",
}

SENSORS: dict[str, str] = {
    **HOST_SENSORS,
    "ads1115": "edge.sensors.ads1115:Ads1115Sensor",
    "bme280": "edge.sensors.bme280:Bme280Sensor",
    "ds18b20": "edge.sensors.ds18b20:Ds18b20Sensor",
    "gpio": "edge.sensors.gpio:GpioSensor",
    "http": "edge.sensors.http:HttpSensor",
    "modbus": "edge.sensors.modbus:ModbusSensor",
    "mqtt": "edge.sensors.mqtt:MqttSensor",
    "opcua": "edge.sensors.opcua:OpcuaSensor",
    "program": "edge.sensors.program:ProgramSensor",
    "pulses": "edge.sensors.pulses:PulseSensor",
    "serial": "edge.sensors.serial_line:SerialSensor",
    "tail": "edge.sensors.tail:TailSensor",
}
"""Where each kind is, written as an entry point is: what is not used is not imported."""

HOST = "host"
"""The kind that stands for every sensor of the machine itself."""


def constructor(kind: str) -> Constructor:
    """The constructor of a kind of sensor. MisuseError names the nearest that there is."""
    installed = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    built_in = {name: importlib.metadata.EntryPoint(name, where, ENTRY_POINTS) for name, where in SENSORS.items()}
    if point := built_in.get(kind) or installed.get(kind):
        return _load(point)
    known = sorted({HOST, *SENSORS, *installed})
    near = difflib.get_close_matches(kind, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise MisuseError(f"there is no kind of sensor {kind!r}; {hint}")


def _load(point: importlib.metadata.EntryPoint) -> Constructor:
    try:
        made: Constructor = point.load()
    except (ImportError, AttributeError) as error:
        raise MisuseError(f"sensor {point.name} ({point.value}) cannot be loaded: {error}") from None
    return made


def make_sensors(
    settings: Iterable[SensorSettings],
    *,
    read_timeout_s: float = 5.0,
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
) -> list[AnySensor]:
    """The sensors that the settings ask for, not opened yet. MisuseError when one cannot be made."""
    sensors: list[AnySensor] = []
    for each in settings:
        kinds = sorted(HOST_SENSORS) if each.kind == HOST else [each.kind]
        if each.kind == HOST and (each.options or each.name):
            raise MisuseError(
                "sensor host takes no options and no name; name the sensor that should have them, for example disk"
            )
        for kind in kinds:
            context = SensorContext(
                kind=kind,
                name=each.name,
                interval_s=each.interval_s,
                timeout_s=each.timeout_s or read_timeout_s,
                options=each.options,
                proc=proc,
                sys=sys,
            )
            sensors.append(constructor(kind)(context))
    return sensors
