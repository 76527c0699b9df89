"""What every detector owes the processors (processors/detectors/detector.py), run over all that are there.

Those that are installed with an entry point `penstock.detectors` are among them. To run it on one of your own
(docs/detectors.md):

    .venv/bin/pytest tests/contracts/test_detector_contract.py -k NAME
"""

from __future__ import annotations

import doctest
import functools
import itertools
import math
import random
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from processors.alarms import Transition
from processors.detectors.bank_compiled import Bank
from processors.detectors.detector import Detector
from processors.detectors.registry import detectors, known
from processors.manifests import SeriesInfo
from processors.rows import no_rows

INF = math.inf
GUARD = -7.25  # what lies beside the state and must stay as it is


class Given(NamedTuple):
    """A series as a detector sees it."""

    values: tuple[float, ...]
    resolution: float = 0.0
    minimum: float = -INF
    maximum: float = INF
    step_s: float = 1.0


_SPECIAL = (
    0.0,
    -0.0,
    1.0,
    5e-324,
    -2.2e-308,
    1e-12,
    1e15,
    1e150,
    -1e300,
    1.7976931348623157e308,
    -1.7976931348623157e308,
)
_value = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(_SPECIAL) | st.integers(-3, 3).map(float)
_stretch = st.tuples(st.lists(_value, min_size=1, max_size=4), st.integers(1, 70)).map(lambda pair: pair[0] * pair[1])
given_series = st.builds(
    Given,
    st.lists(_stretch, min_size=1, max_size=6).map(lambda parts: tuple(itertools.chain(*parts))),
    st.sampled_from([0.0, 0.01, 1.0, 5e-324, 1e308]),
    st.sampled_from([-INF, -10.0, 1e308]),
    st.sampled_from([INF, 10.0, -1e308]),
    st.sampled_from([1.0, 0.0, -1.0, 1e9]),
)
_EXTREMES = Given((1.7976931348623157e308, -1.7976931348623157e308) * 120)
_EXTREME_AFTER_SILENCE = Given((0.0,) * 300 + (1.7976931348623157e308,) * 50)


pytestmark = pytest.mark.parametrize("detector", detectors(known()), ids=known())


def arguments(series: Given) -> list[tuple[float, float, float, float, float]]:
    return [
        (1e9 + at * series.step_s, value, series.resolution, series.minimum, series.maximum)
        for at, value in enumerate(series.values)
    ]


def interpreted(detector: Detector, series: Given, state: Any = None) -> list[float]:
    """Strengths, as the edge works them out: a plain list for the state."""
    state = [0.0] * detector.width if state is None else state
    return [detector.step(state, *each) for each in arguments(series)]


@functools.cache
def _runner(step: Callable[..., float]) -> Any:
    inner = njit(step)

    @njit  # type: ignore[untyped-decorator]
    def run(state: Any, rows: Any, out: Any) -> None:
        for row in range(len(rows)):
            out[row] = inner(state, rows[row, 0], rows[row, 1], rows[row, 2], rows[row, 3], rows[row, 4])

    return run


def compiled(detector: Detector, series: Given, state: Any = None) -> list[float]:
    """Strengths, as the hub works them out."""
    out = np.empty(len(series.values))
    state = np.zeros(detector.width) if state is None else state
    _runner(detector.step)(state, np.array(arguments(series)).reshape(-1, 5), out)
    return [float(each) for each in out]


def bits(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


class Fenced(list[float]):
    """A state that can neither grow nor be reached over its ends."""

    def _place(self, index: Any) -> int:
        assert isinstance(index, int) and 0 <= index < len(self), f"column {index!r} of {len(self)}"
        return index

    def __getitem__(self, index: Any) -> float:  # type: ignore[override]
        return super().__getitem__(self._place(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(self._place(index), value)

    def __getattribute__(self, name: str) -> Any:
        assert name not in ("append", "extend", "insert", "pop", "clear", "remove"), f"the state has no {name}"
        return super().__getattribute__(name)


def test_it_says_who_it_is(detector: Detector) -> None:
    assert detector.name and detector.name == detector.name.strip().lower()
    assert detector.version >= 1
    assert detector.kind in ("process", "sensor")
    assert detector.width >= 2, "columns 0 and 1 are what is usual and how far it spreads"


def test_its_module_says_what_it_is_good_and_bad_at_with_examples_that_run(detector: Detector) -> None:
    module = sys.modules[detector.step.__module__]
    text = module.__doc__ or ""
    assert "Good at" in text and "Bad at" in text
    result = doctest.testmod(module)
    assert result.attempted > 0, "give it an example"
    assert result.failed == 0


@given(series=given_series)
@example(series=_EXTREMES)
@example(series=_EXTREME_AFTER_SILENCE)
@settings(deadline=None, max_examples=60)
def test_strengths_and_state_are_finite_for_every_finite_value(detector: Detector, series: Given) -> None:
    state = [0.0] * detector.width
    for strength in interpreted(detector, series, state):
        assert math.isfinite(strength) and strength >= 0.0
        assert isinstance(strength, float)
    assert all(math.isfinite(each) for each in state)


@given(series=given_series)
@example(series=_EXTREMES)
@example(series=_EXTREME_AFTER_SILENCE)
@settings(deadline=None, max_examples=60)
def test_compiled_is_interpreted_to_the_bit(detector: Detector, series: Given) -> None:
    plain, fast = [0.0] * detector.width, np.zeros(detector.width)
    assert bits(interpreted(detector, series, plain)) == bits(compiled(detector, series, fast))
    assert bits(plain) == fast.tobytes()


@given(series=given_series)
@settings(deadline=None, max_examples=20)
def test_its_state_stays_within_its_width(detector: Detector, series: Given) -> None:
    interpreted(detector, series, Fenced([0.0] * detector.width))
    block = np.full((3, detector.width), GUARD)
    block[1] = 0.0
    compiled(detector, series, block[1])
    assert (block[0] == GUARD).all() and (block[2] == GUARD).all()


@given(series=given_series, cut=st.integers(0, 400))
@settings(deadline=None, max_examples=20)
def test_it_is_strictly_online(detector: Detector, series: Given, cut: int) -> None:
    """What comes later, or was seen of another series, changes nothing."""
    whole = interpreted(detector, series)
    assert bits(interpreted(detector, series._replace(values=series.values[:cut]))) == bits(whole[:cut])
    state, other = [0.0] * detector.width, [0.0] * detector.width
    for number, each in enumerate(arguments(series)):
        assert bits([detector.step(state, *each)]) == bits([whole[number]])
        detector.step(other, each[0], -each[1], *each[2:])


@given(series=given_series, cut=st.integers(0, 400))
@settings(deadline=None, max_examples=20)
def test_a_snapshot_in_mid_stream_gives_the_same_answers(detector: Detector, series: Given, cut: int) -> None:
    before, after = series._replace(values=series.values[:cut]), series._replace(values=series.values[cut:])
    bank, restarted = Bank(detector, 1.0, 0.6, 10.0), Bank(detector, 1.0, 0.6, 10.0)
    seen = run(bank, before)
    restarted.restore(bank.snapshot())
    if seen and seen[-1].opens:  # the store knows
        restarted.reopen(0, time_ns(before, seen[-1].row), seen[-1].strength)
    assert run(restarted, after, start=cut) == run(bank, after, start=cut)
    assert restarted.snapshot() == bank.snapshot()


def test_it_is_silent_when_all_is_calm(detector: Detector) -> None:
    for name, values in calm().items():
        loudest = max(compiled(detector, Given(tuple(values))))
        assert loudest < 1.0, f"{name}: strength {loudest:.2f}"


def test_it_has_a_sentence_for_what_it_saw(detector: Detector) -> None:
    for info in (SeriesInfo("d", "x"), SeriesInfo("d", "x", unit="bar", minimum=-1.0, maximum=1.0)):
        for value in (0.0, -5.0, 5.0, 1e300):
            said = detector.says(value, 0.5, 0.25, info)
            assert said and said == said.strip() and "\n" not in said


def calm() -> dict[str, list[float]]:
    """Series of which nothing is to be said: 4,000 readings each."""
    dice = random.Random(7)
    count = range(4000)
    wave = [20.0 + 3.0 * math.sin(at / 500) for at in count]
    return {
        "constant": [21.5] * len(count),
        "zero": [0.0] * len(count),
        "noise": [dice.gauss(20.0, 0.5) for _ in count],
        "noise of tiny numbers": [dice.gauss(0.0, 1e-15) for _ in count],
        "noise of huge numbers": [dice.gauss(1e200, 1e198) for _ in count],
        "a slow wave": wave,
        "a slow wave with noise": [value + dice.gauss(0.0, 0.2) for value in wave],
        "a slow wave as a coarse sensor reads it": [round(value * 4) / 4 for value in wave],
        "a counter": [float(at * 3) for at in count],
        "two values in turn": [float(at % 2) for at in count],
    }


def time_ns(series: Given, at: int) -> int:
    return 10**18 + round(at * series.step_s * 1e9) % 10**15


def run(bank: Bank, series: Given, *, start: int = 0) -> list[Transition]:
    """What opens and closes when the bank is fed a series whose first reading is number `start`."""
    rows = no_rows()
    rows.value = np.array(series.values, np.float64)
    rows.series = np.zeros(len(series.values), np.int32)
    rows.time_ns = np.array([time_ns(series, at + start) for at in range(len(series.values))], np.int64)
    limits = np.array([(series.resolution, series.minimum, series.maximum)])
    return bank.run(rows, limits, np.ones(len(series.values), np.bool_))
