"""The published vectors of the frame format: what they say is what every reader and writer here does."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from streams.frames import KINDS, FrameError, decode, encode, layout, read_header
from streams.frames import encode_numpy as numpy_module
from streams.frames.decode_compiled import decode_many
from streams.frames.fault import SENTENCES
from tests.streams.frame_samples import decoded_rows, rows
from tests.vectors import make_frames

reference = importlib.import_module("streams.frames.decode")  # the package has a function of this name
FOLDER = Path(make_frames.__file__).with_name("frames")
ACCEPTED: list[dict[str, Any]] = json.loads((FOLDER / "accepted.json").read_text())
REFUSED: list[dict[str, Any]] = json.loads((FOLDER / "refused.json").read_text())


def name_of(vector: dict[str, Any]) -> str:
    return str(vector["name"])


@pytest.mark.parametrize("vector", ACCEPTED, ids=name_of)
def test_a_vector_is_read_as_it_says(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    frame = decode(data)
    assert make_frames.described(frame) == vector["frame"]
    decoded = decode_many([data])
    assert not decoded.errors
    assert decoded_rows(decoded, 0) == rows(frame)


@pytest.mark.parametrize("vector", [vector for vector in ACCEPTED if vector["encoded"]], ids=name_of)
def test_both_encoders_write_a_vector_as_it_is(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_module, "ROWS_MIN", 0)
    frame = decode(bytes.fromhex(vector["bytes"]))
    assert encode(frame).hex() == vector["bytes"]
    assert numpy_module.encode(frame).hex() == vector["bytes"]


@pytest.mark.parametrize("vector", REFUSED, ids=name_of)
def test_a_damaged_vector_is_refused_with_its_sentence(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    with pytest.raises(FrameError) as refusal:
        decode(data)
    assert str(refusal.value) == vector["sentence"]
    decoded = decode_many([data])
    assert decoded.errors == {0: vector["sentence"]}
    assert len(decoded.value) == 0


def test_every_fault_has_a_vector() -> None:
    assert {f"frame refused: {sentence}" for sentence in SENTENCES.values()} <= {each["sentence"] for each in REFUSED}


def test_every_encoding_and_every_kind_has_a_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    found: set[int] = set()
    reading = reference._reading

    def spy(encoding: int) -> Any:
        found.add(encoding)
        return reading(encoding)

    monkeypatch.setattr(reference, "_reading", spy)
    frames = [decode(bytes.fromhex(vector["bytes"])) for vector in ACCEPTED]
    families = {
        layout.DECIMAL: range(16), layout.CORRECTED: range(16, 32), layout.SIXTIETHS: range(32, 38),
        layout.FLOAT32_DECIMAL: range(48, 58),
    }  # fmt: skip
    others = (
        layout.STEP, layout.STEP_CORRECTED, layout.NARROW_SPLIT, layout.NARROW_PATTERN, layout.PATTERN,
        layout.FLOAT32_SPLIT, layout.FLOAT32_PATTERN, layout.INT64, layout.BOOL, layout.TEXT,
    )  # fmt: skip
    assert set(others) <= found
    assert all(found & set(family) for family in families.values())
    columns = [column for frame in frames for block in frame.blocks for column in block.columns]
    assert {(column.kind, bool(column.values)) for column in columns} == {
        (kind, filled) for kind in KINDS for filled in (True, False)
    }
    assert {column.kind for column in columns if column.quality} >= {"float64", "text"}


def test_the_vectors_are_those_that_the_script_makes() -> None:
    made = [vector for vector in make_frames.accepted() if vector["encoded"]]
    assert made == [vector for vector in ACCEPTED if vector["encoded"]]
    assert make_frames.refused() == REFUSED


def test_a_damaged_frame_does_not_touch_its_neighbours() -> None:
    good = [bytes.fromhex(vector["bytes"]) for vector in ACCEPTED]
    bad = [bytes.fromhex(vector["bytes"]) for vector in REFUSED]
    mixed = [data for pair in zip(bad, [*good, *good]) for data in pair]
    decoded = decode_many([memoryview(data) for data in mixed])
    assert sorted(decoded.errors) == list(range(0, len(mixed), 2))
    for index in range(1, len(mixed), 2):
        assert decoded_rows(decoded, index) == rows(decode(mixed[index]))
        assert decoded.headers[index] == read_header(mixed[index])
        assert decoded.row_start[index] == decoded.row_start[index - 1], "a refused frame has no rows"
