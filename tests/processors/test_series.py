"""Row numbers of series."""

from __future__ import annotations

import pytest

from processors.manifests import SeriesInfo
from processors.series import SeriesTable

A, B, C = (SeriesInfo("d", name) for name in "abc")


def test_numbers_are_dense_and_for_life() -> None:
    table = SeriesTable()
    assert [table.number(each) for each in (A, B, A, C, B)] == [0, 1, 0, 2, 1]
    assert len(table) == 3
    assert [table.info(number) for number in range(3)] == [A, B, C]
    assert table.find("d", "b") == 1
    assert table.find("e", "b") is None
    assert (table.has("d"), table.has("e")) == (True, False)


def test_changes_are_told_once() -> None:
    table = SeriesTable()
    table.number(A)
    table.number(B)
    assert table.take_changed() == [(0, A), (1, B)]
    table.number(A)
    assert table.take_changed() == []
    warmer = SeriesInfo("d", "a", unit="Cel", maximum=90.0)
    assert table.number(warmer) == 0
    assert table.info(0) == warmer
    assert table.take_changed() == [(0, warmer)]


def test_a_table_goes_on_from_what_the_store_kept() -> None:
    table = SeriesTable([(1, B), (0, A)])
    assert table.take_changed() == []
    assert table.number(C) == 2
    assert table.number(B) == 1
    assert table.has("d")


def test_a_gap_in_what_the_store_kept_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no gaps"):
        SeriesTable([(0, A), (2, B)])
