"""Lines against a plain parser of the protocol's grammar: every field comes back, to the bit."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.alarms import Alarm
from processors.manifests import SeriesInfo
from processors.rows import Rows
from processors.stores.line_protocol import Heads, ReadingLines, alarm_line, tag
from processors.stores.places import Places
from streams.frames import KIND_CODES, Kind

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(st.floats(), INT64, st.booleans(), st.text(st.characters(exclude_categories=["Cs"])))
KINDS = {float: Kind.FLOAT64, int: Kind.INT64, bool: Kind.BOOL, str: Kind.TEXT}


def rows(values: list[Any], times: list[int]) -> Rows:
    texts = [each for each in values if isinstance(each, str)]
    is_text = [isinstance(each, str) for each in values]
    count = len(values)
    return Rows(
        series=np.array([list(KINDS).index(type(each)) for each in values], np.int32),
        kind=np.array([KIND_CODES[KINDS[type(each)]] for each in values], np.uint8),
        time_ns=np.array(times, np.int64),
        value=np.array([np.nan if isinstance(each, str) else float(each) for each in values]),
        integer=np.array([int(each) if isinstance(each, int) else 0 for each in values], np.int64),
        text=np.where(is_text, np.cumsum(is_text) - 1, -1).astype(np.int32),
        quality=np.arange(count, dtype=np.uint8) % 4,
        epoch=np.arange(count, dtype=np.int64) % 2 + 1_790_000_000,
        sequence=np.arange(count, dtype=np.int64) + 2**40,
        partition=np.zeros(count, np.int32),
        offset=np.zeros(count, np.int64),
        texts=texts,
    )


def heads() -> Heads:
    made = Heads()
    made.learn((number, SeriesInfo("press-001", f"m.{number}")) for number in range(4))
    return made


def parse(line: str) -> tuple[str, dict[str, Any], int]:
    """Measurement and tags, fields, time."""
    found = re.fullmatch(r'((?:\\.|[^ \\])+) ((?:"(?:\\.|[^"\\])*"|[^ "])+) (-?\d+)\n', line, re.DOTALL)
    assert found, line
    fields: dict[str, Any] = {}
    for name, text in re.findall(r'(\w+)=("(?:\\.|[^"\\])*"|[^,]+)', found[2], re.DOTALL):
        if text.startswith('"'):
            fields[name] = re.sub(r'\\(["\\])', r"\1", text[1:-1])
        else:
            fields[name] = int(text[:-1]) if text.endswith("i") else float(text)
    return found[1], fields, int(found[3])


def lines_of(made: Rows, rows_max: int = 1_000) -> list[str]:
    """A line for each row, in the order of the rows."""
    found = [""] * len(made)
    for which, lines in ReadingLines(made, Places().place(made), heads()).blocks(rows_max):
        assert bytes(lines.data) == b"".join(bytes(lines[at]) for at in range(len(lines)))
        for at, row in enumerate(which.tolist()):
            found[row] = bytes(lines[at]).decode()
    return found


@given(st.lists(VALUES, min_size=1, max_size=50), st.integers(1, 60))
def test_every_field_comes_back(values: list[Any], rows_max: int) -> None:
    made = rows(values, list(range(len(values))))
    for index, (value, line) in enumerate(zip(values, lines_of(made, rows_max))):
        head, fields, point_ns = parse(line)
        assert head == f"reading,device=press-001,metric=m.{made.series[index]}"
        assert point_ns == index
        assert fields.pop("quality") == index % 4
        assert fields.pop("epoch") == 1_790_000_000 + index % 2
        assert fields.pop("sequence") == 2**40 + index
        check(value, fields)


def check(value: Any, fields: dict[str, Any]) -> None:
    """The fields that hold the value, and no others."""
    if isinstance(value, str):
        assert fields == {"text": value}
    elif isinstance(value, float) and not math.isfinite(value):
        assert set(fields) == {"bits"}
        assert struct.pack("<q", fields["bits"]) == struct.pack("<d", value)
    elif isinstance(value, int) and abs(value) > 2**53:
        assert fields == {"value": float(value), "integer": value}
    else:
        assert set(fields) == {"value"}
        assert struct.pack("<d", fields["value"]) == struct.pack("<d", float(value))


def test_a_reading_that_stands_elsewhere_says_when_it_was() -> None:
    found = [parse(line) for line in lines_of(rows([1.0, 2.0, 3.0, 4.0], [9_000, 9_000, 10_000_000, 5_000]))]
    assert [point_ns for _, _, point_ns in found] == [9_000, 9_001, 10_000_000, 5_000]
    assert [fields.get("time_ns") for _, fields, _ in found] == [None, 9_000, None, None]
    assert [head.endswith(",lap=1") for head, _, _ in found] == [False, False, False, True]


def test_blocks_are_bounded_by_bytes() -> None:
    """A frame of a few bytes may name one long text many times."""
    made = rows(["x" * 65_535] * 1_000, list(range(1_000)))
    made.texts, made.text = made.texts[:1], np.zeros(1_000, np.int32)
    blocks = list(ReadingLines(made, Places().place(made), heads()).blocks(10_000))
    assert max(len(lines.data) for _, lines in blocks) < 9 << 20
    assert sum(len(lines) for _, lines in blocks) == 1_000


@pytest.mark.parametrize(
    ("name", "written"),
    [("press-001", "press-001"), ("a,b=c d", r"a\,b\=c\ d"), ("line\nfeed\\", "line_feed_"), ("", "_"), ("é", "é")],
)
def test_tags(name: str, written: str) -> None:
    assert tag(name) == written


@pytest.mark.parametrize("strength", [1.5, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("closed_ns", [None, 77])
def test_an_alarm(strength: float, closed_ns: int | None) -> None:
    made = Alarm(
        id="a/b", device="press-001", metric="oil.pressure", detector="level", version=2, kind="process", opened_ns=5,
        closed_ns=closed_ns, strength=strength, value=math.nan, message='says "20 bar"', parameters={}, evidence={},
    )  # fmt: skip
    head, fields, point_ns = parse(alarm_line(made, 6))
    assert head == "alarm,device=press-001,metric=oil.pressure,detector=level"
    assert point_ns == 6
    assert fields.pop("closed_ns", None) == closed_ns
    assert math.isfinite(fields.pop("strength"))
    state = "open" if closed_ns is None else "closed"
    assert fields == {"state": state, "message": 'says "20 bar"', "kind": "process", "version": 2, "id": "a/b"}
