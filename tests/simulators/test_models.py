"""Every device model, held to the same contract."""

from __future__ import annotations

import itertools
import math
import random
import re
import struct

import pytest

from simulators.devices import MODELS, Model
from simulators.dice import Dice
from simulators.quantity import Quantity, Value

START_NS = 1_764_000_000_000_000_000
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
TYPES = {"float64": float, "float32": float, "int64": int, "bool": bool, "text": str}


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make(name: str, seed: int = 1, device: str = "x") -> Model:
    return MODELS[name](Dice(seed, device))


def a_day(model: Model, step_s: int = 97) -> list[tuple[Value, ...]]:
    return [tuple(model.measure(START_NS + second * SECOND_NS)) for second in range(0, 86_400, step_s)]


def test_series_are_four_to_eight_with_a_bool_a_counter_and_proper_names(name: str) -> None:
    quantities = make(name).quantities
    assert 4 <= len(quantities) <= 8
    assert len({q.name for q in quantities}) == len(quantities)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", q.name) for q in quantities)
    assert {"bool", "int64", "float64"} <= {q.kind for q in quantities}
    assert sum(q.abnormal is not None for q in quantities) >= 4


def test_some_model_has_a_text_state() -> None:
    assert sum(any(q.kind == "text" for q in make(name).quantities) for name in MODELS) >= 3


def test_readings_follow_from_seed_device_and_instant_alone(name: str) -> None:
    ticks = [START_NS + i * SECOND_NS for i in range(300)]
    forwards = make(name)
    first = {tick: tuple(forwards.measure(tick)) for tick in ticks}
    shuffled = ticks.copy()
    random.Random(5).shuffle(shuffled)
    again = make(name)
    assert {tick: tuple(again.measure(tick)) for tick in shuffled} == first


def test_another_seed_and_another_device_measure_something_else(name: str) -> None:
    mine = make(name, 1, "a").measure(START_NS)
    assert mine != make(name, 2, "a").measure(START_NS)
    assert mine != make(name, 1, "b").measure(START_NS)


def test_readings_have_the_declared_type_and_stay_in_their_range(name: str) -> None:
    model = make(name)
    for row in a_day(model):
        for quantity, value in zip(model.quantities, row, strict=True):
            assert type(value) is TYPES[quantity.kind], quantity.name
            if isinstance(value, float):
                assert math.isfinite(value)
                assert quantity.minimum is not None and quantity.maximum is not None
                assert quantity.minimum <= value <= quantity.maximum, quantity.name


def test_no_series_rests_at_the_end_of_its_range_all_day(name: str) -> None:
    model = make(name)
    rows = a_day(model)
    for index, quantity in enumerate(model.quantities):
        assert len({row[index] for row in rows}) > 1, quantity.name
        if isinstance(rows[0][index], float) and not quantity.only_up:
            clipped = sum(row[index] in (quantity.minimum, quantity.maximum) for row in rows)
            assert clipped < len(rows) / 4, quantity.name


def test_readings_are_quantised_as_declared(name: str) -> None:
    model = make(name)
    for row in a_day(model, 997):
        for quantity, value in zip(model.quantities, row, strict=True):
            if quantity.kind == "float32":
                assert struct.unpack("<f", struct.pack("<f", value))[0] == value
            elif quantity.decimals is not None and isinstance(value, float):
                assert float(f"{value:.{quantity.decimals}f}") == value
            elif quantity.kind == "float64" and quantity.resolution is not None and isinstance(value, float):
                assert round(value / quantity.resolution) * quantity.resolution == value


def test_counters_never_go_back(name: str) -> None:
    model = make(name)
    counters = [index for index, q in enumerate(model.quantities) if q.kind == "int64"]
    rows = [model.measure(START_NS + i * 13 * SECOND_NS) for i in range(20_000)]
    for index in counters:
        column = [row[index] for row in rows]
        assert column == sorted(column), model.quantities[index].name  # type: ignore[type-var]
        assert column[-1] > column[0], model.quantities[index].name  # type: ignore[operator]


def test_counters_are_whole_numbers_above_zero_even_before_the_machine_was_installed(name: str) -> None:
    model = make(name)
    for quantity, value in zip(model.quantities, model.measure(0), strict=True):
        if quantity.kind == "int64":
            assert value == 0


def test_an_abnormal_change_is_far_above_the_noise(name: str) -> None:
    """A fault must be visible: the median step from one second to the next is a tenth of it or less."""
    model = make(name)
    rows = [model.measure(START_NS + i * SECOND_NS) for i in range(2000)]
    for index, quantity in enumerate(model.quantities):
        if quantity.abnormal is not None:
            column = [float(row[index]) for row in rows]
            steps = sorted(abs(b - a) for a, b in itertools.pairwise(column))
            assert steps[len(steps) // 2] <= quantity.abnormal / 10, quantity.name


def test_reading_clips_and_quantises() -> None:
    tenth = Quantity(name="a", unit="V", decimals=1, minimum=-1, maximum=1)
    assert [tenth.read(x) for x in (-9.0, 0.26, 9.0)] == [-1, 0.3, 1]
    converter = Quantity(name="b", unit="V", resolution=3.3 / 4096)
    assert converter.read(1.0) == 1241 * (3.3 / 4096)
    assert converter.step == 3.3 / 4096
    assert Quantity(name="c", unit="V").read(math.pi) == math.pi
