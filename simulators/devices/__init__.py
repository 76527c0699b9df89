"""The kinds of simulated devices, by the name that settings and device ids use."""

from __future__ import annotations

from simulators.devices.freezer import Freezer
from simulators.devices.model import Model, ModelFactory
from simulators.devices.power_meter import PowerMeter
from simulators.devices.press import Press
from simulators.devices.pump import Pump
from simulators.devices.weather_mast import WeatherMast

MODELS: dict[str, ModelFactory] = {
    "pump": Pump,
    "freezer": Freezer,
    "press": Press,
    "weather": WeatherMast,
    "meter": PowerMeter,
}

__all__ = ["MODELS", "Model", "ModelFactory"]
