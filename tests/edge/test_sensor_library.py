"""The agent needs none of the libraries that sensors need, and says by name which extra is missing."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import pytest

from edge.sensors.i2c import open_bus
from edge.sensors.registry import SENSORS
from edge.sensors.sensor import SensorFailedError
from tests.edge.opened import make

S = {"name": "a"}
LIBRARIES = ["pymodbus", "asyncua", "smbus2", "gpiozero", "lgpio", "serial"]


def test_the_agent_and_sensors_that_are_not_used_import_none_of_them() -> None:
    modules = sorted({where.partition(":")[0] for where in SENSORS.values()})
    script = (
        f"import sys, edge.agent, {', '.join(modules)}; print([name for name in {LIBRARIES} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_agent_imports_no_kind_of_sensor_that_is_not_used() -> None:
    script = "import sys, edge.agent; print(sorted(name for name in sys.modules if name.startswith('edge.sensors.')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "modbus" not in done.stdout
    assert "opcua" not in done.stdout


@pytest.mark.parametrize(
    ("kind", "extra", "options"),
    [
        ("modbus", "sensors-modbus", {"host": "h", "series": [{**S, "address": 1}]}),
        ("opcua", "sensors-opcua", {"url": "opc.tcp://h", "series": [{**S, "node": "i=1"}]}),
        ("serial", "sensors-serial", {"port": "/dev/x", "series": [S]}),
        ("gpio", "sensors-gpio", {"series": [{**S, "pin": "GPIO5"}]}),
        ("pulses", "sensors-gpio", {"series": [{**S, "pin": "GPIO5"}]}),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    kind: str, extra: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = make(kind, **options)
    forget(monkeypatch)
    with pytest.raises(SensorFailedError, match=rf"pip install 'penstock\[{extra}\]'"):
        sensor.open()


def test_so_is_that_of_the_i2c_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    with pytest.raises(SensorFailedError, match=r"it needs smbus2, .* pip install 'penstock\[sensors-i2c\]'"):
        open_bus(1)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where none of the libraries is installed."""
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.partition(".")[0] in LIBRARIES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
