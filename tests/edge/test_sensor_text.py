"""What devices say as text, whatever they say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sensors.declared import SeriesOptions, scaled
from edge.sensors.lines import LINE_BYTES_MAX, LineSplitter, TextOptions, TextReader, TextSeriesOptions
from edge.sensors.sensor import Bad, Series, check_value
from streams.errors import JunkError, MisuseError
from streams.settings import build

TYPES = ("float64", "float32", "int64", "bool", "text")


def reader(**options: Any) -> TextReader:
    return TextReader(build(TextOptions, options))


def test_json_members_are_found_by_path() -> None:
    text = '{"a": {"b": [1, {"c": 2.5}]}, "d.e": true, "f": "x"}'
    series = [
        {"name": "c", "field": "a.b.1.c"},
        {"name": "d.e", "type": "bool"},
        {"name": "f", "type": "text"},
        {"name": "first", "field": "a.b.0", "type": "int64"},
    ]
    assert reader(series=series).read(text) == {"c": 2.5, "d.e": True, "f": "x", "first": 1}


def test_pairs_stand_between_spaces_commas_or_on_lines() -> None:
    series = [{"name": "t"}, {"name": "h"}, {"name": "s", "type": "text"}]
    read = reader(format="pairs", series=series).read
    assert read('t=21.5, h = 40;s="all is well"') == {"t": 21.5, "h": 40.0, "s": "all is well"}
    assert read("t=-1e3\nh=.5\n") == {"t": -1000.0, "h": 0.5}


def test_long_words_take_no_longer_than_their_length() -> None:
    series = [{"name": "t"}]
    assert reader(format="pairs", series=series).read("x" * 1_000_000 + " t=1") == {"t": 1.0}
    assert reader(format="pairs", series=series).read('a=" ' * 300_000 + " " * 300_000 + " t=1") == {"t": 1.0}


def test_a_pattern_gives_its_groups() -> None:
    read = reader(format="pattern", pattern=r"W:\s*(?P<weight>[\d.]+) kg(?P<stable> S)?", series=[{"name": "weight"}])
    assert read.read("ST,W:   12.40 kg") == {"weight": 12.4}
    with pytest.raises(JunkError, match="the pattern does not match"):
        read.read("overload")


def test_a_value_alone() -> None:
    assert reader(format="value", series=[{"name": "t"}]).read(" 21.5\n") == {"t": 21.5}


def test_what_is_not_there_is_left_out_and_for_a_poll_it_is_bad() -> None:
    both = reader(series=[{"name": "a"}, {"name": "b"}])
    assert both.read('{"a": 1}') == {"a": 1.0}
    assert both.read('{"a": 1, "b": null}') == {"a": 1.0}
    assert both.read_all('{"a": 1}') == [1.0, Bad("nothing was said of b")]
    for text in ("{}", "[]", "7", "nonsense", "", "[" * 100_000):
        with pytest.raises(JunkError):
            both.read(text)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("float64", "1_000", None),
        ("float64", "nan", None),
        ("float64", math.inf, None),
        ("float64", 10**400, None),
        ("float64", "12 kg", None),
        ("float64", [1], None),
        ("float32", 1e39, None),
        ("int64", 3.0, 3),
        ("int64", 3.5, None),
        ("int64", 2**63, None),
        ("int64", "-9223372036854775808", -(2**63)),
        ("bool", "ON", True),
        ("bool", 0, False),
        ("bool", 2, None),
        ("text", True, "true"),
        ("text", "\ud800", None),
        ("text", {"a": 1}, None),
    ],
)
def test_values_are_what_was_declared_or_bad(kind: str, raw: object, value: object) -> None:
    found = SeriesOptions(name="a", type=kind).value(raw)
    assert isinstance(found, Bad) if value is None else found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("raw", "scale", "offset", "value"), [(3, 0.1, 0.0, 0.3), (215, 0.1, -40.0, -18.5), (7, 1e-3, 0.0, 0.007)]
)
def test_scaling_is_decimal(raw: int, scale: float, offset: float, value: float) -> None:
    assert scaled(raw, scale, offset) == value


@given(st.integers(-(2**31), 2**31), st.integers(-6, 6))
def test_scaling_by_a_power_of_ten_is_what_a_person_would_write(raw: int, power: int) -> None:
    assert scaled(raw, float(f"1e{power}"), 0.0) == float(f"{raw}e{power}")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(anything, st.sampled_from(TYPES), st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_no_raw_value_makes_one_that_its_series_cannot_take(
    raw: object, kind: Any, scale: float, offset: float
) -> None:
    if kind in ("bool", "text"):
        scale, offset = 1.0, 0.0
    found = SeriesOptions(name="a", type=kind, scale=scale, offset=offset).value(raw)
    if not isinstance(found, Bad):
        check_value(Series(name="a", type=kind), found)


@given(st.text() | anything.map(json.dumps), st.sampled_from(["json", "pairs", "value", "pattern"]))
def test_no_text_does_anything_but_give_values_or_be_junk(text: str, form: str) -> None:
    series = tuple(TextSeriesOptions(name=f"s{kind}", field="a", type=kind) for kind in TYPES)
    read = TextReader(TextOptions(format=form, pattern="(?P<a>.)" if form == "pattern" else "", series=series))
    try:
        values = read.read(text)
    except JunkError:
        return
    for each in series:
        value = values.get(each.name)
        if value is not None and not isinstance(value, Bad):
            check_value(each.declare(None), value)


@given(st.lists(st.binary(max_size=20)), st.sampled_from([b"\n", b"\r\n", b"ETX"]))
def test_lines_are_the_same_whole_and_a_byte_at_a_time(parts: list[bytes], end: bytes) -> None:
    stream = end.join(parts)
    whole, single = LineSplitter(end), LineSplitter(end)
    assert whole.feed(stream) == [line for byte in stream for line in single.feed(bytes([byte]))]


def test_a_first_line_that_may_lack_its_beginning_is_left_out() -> None:
    lines = LineSplitter(skip_first=True)
    assert [lines.feed(part) for part in (b"2.5", b" kg\n12.", b"6 kg\n7\n")] == [[], [], ["12.6 kg", "7"]]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_that_is_too_long_is_told_and_the_next_is_read(end: bytes) -> None:
    stream = b"a" * LINE_BYTES_MAX + end + b"b" * (LINE_BYTES_MAX + 1) + end + b"c" + end
    whole, single = LineSplitter(end), LineSplitter(end)
    expected = ["a" * LINE_BYTES_MAX, None, "c"]
    assert whole.feed(stream) == expected
    assert [line for at in range(0, len(stream), 7) for line in single.feed(stream[at : at + 7])] == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "there is no series"),
        ({"series": [{"name": "a"}, {"name": "a"}]}, "two series a"),
        ({"series": [{"name": "a b"}]}, "is not a series name"),
        ({"series": [{"name": "a", "type": "bool", "scale": 2.0}]}, "it takes no scale"),
        ({"series": [{"name": "a"}], "format": "pattern"}, "needs a pattern"),
        ({"series": [{"name": "a"}], "pattern": "x"}, "no other format takes one"),
        ({"series": [{"name": "a"}], "format": "pattern", "pattern": "("}, "is no regular expression"),
        ({"series": [{"name": "a"}], "format": "pattern", "pattern": "x"}, r"write \(\?P<a>"),
        ({"series": [{"name": "a", "type": "number"}]}, "must be one of float64"),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_remedy(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        build(TextOptions, options)
