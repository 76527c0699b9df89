"""Libraries that a kind of sensor needs and the agent does not: imported when the sensor is used, or named by extra."""

from __future__ import annotations

import importlib
from typing import Any

from edge.sensors.sensor import SensorFailedError


def library(module: str, *, extra: str) -> Any:
    """The module. SensorFailedError that says what to install when it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SensorFailedError(
            f"it needs {module.partition('.')[0]}, which cannot be imported ({error}): pip install 'penstock[{extra}]'"
        ) from None
