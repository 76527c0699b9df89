"""A hydraulic press that makes one part in six seconds, and stops for a tool change of five minutes in each hour."""

from __future__ import annotations

from collections.abc import Sequence

from simulators.cycle import Cycle, seconds
from simulators.dice import Dice
from simulators.quantity import Quantity, Value, counter, flag, state

_PART_S = 6.0

FORCE = Quantity(
    name="force.peak", unit="kN", decimals=1, minimum=0, maximum=1000, abnormal=60, description="of the last stroke"
)
PRESSURE = Quantity(name="oil.pressure", unit="bar", decimals=1, minimum=0, maximum=400, abnormal=20)
TEMPERATURE = Quantity(name="oil.temperature", unit="Cel", decimals=1, minimum=-20, maximum=120, abnormal=6)
POSITION = Quantity(
    name="stroke.end", unit="mm", decimals=3, minimum=0, maximum=250, abnormal=0.4, description="of the last stroke"
)


class Press:
    """Each stroke has its own peak force and end position, held until the next stroke."""

    quantities = (
        flag("running"),
        state("state", "pressing or tool change"),
        FORCE,
        POSITION,
        PRESSURE,
        TEMPERATURE,
        counter("parts", "1"),
    )

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._change = Cycle(dice, 0, period_s=3600, run_s=300)

    def measure(self, time_ns: int) -> Sequence[Value]:
        noise = self._dice.normals(time_ns)
        time_s = seconds(time_ns)
        change = self._change.at(time_s)
        parts = max(0, int((time_s - change.total_s) // _PART_S))
        stroke = self._dice.normals(-1 - parts)  # negative counters are strokes, positive ones are instants
        return (
            not change.on,
            "tool change" if change.on else "pressing",
            FORCE.read(640 + 4 * stroke[0] + 6 * self._dice.smooth(1, time_s, 2400)),
            POSITION.read(182.5 + 0.02 * stroke[1]),
            PRESSURE.read(205 + 4 * self._dice.smooth(2, time_s, 1500) + 0.8 * noise[0]),
            TEMPERATURE.read(47 + 3 * self._dice.smooth(3, time_s, 3600) + 0.1 * noise[1]),
            parts,
        )
