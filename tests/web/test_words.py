"""Numbers, quantities and times as the page writes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.web.words import ago, clock, compact, decimal, duration, plural, quantity


@pytest.mark.parametrize(
    ("value", "resolution", "code", "shown"),
    [
        (12.345, 0.01, "bar", ("12.35", "bar")),
        (12.0, 0.1, "Cel", ("12.0", "°C")),
        (0.5, 0.25, "1", ("0.50", "")),
        (7.0, 1, "1", ("7", "")),
        (-18.9, 0.1, "Cel", ("−18.9", "°C")),
        (1234.5678, None, "W", ("1,235", "W")),
        (6.390625, 1 / 64, "A", ("6.39", "A")),
        (21.0625, 1 / 16, "Cel", ("21.06", "°C")),
        (6.390625, 2**-20, "A", ("6.3906", "A")),
        (1234.56789, 2**-20, "A", ("1,234.6", "A")),
        (0.0, 2**-20, "A", ("0.0000", "A")),
        (0.00012345, None, "1", ("0.000123", "")),
        (123456789, None, "B", ("123.46", "MB")),
        (True, None, "1", ("on", "")),
        ("pressing", None, "1", ("pressing", "")),
        (None, None, "bar", ("–", "")),
        (float("nan"), 0.1, "bar", ("nan", "bar")),
    ],
)
def test_a_quantity_shows_what_its_sensor_resolves(value: Any, resolution: Any, code: str, shown: Any) -> None:
    assert quantity(value, resolution, code) == shown


@given(st.one_of(st.floats(), st.integers(), st.booleans(), st.text()), st.one_of(st.none(), st.floats()), st.text())
def test_anything_a_device_may_send_can_be_written(value: Any, resolution: Any, code: str) -> None:
    assert all(isinstance(text, str) for text in quantity(value, resolution, code))


@given(st.floats(min_value=-1e12, max_value=1e12))
def test_a_decimal_says_the_number_to_four_digits(value: float) -> None:
    shown = float(decimal(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (9999, "9,999"),
        (12_345, "12.3 k"),
        (1_234_567, "1.23 M"),
        (655_390, "655 k"),
        (1.26, "1.3"),
    ],
)
def test_compact(value: float, shown: str) -> None:
    assert compact(value) == shown


def test_spans_and_moments() -> None:
    assert [duration(s) for s in (0, 59, 90, 3600, 90061)] == ["0 s", "59 s", "1 min 30 s", "1 h", "1 d 1 h"]
    assert [ago(1_000_000 - ms, 1_000_000) for ms in (0, 12_000, 180_000)] == ["now", "12 s ago", "3 min ago"]
    assert ago(None, 5) == "never"
    assert clock(0) == "1970-01-01T00:00:00Z" and clock(None) == ""
    assert (plural(1, "device"), plural(2000, "device")) == ("1 device", "2,000 devices")
