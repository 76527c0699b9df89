"""Charts: gaps stay gaps, alarms are drawn where they were, and nothing a device says becomes code."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from hub.web import charts
from tests.web.peers import NOW_MS, NOW_NS, alarm, series

SECOND = 10**9


def drawn(times_s: list[int], *alarms: dict[str, object], step: bool = False, span_s: int = 300) -> dict[str, object]:
    times = [NOW_NS + each * SECOND for each in times_s]
    ones = [1.0] * len(times)
    made = series(time_ns=times, mean=ones, min=ones, max=[2.0] * len(times), count=[1] * len(times))
    return charts.data(made, alarms, start_ms=NOW_MS - span_s * 1000, end_ms=NOW_MS, step=step)


def line(made: dict[str, object], name: str) -> dict[str, object]:
    (found,) = [each for each in made["series"] if each["id"] == name]  # type: ignore[attr-defined]
    return found


def test_a_gap_is_not_drawn_across() -> None:
    values = [row[1] for row in line(drawn([-10, -9, -8, -3, -2]), "mean")["data"]]  # type: ignore[attr-defined]
    assert values == [1.0, 1.0, 1.0, None, 1.0, 1.0]


def test_a_series_that_is_read_each_minute_has_no_gaps() -> None:
    values = [row[1] for row in line(drawn([-240, -180, -120, -60]), "mean")["data"]]  # type: ignore[attr-defined]
    assert values == [1.0] * 4


def test_the_band_lies_between_the_extremes() -> None:
    made = drawn([-3, -2])
    assert [row[1] for row in line(made, "low")["data"]] == [1.0, 1.0]  # type: ignore[attr-defined]
    assert [row[1] for row in line(made, "high")["data"]] == [1.0, 1.0]  # type: ignore[attr-defined]
    assert line(made, "low")["stack"] == line(made, "high")["stack"]


def test_what_is_older_than_the_chart_is_left_out() -> None:
    assert len(line(drawn([-400, -399, -2, -1]), "mean")["data"]) == 2  # type: ignore[arg-type]


def bad(*seconds: int, bucket_s: int = 1) -> list[tuple[float, float]]:
    """Where it is grey, in seconds from now."""
    made = series(bad_ns=[NOW_NS + each * SECOND for each in seconds], bucket_ns=bucket_s * SECOND)
    shown = charts.data(made, [], start_ms=NOW_MS - 300_000, end_ms=NOW_MS, step=False)
    marked = line(shown, "low")["markArea"]["data"]  # type: ignore[index]
    return [((first["xAxis"] - NOW_MS) / 1000, (last["xAxis"] - NOW_MS) / 1000) for first, last in marked]


def test_bad_readings_are_grey_and_those_in_a_row_are_one_area() -> None:
    assert bad() == []
    assert bad(-20, -19, -18, -10, -9) == [(-20, -17), (-10, -8)]
    assert bad(-400, -303, bucket_s=5) == [(-300, -298)]


def areas(*alarms: dict[str, object]) -> list[list[dict[str, object]]]:
    return line(drawn([-1], *alarms), "mean")["markArea"]["data"]  # type: ignore[index,no-any-return]


def test_an_open_alarm_reaches_to_now_and_one_from_before_begins_at_the_edge() -> None:
    ((first, last),) = areas(alarm(opened_ns=NOW_NS - 9999 * SECOND))
    assert (first["xAxis"], last["xAxis"]) == (NOW_MS - 300_000, NOW_MS)


def test_a_short_alarm_can_be_seen_and_has_no_label() -> None:
    ((first, last),) = areas(alarm(opened_ns=NOW_NS - 100 * SECOND, closed_ns=NOW_NS - 100 * SECOND))
    assert last["xAxis"] > first["xAxis"]  # type: ignore[operator]
    assert first["label"]["show"] is False  # type: ignore[index]


def test_only_alarms_within_the_chart_overlap() -> None:
    found = charts.overlapping(
        [
            alarm(id="before", opened_ns=NOW_NS - 99 * SECOND, closed_ns=NOW_NS - 50 * SECOND),
            alarm(id="across", opened_ns=NOW_NS - 99 * SECOND, closed_ns=NOW_NS - 5 * SECOND),
            alarm(id="open", opened_ns=NOW_NS - 99 * SECOND),
            alarm(id="after", opened_ns=NOW_NS + SECOND),
        ],
        start_ms=NOW_MS - 10_000,
        end_ms=NOW_MS,
    )
    assert [each["id"] for each in found] == ["across", "open"]


@given(st.text())
def test_a_unit_is_a_string_in_the_tooltip_and_never_code(unit: str) -> None:
    code = charts.base(unit)["tooltip"][":formatter"]
    literal = re.search(r'const unit = ("(?:[^"\\]|\\.)*"); const text', code)
    assert literal is not None
    assert not set("<>\"'") & set(json.loads(literal.group(1)))
    assert code.replace(literal.group(1), '""', 1) == charts.base("")["tooltip"][":formatter"]
