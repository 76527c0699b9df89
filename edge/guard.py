"""Guards: a condition on the device's own readings, looked at just before a command runs. Pure.

    {"series": "oil.pressure", "below": 5.0, "within_s": 10}

One of `above`, `below`, `is`. Without a good reading that is young enough (60 s) the answer is no.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from streams.errors import JunkError

_SIGNS = ("above", "below", "is")
_WITHIN_S = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Guard:
    """What must hold."""

    series: str
    sign: str
    value: Any
    within_s: float

    def objection(self, readings: Mapping[str, Mapping[str, Any]], now_ns: int) -> str | None:
        """Why the command must not run now; None when it may."""
        found = readings.get(self.series)
        if found is None:
            return f"its guard asks for {self.series}, of which there is no reading"
        value, age_s = found["value"], abs(now_ns - found["time_ns"]) / 1e9
        if found["quality"] != "good" or value is None:
            return f"its guard asks for {self.series}, whose last reading is {found['quality']}"
        if age_s > self.within_s:
            return f"its guard asks for {self.series}, whose last reading is {age_s:.0f} s old"
        if self._holds(value):
            return None
        return f"its guard does not hold: {self.series} is {value!r:.80}, not {self._wanted()}"

    def _holds(self, value: Any) -> bool:
        if self.sign == "is":
            return bool(value == self.value) and isinstance(value, bool) == isinstance(self.value, bool)
        if isinstance(value, (bool, str)):
            return False
        return bool(value > self.value if self.sign == "above" else value < self.value)

    def _wanted(self) -> str:
        return f"{self.value!r:.80}" if self.sign == "is" else f"{self.sign} {self.value}"


def parse_guard(document: Any) -> Guard:
    """Read a guard. JunkError says what is wrong with it."""
    if not isinstance(document, Mapping):
        raise JunkError(f"a guard must be an object, not {document!r:.80}")
    series, within_s = document.get("series"), document.get("within_s", _WITHIN_S)
    signs = [sign for sign in _SIGNS if sign in document]
    unknown = [str(name) for name in document if name not in (*_SIGNS, "series", "within_s")]
    if unknown:
        raise JunkError(f"a guard has no {unknown[0]!r:.60}; it has series, within_s and one of {', '.join(_SIGNS)}")
    if not isinstance(series, str) or not series:
        raise JunkError(f"a guard's series must be a name, not {series!r:.80}")
    if len(signs) != 1:
        raise JunkError(f"a guard needs one of {', '.join(_SIGNS)}")
    value = document[signs[0]]
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not numeric and (signs[0] != "is" or not isinstance(value, (bool, str))):
        raise JunkError(f"a guard's {signs[0]} cannot be {value!r:.80}")
    if not isinstance(within_s, (int, float)) or isinstance(within_s, bool) or not within_s > 0:
        raise JunkError(f"a guard's within_s must be seconds, not {within_s!r:.80}")
    return Guard(series, signs[0], value, float(within_s))
