"""A centrifugal pump with a frequency converter: it rests for ten minutes in two hours."""

from __future__ import annotations

from collections.abc import Sequence

from simulators.cycle import Cycle, seconds
from simulators.dice import Dice
from simulators.quantity import Quantity, Value, counter, flag, state

_RAMP_S = 20.0

FLOW = Quantity(name="flow", unit="l/min", decimals=1, minimum=0, maximum=400, abnormal=35)
PRESSURE = Quantity(
    name="pressure", unit="bar", resolution=16 / 4096, minimum=0, maximum=16, abnormal=0.9, description="12-bit 4-20 mA"
)
TEMPERATURE = Quantity(name="motor.temperature", unit="Cel", decimals=2, minimum=-40, maximum=150, abnormal=9)
CURRENT = Quantity(name="motor.current", unit="A", decimals=2, minimum=0, maximum=40, abnormal=2.5)
VIBRATION = Quantity(
    name="vibration", unit="mm/s", kind="float32", minimum=0, maximum=50, abnormal=2, only_up=True, description="RMS"
)


class Pump:
    """Flow, pressure, motor and vibration follow the speed; the motor warms slowly with the load."""

    quantities = (
        flag("running"),
        state("state", "starting, running or resting"),
        FLOW,
        PRESSURE,
        TEMPERATURE,
        CURRENT,
        VIBRATION,
        counter("run_time", "s", "running time since the pump was installed"),
    )

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._rest = Cycle(dice, 0, period_s=7200, run_s=600)

    def measure(self, time_ns: int) -> Sequence[Value]:
        noise = self._dice.normals(time_ns)
        time_s = seconds(time_ns)
        rest = self._rest.at(time_s)
        since_start_s = rest.age_s - 600 if rest.age_s >= 600 else _RAMP_S
        power = 0.0 if rest.on else min(1.0, since_start_s / _RAMP_S)
        speed = power * (0.85 + 0.08 * self._dice.smooth(1, time_s, 900))
        warm = 42 + 4 * self._dice.smooth(2, time_s, 3600) - (3 if rest.on else 0)
        return (
            not rest.on,
            "resting" if rest.on else "starting" if power < 1.0 else "running",
            FLOW.read(260 * speed + 1.5 * noise[0] * power),
            PRESSURE.read(0.4 + 7 * speed * speed + 0.02 * noise[1]),
            TEMPERATURE.read(warm + 0.05 * noise[2]),
            CURRENT.read(14 * speed + 0.08 * noise[3] * power),
            VIBRATION.read(abs(0.05 + 1.6 * speed + 0.06 * noise[4])),
            max(0, int(time_s - rest.total_s)),
        )
