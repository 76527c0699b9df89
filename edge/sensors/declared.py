"""Series that the settings declare, for sensors whose device does not say what it has."""

from __future__ import annotations

import dataclasses
import decimal
import math
import re
from typing import cast

from edge.sensors.sensor import Bad, Series, SeriesType, Value, fits_text
from streams.errors import MisuseError
from streams.settings import setting

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FLOAT32_MAX = 2.0**128 - 2.0**103  # from here on a float32 is infinite
_WORDS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SeriesOptions:
    """One `[[edge.sensors.options.series]]` table."""

    name: str = setting(doc="What the series is called.")
    unit: str = setting("1", "As in UCUM: Cel, Pa, kW ...")
    type: str = setting("float64", "What a value is.", choices=("float64", "float32", "int64", "bool", "text"))
    scale: float = setting(1.0, "A reading is raw * scale + offset, worked out in decimals.")
    offset: float = setting(0.0, "A reading is raw * scale + offset, worked out in decimals.")
    resolution: float | None = setting(None, "The smallest step that the device makes.")
    minimum: float | None = setting(None, "The lowest value that the device can give.")
    maximum: float | None = setting(None, "The highest value that the device can give.")
    description: str = setting("", "For people.")

    def __post_init__(self) -> None:
        try:
            self.declare(None)
        except MisuseError as error:
            raise ValueError(str(error)) from None
        if self.type in ("bool", "text") and (self.scale, self.offset) != (1.0, 0.0):
            raise ValueError(f"series {self.name} is {self.type}: it takes no scale and no offset")

    def declare(self, interval_s: float | None) -> Series:
        """The series for the manifest."""
        return Series(
            name=self.name,
            unit=self.unit,
            type=cast(SeriesType, self.type),
            resolution=self.resolution,
            interval_s=interval_s,
            minimum=self.minimum,
            maximum=self.maximum,
            description=self.description,
        )

    def value(self, raw: object) -> Value | Bad:
        """What a device said, as the series' type; Bad when it is none of that."""
        found = self._as_type(raw)
        return Bad(f"{raw!r:.80} is not {self.type}") if found is None else found

    def _as_type(self, raw: object) -> Value | None:
        if self.type == "text":
            return _text(raw)
        if self.type == "bool":
            if isinstance(raw, bool):
                return raw
            return _WORDS.get(str(raw).strip().lower()) if isinstance(raw, (str, int)) else None
        number = _number(raw)
        if number is None:
            return None
        found = scaled(number, self.scale, self.offset)
        if self.type == "int64":
            return int(found) if found == found // 1 and -(2**63) <= found < 2**63 else None
        limit = _FLOAT32_MAX if self.type == "float32" else math.inf
        return float(found) if abs(found) < limit else None


def scaled(raw: float, scale: float, offset: float) -> float | int:
    """raw * scale + offset, without the dirt of binary fractions: 3 * 0.1 is 0.3."""
    if (scale, offset) == (1.0, 0.0):
        return raw
    exact = decimal.Decimal(repr(raw)) * decimal.Decimal(repr(scale)) + decimal.Decimal(repr(offset))
    return int(exact) if exact == exact.to_integral_value() and abs(exact) < 2**63 else float(exact)


def unique(series: tuple[SeriesOptions, ...]) -> None:
    """ValueError when there is no series, or a name comes twice: for `__post_init__` of options."""
    if not series:
        raise ValueError("there is no series: add a table [[edge.sensors.options.series]]")
    names = [each.name for each in series]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"there are two series {name}: give each a name of its own")


def _text(raw: object) -> str | None:
    if isinstance(raw, (bool, int, float)):
        return str(raw).lower() if isinstance(raw, bool) else str(raw)
    return raw if isinstance(raw, str) and fits_text(raw) else None


def _number(raw: object) -> float | int | None:
    if isinstance(raw, bool):
        return int(raw)
    if isinstance(raw, str):
        text = raw.strip()
        if not _NUMBER.fullmatch(text):
            return None
        raw = int(text) if text.lstrip("+-").isdigit() and len(text) < 20 else float(text)
    if isinstance(raw, (int, float)) and math.isfinite(_as_float(raw)):
        return raw
    return None


def _as_float(raw: float) -> float:
    try:
        return float(raw)
    except OverflowError:
        return math.inf
