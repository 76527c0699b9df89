"""The series of one open sensor: their numbers, what each last said, and which are BAD.

A series that stops being good gives one BAD reading; the next one is given when there is a value again. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge.sensors.sensor import Bad, Given, SensorFailedError, Series, SeriesType, Value, check_value
from edge.tick import Tick
from streams.frames import Quality

_NO_VALUE: dict[SeriesType, Value] = {
    "float64": float("nan"),
    "float32": float("nan"),
    "int64": 0,
    "bool": False,
    "text": "",
}
_GOOD, _BAD = int(Quality.GOOD), int(Quality.BAD)


class Channels:
    """Turns what a sensor gives into ticks. `numbers` go with `series`."""

    def __init__(self, sensor: str, series: Sequence[Series], numbers: Sequence[int]) -> None:
        self.sensor = sensor
        self.series = tuple(series)
        self.numbers = tuple(numbers)
        self.latest: dict[int, tuple[int, Value, int]] = {}
        """By place: time, value and quality of the last reading."""
        self._bad: dict[int, str] = {}
        self._all_good = (_GOOD,) * len(self.numbers)

    @property
    def bad(self) -> dict[str, str]:
        """The series that are BAD, and why."""
        return {self.series[place].name: reason for place, reason in self._bad.items()}

    def is_bad(self, place: int) -> bool:
        """Whether the series at `place` has said that it is BAD, and nothing since."""
        return place in self._bad

    def tick(self, time_ns: int, values: Sequence[Given]) -> Tick:
        """One value a series, in the order of the series. SensorFailedError when they are not what was declared."""
        if len(values) != len(self.series):
            raise SensorFailedError(f"it gave {len(values)} values for {len(self.series)} series")
        return self.some(time_ns, enumerate(values))

    def some(self, time_ns: int, given: Iterable[tuple[int, Given]]) -> Tick:
        """Values of some series, by place. SensorFailedError when one does not fit its type."""
        checked = [(place, self._checked(place, value)) for place, value in given if value is not None]
        places: list[int] = []
        values: list[Value] = []
        qualities: list[int] = []
        for place, value in checked:
            if isinstance(value, Bad):
                was_bad, self._bad[place] = place in self._bad, value.reason
                if was_bad:
                    continue
                value, quality = _NO_VALUE[self.series[place].type], _BAD
            else:
                self._bad.pop(place, None)
                quality = _GOOD
            places.append(place)
            values.append(value)
            qualities.append(quality)
            self.latest[place] = (time_ns, value, quality)
        if len(places) == len(self.numbers) and _BAD not in qualities:
            return Tick(
                time_ns, self.numbers if places == sorted(places) else self._at(places), tuple(values), self._all_good
            )
        return Tick(time_ns, self._at(places), tuple(values), tuple(qualities))

    def all_bad(self, time_ns: int, reason: str) -> Tick:
        """Nothing is to be had from here on: one BAD reading of each series that has not said so yet."""
        return self.some(time_ns, [(place, Bad(reason)) for place in range(len(self.series))])

    def _at(self, places: Iterable[int]) -> tuple[int, ...]:
        return tuple(self.numbers[place] for place in places)

    def _checked(self, place: int, value: Value | Bad) -> Value | Bad:
        return value if isinstance(value, Bad) else check_value(self.series[place], value)
