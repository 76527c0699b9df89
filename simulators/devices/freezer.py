"""A cold store with an inverter compressor, a door that people open, and a defrost every eight hours."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sin

from simulators.cycle import DAY_S, Cycle, seconds
from simulators.dice import Dice
from simulators.quantity import Quantity, Value, counter, flag, state

CHAMBER = Quantity(name="chamber.temperature", unit="Cel", decimals=2, minimum=-55, maximum=60, abnormal=3)
EVAPORATOR = Quantity(
    name="evaporator.temperature",
    unit="Cel",
    resolution=0.0625,
    minimum=-55,
    maximum=125,
    abnormal=5,
    description="a 1-wire sensor of 12 bits",
)
HUMIDITY = Quantity(name="chamber.humidity", unit="%", decimals=1, minimum=0, maximum=100, abnormal=9)
POWER = Quantity(name="power", unit="W", decimals=1, minimum=0, maximum=3680, abnormal=120)


class Freezer:
    """The compressor works harder by day; a door that opens lets in warm, damp air that is gone a few minutes later."""

    quantities = (
        CHAMBER,
        EVAPORATOR,
        HUMIDITY,
        POWER,
        flag("door.open"),
        counter("door.openings", "1"),
        state("state", "cooling or defrosting"),
    )

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._door = Cycle(dice, 0, period_s=1800, run_s=25)
        self._defrost = Cycle(dice, 1, period_s=8 * 3600, run_s=900)
        self._peak_s = 43_200 * (1 + 0.2 * dice.smooth(2, 0.0, 1.0))

    def measure(self, time_ns: int) -> Sequence[Value]:
        noise = self._dice.normals(time_ns)
        time_s = seconds(time_ns)
        door, defrost = self._door.at(time_s), self._defrost.at(time_s)
        day = sin(2 * pi * (time_s - self._peak_s) / DAY_S)
        load = 0.6 + 0.15 * day + 0.1 * self._dice.smooth(3, time_s, 1200)
        air = _after_door(door.age_s)
        heat = min(1.0, defrost.age_s / 300) if defrost.on else 0.0
        wave = self._dice.smooth(4, time_s, 600)
        return (
            CHAMBER.read(-19 + 0.4 * wave + 1.2 * air + 1.5 * heat + 0.04 * noise[0]),
            EVAPORATOR.read(-27 - 2 * load + 0.5 * wave + 30 * heat + 0.08 * noise[1]),
            HUMIDITY.read(62 + 3 * self._dice.smooth(5, time_s, 1800) + 6 * air + 0.3 * noise[2]),
            POWER.read(700 * heat + (0 if defrost.on else 420 * load) + 2.5 * noise[3]),
            door.on,
            door.starts,
            "defrosting" if defrost.on else "cooling",
        )


def _after_door(age_s: float) -> float:
    """How much of the warm air is in the chamber, 0 to 1: it comes in within half a minute and goes within four."""
    if age_s < 0:
        return 0.0
    return min(1.0, age_s / 25) * max(0.0, 1 - age_s / 240)
