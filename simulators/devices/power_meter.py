"""A three-phase meter of a small workshop: a daily load, a machine that switches on for a while, two tariffs."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sin

from simulators.cycle import DAY_S, Cycle, seconds
from simulators.dice import Dice
from simulators.quantity import Quantity, Value, counter, flag, state

_BASE_W = 5200.0
_DAILY_W = 1800.0
_MACHINE_W = 900.0

VOLTAGE = Quantity(name="voltage", unit="V", decimals=1, minimum=0, maximum=300, abnormal=12)
CURRENT = Quantity(name="current", unit="A", decimals=2, minimum=0, maximum=100, abnormal=4)
POWER = Quantity(name="power", unit="W", decimals=0, minimum=0, maximum=60_000, abnormal=1500)
FREQUENCY = Quantity(name="frequency", unit="Hz", decimals=3, minimum=45, maximum=65, abnormal=0.25)
FACTOR = Quantity(name="power_factor", unit="1", decimals=3, minimum=0, maximum=1)


class PowerMeter:
    """Power drives current and energy; energy is the exact integral of the load without its noise."""

    quantities = (
        VOLTAGE,
        CURRENT,
        POWER,
        FREQUENCY,
        FACTOR,
        counter("energy", "Wh"),
        state("tariff", "day or night"),
        flag("machine.on"),
    )

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._machine = Cycle(dice, 0, period_s=5400, run_s=1200)

    def measure(self, time_ns: int) -> Sequence[Value]:
        noise = self._dice.normals(time_ns)
        time_s = seconds(time_ns)
        machine = self._machine.at(time_s)
        turn = 2 * pi * (time_s / DAY_S - 0.25)
        load_w = _BASE_W + _DAILY_W * sin(turn) + (_MACHINE_W if machine.on else 0.0)
        power_w = load_w + 25 * noise[0]
        voltage = 231 + 1.5 * self._dice.smooth(1, time_s, 600) + 0.25 * noise[1]
        factor = 0.94 + 0.015 * self._dice.smooth(2, time_s, 900) + 0.001 * noise[2]
        # the integral of sin(turn) is -cos(turn) * DAY_S / 2 pi, and cos is 0 at the origin
        energy_ws = _BASE_W * time_s - _DAILY_W * cos(turn) * DAY_S / (2 * pi) + _MACHINE_W * machine.total_s
        return (
            VOLTAGE.read(voltage),
            CURRENT.read(power_w / (3 * voltage * factor)),
            POWER.read(power_w),
            FREQUENCY.read(50 + 0.02 * self._dice.smooth(3, time_s, 120) + 0.002 * noise[3]),
            FACTOR.read(factor),
            max(0, int(energy_ws / 3600)),
            "day" if 6 <= time_s % DAY_S / 3600 < 22 else "night",
            machine.on,
        )
