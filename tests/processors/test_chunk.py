"""A chunk knows whether it changes anything."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from processors.chunk import Chunk
from tests.processors.world import arrived, engine, manifest, simple, take

FIELDS = [each.name for each in dataclasses.fields(Chunk) if each.name not in ("rows", "undecodable")]


def test_one_with_nothing_in_it_is_empty() -> None:
    assert Chunk().is_empty()


@pytest.mark.parametrize("name", FIELDS)
def test_any_part_makes_it_worth_a_commit(name: str) -> None:
    chunk = Chunk()
    part: Any = getattr(chunk, name)
    if isinstance(part, dict):
        part["x"] = 1
    else:
        part.append("x")
    assert not chunk.is_empty()


def test_rows_make_it_worth_a_commit() -> None:
    made = engine()
    (chunk,) = take(made, arrived(simple(0, [1.0])), manifest("level"))
    assert not Chunk(rows=chunk.rows).is_empty()
