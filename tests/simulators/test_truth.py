"""Truth and label files."""

from __future__ import annotations

import contextlib
import math
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.label import FAULTS, Label, LabelFile, read_labels
from simulators.quantity import Value
from simulators.truth import Truth, TruthFile, read_truth
from streams.errors import DiskError, JunkError

ROOM = 1 << 30
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.floats(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text(max_size=20)
)
TICKS = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1), st.lists(st.tuples(st.from_regex(r"[a-z.]{1,9}", fullmatch=True), VALUES))
    )
)
LABELS = st.builds(
    Label,
    start_ns=st.integers(),
    end_ns=st.integers(),
    device=st.text(max_size=8),
    series=st.text(max_size=8),
    kind=st.sampled_from(FAULTS),
    size=st.floats(allow_nan=False),
)


def same(a: Value, b: Value) -> bool:
    """Equal to the bit and of the same type; a NaN keeps being a NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    return type(a) is type(b) and a == b


@given(ticks=TICKS)
@settings(max_examples=100, deadline=None)
def test_what_was_written_is_read_back_with_its_type(
    tmp_path_factory: pytest.TempPathFactory, ticks: list[tuple[int, list[tuple[str, Value]]]]
) -> None:
    path = tmp_path_factory.mktemp("truth") / "d.csv"
    file = TruthFile(path, bytes_max=ROOM)
    for time_ns, readings in ticks:
        file.write(time_ns, readings)
    file.close()
    expected = [Truth(series, time_ns, value) for time_ns, readings in ticks for series, value in readings]
    got = list(read_truth(path))
    assert [row[:2] for row in got] == [row[:2] for row in expected]
    assert all(same(a.value, b.value) for a, b in zip(got, expected, strict=True))


def test_a_torn_last_line_is_left_out_at_every_length_and_cut_when_the_file_is_opened(tmp_path: Path) -> None:
    whole = b'a,1,2.5\nb,1,"on"\n'
    rows = [Truth("a", 1, 2.5), Truth("b", 1, "on")]
    path = tmp_path / "d.csv"
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        complete = rows[: whole[:length].count(b"\n")]
        assert list(read_truth(path)) == complete
        file = TruthFile(path, bytes_max=ROOM)
        file.write(2, [("c", True)])
        file.close()
        assert list(read_truth(path)) == [*complete, Truth("c", 2, True)]


def test_a_long_torn_line_is_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(b"a,1,2\n" + b"x" * 10_000)
    TruthFile(path, bytes_max=ROOM).close()
    assert path.read_bytes() == b"a,1,2\n"


def test_a_damaged_line_in_the_middle_is_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(b"a,1,2\nnonsense\na,2,2\n")
    with pytest.raises(JunkError, match="line 2"):
        list(read_truth(path))


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_readings_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "d.csv"
    path.write_bytes(data)
    with contextlib.suppress(JunkError):
        assert all(isinstance(row, Truth) for row in read_truth(path))


def test_a_full_file_is_put_aside_and_the_newest_readings_stay(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    file = TruthFile(path, bytes_max=100)
    for tick in range(50):
        file.write(tick, [("a", tick)])
    file.close()
    old = list(read_truth(path.with_name("d.csv.old")))
    new = list(read_truth(path))
    assert [row.value for row in old + new] == list(range(old[0].time_ns, 50))
    assert path.stat().st_size <= 100


def test_a_tick_that_the_disk_takes_in_part_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.csv"
    file = TruthFile(path, bytes_max=ROOM)
    file.write(1, [("a", 1)])
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:5], at))
    with pytest.raises(DiskError, match="full"):
        file.write(2, [("a", 2), ("b", 2)])
    monkeypatch.undo()
    file.write(3, [("a", 3)])
    file.close()
    assert [row.time_ns for row in read_truth(path)] == [1, 3]


@given(st.lists(LABELS, max_size=5))
@settings(deadline=None)
def test_labels_are_read_back_each_once(tmp_path_factory: pytest.TempPathFactory, labels: list[Label]) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    for _run in range(2):
        file = LabelFile(path)
        for label in labels + labels:
            file.note(label)
        file.close()
    assert path.read_bytes().count(b"\n") == 2 * len(set(labels))
    with path.open("ab") as torn:
        torn.write(b'{"start_ns": 1')
    assert read_labels(path) == sorted(set(labels))


@pytest.mark.parametrize("line", ["{}", "[]", "7", "{", '{"kind": "sabotage"}'])
def test_a_line_that_is_no_label_is_refused_by_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(JunkError, match="line 1"):
        read_labels(path)
