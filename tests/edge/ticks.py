"""Ticks for tests, made by hypothesis and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from edge.sensors.sensor import SeriesType, Value
from edge.tick import Tick

TYPES: dict[int, SeriesType] = {
    **dict.fromkeys(range(4), "float64"),
    **dict.fromkeys(range(4, 8), "int64"),
    **dict.fromkeys(range(8, 10), "bool"),
    **dict.fromkeys(range(10, 12), "text"),
}

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "float64": st.floats(),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "text": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
}


@st.composite
def ticks(draw: st.DrawFn) -> Tick:
    """A tick of some of the series of TYPES."""
    series = draw(st.lists(st.sampled_from(sorted(TYPES)), unique=True, min_size=1, max_size=12))
    time_ns = draw(st.integers(0, 2**62))
    values = tuple(draw(_VALUES[TYPES[number]]) for number in series)
    qualities = tuple(draw(st.sampled_from([0, 0, 0, 1, 2])) for _ in series)
    return Tick(time_ns, tuple(series), values, qualities)


def tick(time_ns: int, *values: Value, series: Sequence[int] | None = None) -> Tick:
    """A good tick of series 0, 1, 2 ..."""
    numbers = tuple(series) if series is not None else tuple(range(len(values)))
    return Tick(time_ns, numbers, values, (0,) * len(values))
