"""Guards: what can be read as one, and when it holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.guard import parse_guard
from streams.errors import JunkError

NOW_NS = 1_790_000_000 * 10**9


def reading(value: Any, *, quality: str = "good", age_s: float = 1.0) -> dict[str, dict[str, Any]]:
    return {"p": {"time_ns": NOW_NS - round(age_s * 1e9), "value": value, "unit": "bar", "quality": quality}}


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"below": 5}, 4.9, True),
        ({"below": 5}, 5, False),
        ({"above": 5}, 5.1, True),
        ({"above": 5}, 5, False),
        ({"is": 5}, 5.0, True),
        ({"is": "run"}, "run", True),
        ({"is": "run"}, "rest", False),
        ({"is": True}, True, True),
        ({"is": True}, 1, False),
        ({"is": 1}, True, False),
        ({"below": 5}, "4", False),
        ({"below": 5}, True, False),
        ({"below": 5}, None, False),
    ],
)
def test_when_it_holds(condition: dict[str, Any], value: Any, holds: bool) -> None:
    guard = parse_guard({"series": "p", **condition})
    assert (guard.objection(reading(value), NOW_NS) is None) == holds


@pytest.mark.parametrize(
    ("readings", "word"),
    [
        ({}, "no reading"),
        (reading(4, quality="bad"), "is bad"),
        (reading(4, age_s=61), "61 s old"),
        (reading(4, age_s=-61), "61 s old"),
    ],
)
def test_without_a_good_young_reading_the_answer_is_no(readings: dict[str, Any], word: str) -> None:
    said = parse_guard({"series": "p", "below": 5}).objection(readings, NOW_NS)
    assert said is not None
    assert word in said


@pytest.mark.parametrize(
    ("document", "word"),
    [
        (3, "object"),
        ({}, "series"),
        ({"series": ""}, "series"),
        ({"series": "p"}, "one of above"),
        ({"series": "p", "above": 1, "below": 2}, "one of above"),
        ({"series": "p", "above": "x"}, "above"),
        ({"series": "p", "is": [1]}, "is"),
        ({"series": "p", "is": 1, "within_s": 0}, "within_s"),
        ({"series": "p", "is": 1, "within": 3}, "within"),
    ],
)
def test_what_is_none_is_refused_by_name(document: Any, word: str) -> None:
    with pytest.raises(JunkError, match=word):
        parse_guard(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["series", "above", "below", "is", "within_s", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(JSON, JSON)
def test_anything_is_a_guard_or_junk_and_judging_never_raises(document: Any, value: Any) -> None:
    try:
        guard = parse_guard(document)
    except JunkError:
        return
    guard.objection(reading(value), NOW_NS)
    guard.objection({guard.series: reading(value)["p"]}, NOW_NS)
