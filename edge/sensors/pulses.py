"""Pulses counted at GPIO inputs: energy, water and gas meters, flow meters, piece counters (gpiozero over lgpio)."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Sequence

from edge.sensors.declared import unique
from edge.sensors.gpio_pin import PinOptions, input_pin
from edge.sensors.sensor import Given, SensorContext, Series
from streams.settings import setting


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PulseSeriesOptions(PinOptions):
    """One counter; the raw value is the count since the agent has started."""

    type: str = setting("int64", "What a value is.", choices=("int64", "float64"))
    edge: str = setting("rising", "Which edge counts.", choices=("rising", "falling"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PulseOptions:
    """Which inputs."""

    series: tuple[PulseSeriesOptions, ...] = setting((), "The counters, one table each.")

    def __post_init__(self) -> None:
        unique(self.series)


class PulseSensor:
    """Counts between ticks, in gpiozero's thread; a tick reads the counts."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(PulseOptions)
        self.name = context.name
        self.interval_s = context.interval_s
        self.timeout_s = context.timeout_s
        self._counting = threading.Lock()
        self._counts = dict.fromkeys((each.name for each in self._options.series), 0)
        self._pins = contextlib.ExitStack()

    def open(self) -> Sequence[Series]:
        for each in self._options.series:
            pin = self._pins.enter_context(input_pin(each))
            activates = (each.edge == "rising") != (each.pull == "up")
            setattr(pin, "when_activated" if activates else "when_deactivated", self._on_edge(each.name))
        return [
            dataclasses.replace(
                each.declare(self.interval_s),
                minimum=0 if each.minimum is None else each.minimum,
                resolution=each.resolution or abs(each.scale),
            )
            for each in self._options.series
        ]

    def read(self, time_ns: int) -> Sequence[Given]:
        with self._counting:
            return [each.value(self._counts[each.name]) for each in self._options.series]

    def close(self) -> None:
        self._pins.close()

    def _on_edge(self, name: str) -> Callable[[], None]:
        def on_edge() -> None:
            with self._counting:
                self._counts[name] += 1

        return on_edge
