"""Inputs of the GPIO header: each change at its own time, and the level at each interval (gpiozero over lgpio)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from edge.inlet import Inlet
from edge.sensors.declared import SeriesOptions, unique
from edge.sensors.gpio_pin import PinOptions, input_pin, is_high
from edge.sensors.library import library
from edge.sensors.sensor import SensorContext, Series
from streams.settings import setting


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GpioSeriesOptions(PinOptions):
    """One input."""

    type: str = setting("bool", "What a value is.", choices=("bool",))
    invert: bool = setting(False, "True is low: a contact that pulls the pin to ground.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GpioOptions:
    """Which inputs."""

    series: tuple[GpioSeriesOptions, ...] = setting((), "The inputs, one table each.")

    def __post_init__(self) -> None:
        unique(self.series)


class GpioSensor:
    """Pushed by the edges; the level at each interval mends what an edge too short to be seen has left."""

    silence_s_max = 0.0

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(GpioOptions)
        self.name = context.name
        self._interval_s = context.interval_s

    def open(self) -> Sequence[Series]:
        library("gpiozero", extra="sensors-gpio")
        return [each.declare(self._interval_s) for each in self._options.series]

    def run(self, inlet: Inlet) -> None:
        with contextlib.ExitStack() as stack:
            pins = [(each, stack.enter_context(input_pin(each))) for each in self._options.series]
            for each, pin in pins:
                pin.when_activated = pin.when_deactivated = _on_edge(inlet, each, pin)
            while not inlet.stopping:
                inlet.put({each.name: is_high(each, pin) != each.invert for each, pin in pins})
                inlet.wait(self._interval_s)

    def close(self) -> None:
        pass


def _on_edge(inlet: Inlet, each: SeriesOptions, pin: Any) -> Callable[[], None]:
    assert isinstance(each, GpioSeriesOptions)
    series = each

    def on_edge() -> None:
        inlet.put({series.name: is_high(series, pin) != series.invert})

    return on_edge
