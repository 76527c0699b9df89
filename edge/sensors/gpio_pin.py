"""One input of the GPIO header, by gpiozero."""

from __future__ import annotations

import dataclasses
from typing import Any

from edge.sensors.declared import SeriesOptions
from edge.sensors.library import library
from edge.sensors.sensor import SensorFailedError
from streams.settings import setting


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PinOptions(SeriesOptions):
    """A series that comes from a pin."""

    pin: str = setting(doc="The pin, as GPIO17 or BOARD11.")
    pull: str = setting("none", "The resistor inside: none, up (for a contact to ground) or down.",
                        choices=("none", "up", "down"))  # fmt: skip
    bounce_s: float = setting(0.0, "A level must hold for so long before it counts; 0: at once.", minimum=0, maximum=10)


def input_pin(options: PinOptions) -> Any:
    """The pin as gpiozero's device, a context manager. SensorFailedError when it cannot be had."""
    gpiozero = library("gpiozero", extra="sensors-gpio")
    pull_up = {"none": None, "up": True, "down": False}[options.pull]
    try:
        return gpiozero.DigitalInputDevice(
            options.pin,
            pull_up=pull_up,
            active_state=True if pull_up is None else None,
            bounce_time=options.bounce_s or None,
        )
    except Exception as error:  # gpiozero's and the pin factory's own
        raise SensorFailedError(f"pin {options.pin}: {str(error) or type(error).__name__}") from None


def is_high(options: PinOptions, pin: Any) -> bool:
    """The level of the pin now."""
    return bool(pin.value) != (options.pull == "up")  # with a pull-up gpiozero calls low active
