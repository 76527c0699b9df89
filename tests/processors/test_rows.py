"""Readings as columns."""

from __future__ import annotations

import numpy as np

from processors.rows import Rows, no_rows
from tests.processors.world import ONE, arrived, engine, simple, take


def test_there_may_be_none() -> None:
    rows = no_rows()
    assert len(rows) == 0
    assert isinstance(rows, Rows)
    assert no_rows().texts is not rows.texts, "nobody shares a list by accident"


def test_some_are_picked_out_of_every_column() -> None:
    (chunk,) = take(engine(), arrived(simple(5, [1.0, 2.0, 3.0])), ONE)
    some = chunk.rows.pick(np.array([True, False, True]))
    assert (some.sequence.tolist(), some.value.tolist(), len(some)) == ([5, 7], [1.0, 3.0], 2)
    for name in Rows.__slots__:
        if name != "texts":
            assert len(getattr(some, name)) == 2
            assert getattr(some, name).dtype == getattr(chunk.rows, name).dtype
