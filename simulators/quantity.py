"""One measured quantity of a simulated device: what it is called, how finely it is read, what a fault does to it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

Value = float | int | bool | str
Kind = Literal["float64", "float32", "int64", "bool", "text"]

_FLOAT32 = struct.Struct("<f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A series as a sensor reads it.

    `decimals` are the digits a digital sensor sends; `resolution` alone is the step of a converter; neither means full
    floats. `abnormal` is a change that a person would call a fault, in `unit`; None for what is never disturbed.
    """

    name: str
    unit: str
    kind: Kind = "float64"
    decimals: int | None = None
    resolution: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    abnormal: float | None = None
    only_up: bool = False  # a disturbance can only raise it: it rests at the lower end of its range
    description: str = ""

    def read(self, exact: float) -> float:
        """What the sensor says when the truth is `exact`: clipped to its range and quantised."""
        if self.minimum is not None and exact < self.minimum:
            exact = self.minimum
        elif self.maximum is not None and exact > self.maximum:
            exact = self.maximum
        if self.decimals is not None:
            return round(exact, self.decimals)
        if self.resolution is not None:
            return round(exact / self.resolution) * self.resolution
        if self.kind == "float32":
            return float(_FLOAT32.unpack(_FLOAT32.pack(exact))[0])
        return exact

    @property
    def step(self) -> float | None:
        """The smallest difference between two readings, in `unit`; None when there is none."""
        return 10.0**-self.decimals if self.decimals is not None else self.resolution


def flag(name: str, description: str = "") -> Quantity:
    """A quantity that is true or false."""
    return Quantity(name=name, unit="1", kind="bool", description=description)


def state(name: str, description: str = "") -> Quantity:
    """A quantity that is a word."""
    return Quantity(name=name, unit="1", kind="text", description=description)


def counter(name: str, unit: str, description: str = "") -> Quantity:
    """A whole number that only grows."""
    return Quantity(name=name, unit=unit, kind="int64", minimum=0, resolution=1.0, description=description)
