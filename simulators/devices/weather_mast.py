"""A weather mast: everything follows the sun, the wind gusts, the rain gauge counts."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sin

from simulators.cycle import DAY_S, Cycle, seconds
from simulators.dice import Dice
from simulators.quantity import Quantity, Value, counter, flag

AIR = Quantity(name="air.temperature", unit="Cel", decimals=2, minimum=-40, maximum=60, abnormal=4)
HUMIDITY = Quantity(name="air.humidity", unit="%", decimals=1, minimum=0, maximum=100, abnormal=10)
PRESSURE = Quantity(name="air.pressure", unit="hPa", decimals=2, minimum=300, maximum=1100, abnormal=2)
WIND = Quantity(name="wind.speed", unit="m/s", decimals=1, minimum=0, maximum=60, abnormal=9, only_up=True)
DIRECTION = Quantity(name="wind.direction", unit="deg", resolution=22.5, minimum=0, maximum=337.5)
SUN = Quantity(name="irradiance", unit="W/m2", kind="float32", minimum=0, maximum=1600, abnormal=200, only_up=True)


class WeatherMast:
    """A calm temperate climate; rain falls for twenty minutes in six hours."""

    quantities = (
        AIR,
        HUMIDITY,
        PRESSURE,
        WIND,
        DIRECTION,
        SUN,
        counter("rain.tips", "1", "tips of the bucket, 0.2 mm each"),
        flag("raining"),
    )

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._rain = Cycle(dice, 0, period_s=6 * 3600, run_s=1200)

    def measure(self, time_ns: int) -> Sequence[Value]:
        dice = self._dice
        noise = dice.normals(time_ns)
        time_s = seconds(time_ns)
        height = sin(2 * pi * (time_s / DAY_S - 0.25))  # of the sun: highest at noon UTC
        warmth = sin(2 * pi * (time_s / DAY_S - 0.375))  # the air lags three hours behind
        rain = self._rain.at(time_s)
        gust = dice.smooth(1, time_s, 30)
        light = max(0.0, height) * (780 + 40 * dice.smooth(7, time_s, 300))
        return (
            AIR.read(12 + 5 * warmth + dice.smooth(2, time_s, 3600) + 0.03 * noise[0]),
            HUMIDITY.read(68 - 10 * warmth + 2 * dice.smooth(3, time_s, 3600) + 0.2 * noise[1]),
            PRESSURE.read(1013 + 6 * dice.smooth(4, time_s, 4 * 3600) + 0.03 * noise[2]),
            WIND.read(5 + 2 * dice.smooth(5, time_s, 1800) + 0.8 * gust + 0.3 * noise[3]),
            DIRECTION.read((225 + 90 * dice.smooth(6, time_s, 3600) + 6 * noise[4]) % 360),
            SUN.read(light + abs(0.4 * noise[5])),
            int(rain.total_s // 30),
            rain.on,
        )
