"""The readings that the frame benchmark encodes: 20 sensors of a device, quantised as real ones are, seeded.

Five temperatures (0.01 degC), three humidities (0.1 %), two pressures (0.01 hPa), two powers that switch (0.1 W), two
pulse counters, two switches, a vibration of full float32 noise, a 12-bit converter (counts x 3.3 / 4096: doubles of 17
digits), a latitude (1e-7 degree) and a longitude (minutes / 60: full doubles); 1 Hz with a jitter of milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

START_MS = 1_790_000_000_000
READINGS = 20_000
SEED = 7
MIX = (
    *("temp",) * 5, *("hum",) * 3, *("press",) * 2, *("power",) * 2, *("counter",) * 2, *("bool",) * 2,
    "vib", "adc", "lat", "lon",
)  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor's readings."""

    name: str
    times_ns: NDArray[np.int64]
    values: Floats


def device(clock: str, readings: int = READINGS, seed: int = SEED) -> list[Sensor]:
    """Every sensor with so many readings. `clock`: "tick", all are sampled at one time, or "own", each at its own."""
    dice = np.random.default_rng(seed)
    seconds = np.arange(readings) * 1000
    shared_ms = START_MS + seconds + _jitter_ms(readings, dice)
    sensors = []
    for number, kind in enumerate(MIX):
        times_ms = shared_ms
        if clock == "own":
            times_ms = START_MS + int(dice.integers(0, 1000)) + seconds + _jitter_ms(readings, dice)
        sensors.append(Sensor(f"{kind}_{number:02d}", times_ms * 1_000_000, _values(kind, readings, dice)))
    return sensors


def _jitter_ms(n: int, dice: np.random.Generator) -> NDArray[np.int64]:
    return np.round(dice.normal(0, 2, n) + dice.exponential(3, n)).astype(np.int64)


def _values(kind: str, n: int, dice: np.random.Generator) -> Floats:
    day = 2 * np.pi * (np.arange(n) + dice.integers(0, 86400)) / 86400
    made: Any
    match kind:
        case "temp":
            made = np.round(21 + 5 * np.sin(day) + _walk(0.003, n, dice) + dice.normal(0, 0.02, n), 2)
        case "hum":
            made = np.round(55 + 8 * np.sin(day) + dice.normal(0, 0.1, n), 1)
        case "press":
            made = np.round(1013 + _walk(0.002, n, dice) + dice.normal(0, 0.03, n), 2)
        case "power":
            on = np.cumsum(dice.random(n) < 0.002) % 2
            made = np.round(40 + 1500 * on + dice.normal(0, 2, n), 1)
        case "counter":
            made = np.cumsum(dice.poisson(3, n)).astype(np.float64) + 123456
        case "bool":
            made = (np.cumsum(dice.random(n) < 0.002) % 2).astype(np.float64)
        case "vib":
            made = dice.normal(0, 0.05, n).astype(np.float32).astype(np.float64)
        case "adc":
            made = np.round(2000 + 300 * np.sin(day) + dice.normal(0, 3, n)) * 3.3 / 4096
        case "lat":
            made = np.round(48.1371 + _walk(2e-6, n, dice) + dice.normal(0, 3e-7, n), 7)
        case _:
            made = 11 + np.round(34.5123 + _walk(1e-4, n, dice), 5) / 60
    values: Floats = made
    return values


def _walk(step: float, n: int, dice: np.random.Generator) -> Floats:
    return np.cumsum(dice.normal(0, step, n))
