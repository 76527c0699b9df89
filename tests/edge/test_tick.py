from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.tick import Tick, decode_tick, encode_tick
from streams.errors import CorruptError
from tests.edge.ticks import tick, ticks


@given(ticks())
def test_a_tick_comes_back_as_it_was(given_tick: Tick) -> None:
    found = decode_tick(encode_tick(given_tick))
    assert repr(found) == repr(given_tick), "repr tells nan and -0.0"
    assert [type(value) for value in found.values] == [type(value) for value in given_tick.values]


@given(ticks(), st.data())
def test_a_tick_that_is_cut_or_longer_is_refused(given_tick: Tick, data: st.DataObject) -> None:
    whole = encode_tick(given_tick)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(CorruptError):
        decode_tick(whole[:cut])
    with pytest.raises(CorruptError):
        decode_tick(whole + b"\0")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_tick_or_corrupt_and_nothing_else(data: bytes) -> None:
    try:
        found = decode_tick(data)
    except CorruptError:
        return
    assert found.count == len(found.values) == len(found.qualities)


@given(ticks(), st.integers(1, 500))
def test_split_keeps_every_reading_in_order(given_tick: Tick, weight_max: int) -> None:
    parts = given_tick.split(weight_max)
    assert [pair for part in parts for pair in zip(part.series, map(repr, part.values), part.qualities)] == [
        *zip(given_tick.series, map(repr, given_tick.values), given_tick.qualities)
    ]
    assert all(part.weight <= weight_max or part.count == 1 for part in parts)
    assert {part.time_ns for part in parts} == {given_tick.time_ns}


def test_a_tick_that_is_light_enough_is_not_split() -> None:
    whole = tick(1, 1.0, 2.0)
    assert whole.split(1000) == [whole]
