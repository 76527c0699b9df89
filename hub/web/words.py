"""How the page writes numbers, quantities, times and states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from streams.units import written

DECIMALS_MAX = 6
CLEAN_DIGITS = 2  # a resolution of more is a binary fraction or a quotient, not how people would write it
UNCLEAN_DIGITS_MAX = 5

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def number(value: int | float) -> str:
    """1234567 -> 1,234,567"""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def quantity(value: Any, resolution: float | None = None, code: str | None = None) -> tuple[str, str]:
    """A reading and its unit as text. The digits follow the sensor's resolution, else four that matter."""
    if value is None:
        return "–", ""
    if isinstance(value, bool):
        return ("on" if value else "off"), ""
    if isinstance(value, str):
        return value, written(code)
    if not math.isfinite(value):
        return str(value), written(code)
    if code in ("B", "By"):
        return _scaled(value, "B")
    return decimal(value, resolution).replace("-", "−"), written(code)


def of_series(entry: Mapping[str, Any], value: Any) -> tuple[str, str]:
    """A reading of the series that a manifest's `entry` describes. Switches are stored as 0 and 1."""
    if entry.get("type") == "bool" and isinstance(value, (int, float)):
        value = bool(value)
    return quantity(value, entry.get("resolution"), entry.get("unit"))


def decimal(value: float, resolution: float | None = None) -> str:
    """1234.5678 with resolution 0.01 -> 1,234.57; without one four digits that matter, and all before the point."""
    if resolution is not None and 0 < resolution < math.inf:
        return f"{value:,.{_decimals(value, resolution)}f}"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.{min(DECIMALS_MAX, max(0, 3 - math.floor(math.log10(abs(value)))))}f}"


def _decimals(value: float, resolution: float) -> int:
    """How many a resolution can carry: 0.05 as many as it is written with, 1/64 as many as make five digits at most."""
    _, digits, exponent = Decimal(repr(resolution)).normalize().as_tuple()
    if len(digits) <= CLEAN_DIGITS:
        return min(DECIMALS_MAX, max(0, -int(exponent)))
    carried = -math.floor(math.log10(resolution))
    before_point = math.floor(math.log10(abs(value))) + 1 if value else 1
    return min(DECIMALS_MAX, max(0, min(carried, UNCLEAN_DIGITS_MAX - before_point)))


def _scaled(value: float, base: str) -> tuple[str, str]:
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{value / factor:.2f}", prefix + base
    return f"{value:.0f}", base


def compact(value: float) -> str:
    """1234567 -> 1.23 M; three digits that matter, and all of a number below 10,000."""
    factor, prefix = next((each for each in _PREFIXES if abs(value) >= max(each[0], 10_000)), (1.0, ""))
    if not prefix:
        return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"
    scaled = value / factor
    return f"{scaled:,.{max(0, 2 - int(math.log10(abs(scaled))))}f} {prefix}"


def duration(seconds: float) -> str:
    """90 -> 1 min 30 s; the two largest parts, whole seconds."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, name in _SPANS:
        count, left = divmod(left, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def ago(then_ms: int | None, now_ms: int) -> str:
    """How long ago, in one part: now, 12 s ago, 3 min ago."""
    if then_ms is None:
        return "never"
    seconds = (now_ms - then_ms) / 1000
    if seconds < 5:
        return "now"
    size, name = next(each for each in _SPANS if seconds >= each[0])
    return f"{int(seconds // size)} {name} ago"


def clock(time_ms: int | None) -> str:
    """2026-01-31 12:34:56 UTC, as ISO 8601; the browser shows it in its own time zone."""
    if time_ms is None:
        return ""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def plural(count: int, one: str, many: str | None = None) -> str:
    """1 device, 2 devices"""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
