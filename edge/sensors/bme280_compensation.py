"""From what a BME280 or BMP280 measures to degrees, pascals and percent: the data sheets' own formulas. Pure.

Source: Bosch BST-BME280-DS002, 4.2.2 (trimming) and appendix A (8.1, double precision); the BMP280's (BST-BMP280-DS001,
3.11.2 and 8.1) are the same for temperature and pressure.
"""

from __future__ import annotations

import dataclasses
import struct


@dataclasses.dataclass(frozen=True, slots=True)
class Trimming:
    """The constants of one chip. `h` is empty for a BMP280, which measures no humidity."""

    t: tuple[int, ...]
    p: tuple[int, ...]
    h: tuple[int, ...] = ()

    @classmethod
    def from_registers(cls, low: bytes, high: bytes = b"") -> Trimming:
        """`low` are registers 0x88 to 0xA1 (26 bytes), `high` 0xE1 to 0xE7 (7 bytes; none for a BMP280)."""
        t = struct.unpack_from("<Hhh", low)
        p = struct.unpack_from("<Hhhhhhhhh", low, 6)
        if not high:
            return cls(t, p)
        h2, h3, e4, e5, e6, h6 = struct.unpack("<hBbBbb", high)
        return cls(t, p, (low[25], h2, h3, (e4 << 4) | (e5 & 0x0F), (e6 << 4) | (e5 >> 4), h6))


def fine_temperature(trimming: Trimming, raw: int) -> float:
    """The value that the others are worked out from; a 5120th of it is the temperature in degrees Celsius."""
    t1, t2, t3 = trimming.t
    first = (raw / 16384.0 - t1 / 1024.0) * t2
    second = (raw / 131072.0 - t1 / 8192.0) ** 2 * t3
    return first + second


def pressure_pa(trimming: Trimming, raw: int, fine: float) -> float | None:
    """Pressure in pascals; None when the constants allow none (they were misread)."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = trimming.p
    first = fine / 2.0 - 64000.0
    second = first * first * p6 / 32768.0
    second = second + first * p5 * 2.0
    second = second / 4.0 + p4 * 65536.0
    first = (p3 * first * first / 524288.0 + p2 * first) / 524288.0
    first = (1.0 + first / 32768.0) * p1
    if first == 0.0:
        return None
    pressure = (1048576.0 - raw - second / 4096.0) * 6250.0 / first
    first = p9 * pressure * pressure / 2147483648.0
    second = pressure * p8 / 32768.0
    return pressure + (first + second + p7) / 16.0


def humidity_percent(trimming: Trimming, raw: int, fine: float) -> float:
    """Relative humidity, 0 to 100 percent."""
    h1, h2, h3, h4, h5, h6 = trimming.h
    above = fine - 76800.0
    humidity = (raw - (h4 * 64.0 + h5 / 16384.0 * above)) * (
        h2 / 65536.0 * (1.0 + h6 / 67108864.0 * above * (1.0 + h3 / 67108864.0 * above))
    )
    humidity = humidity * (1.0 - h1 * humidity / 524288.0)
    return min(100.0, max(0.0, humidity))
