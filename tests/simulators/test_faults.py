"""The fault schedule and what faults do to readings."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.devices import MODELS, Model
from simulators.dice import Dice
from simulators.faults import QUIET_NS, Disturbance, Schedule
from simulators.label import FAULTS, Label
from simulators.quantity import Quantity, Value

START_NS = 1_764_000_000_000_000_000
SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS


def fleet(devices: int = 20) -> dict[str, tuple[Quantity, ...]]:
    names = list(MODELS)
    return {f"d{i}": MODELS[names[i % len(names)]](Dice(1, f"d{i}")).quantities for i in range(devices)}


def test_within_any_few_minutes_the_fleet_has_a_level_shift_and_a_stuck_sensor() -> None:
    for seed in range(5):
        schedule = Schedule(seed, fleet())
        for minute in range(0, 300, 7):
            start_ns = START_NS + minute * 60 * SECOND_NS
            whole = {
                label.kind
                for label in schedule.labels(start_ns, start_ns + 300 * SECOND_NS)
                if start_ns <= label.start_ns and label.end_ns <= start_ns + 300 * SECOND_NS
            }
            assert {"level_shift", "stuck"} <= whole


def test_every_kind_comes_within_two_hours() -> None:
    assert {label.kind for label in Schedule(1, fleet()).labels(START_NS, START_NS + 2 * HOUR_NS)} == set(FAULTS)


def test_a_larger_fleet_has_more_faults() -> None:
    small = Schedule(1, fleet(20)).labels(START_NS, START_NS + HOUR_NS)
    large = Schedule(1, fleet(100)).labels(START_NS, START_NS + HOUR_NS)
    assert len(large) > 3 * len(small)


@given(seed=st.integers(0, 10**6), offset_s=st.integers(-(10**9), 10**8), length_s=st.integers(1, 4000))
@settings(max_examples=30, deadline=None)
def test_a_part_of_the_schedule_is_the_same_as_that_part_of_the_whole(seed: int, offset_s: int, length_s: int) -> None:
    """A fleet that starts in the middle sees the faults that a fleet sees that ran all along."""
    start_ns, end_ns = START_NS + offset_s * SECOND_NS, START_NS + (offset_s + length_s) * SECOND_NS
    whole = Schedule(seed, fleet()).labels(start_ns - HOUR_NS, end_ns + HOUR_NS)
    part = Schedule(seed, fleet()).labels(start_ns, end_ns)
    assert part == [label for label in whole if label.start_ns < end_ns and start_ns < label.end_ns]


def test_two_faults_of_one_series_keep_apart() -> None:
    for seed in range(5):
        by_series: dict[tuple[str, str], list[Label]] = {}
        for label in Schedule(seed, fleet(2)).labels(START_NS, START_NS + 6 * HOUR_NS):
            by_series.setdefault((label.device, label.series), []).append(label)
        pairs = [pair for labels in by_series.values() for pair in combinations(labels, 2)]
        assert len(pairs) > 20
        for first, second in pairs:
            assert second.start_ns - first.end_ns >= QUIET_NS or first.start_ns - second.end_ns >= QUIET_NS


def test_active_agrees_with_the_labels() -> None:
    schedule = Schedule(4, fleet(5))
    labels = schedule.labels(START_NS, START_NS + HOUR_NS)
    seen: set[Label] = set()
    for second in range(3600):
        now_ns = START_NS + second * SECOND_NS
        for device in fleet(5):
            active = schedule.active(device, now_ns)
            assert active == [label for label in labels if label.device == device and label.covers(now_ns)]
            seen.update(active)
    assert seen == set(labels)


def test_a_fleet_with_nothing_to_disturb_has_no_faults() -> None:
    assert Schedule(1, {"a": (Quantity(name="x", unit=""),)}).labels(START_NS, START_NS + HOUR_NS) == []


class Line:
    """A model whose only reading is the time in seconds."""

    quantities = (Quantity(name="x", unit="s", decimals=3, minimum=-1000, maximum=10_000, abnormal=1),)

    def measure(self, time_ns: int) -> tuple[Value, ...]:
        return (time_ns / 1e9,)


def disturbed(kind: str, at_s: float, size: float = 5.0, model: Model | None = None) -> Value | None:
    label = Label(10 * SECOND_NS, 20 * SECOND_NS, "d", "x", kind, size)  # type: ignore[arg-type]
    model = model or Line()
    now_ns = round(at_s * 1e9)
    (value,) = Disturbance(model, Dice(1, "d")).apply(model.measure(now_ns), [label], now_ns)
    return value


def test_what_each_fault_does() -> None:
    assert disturbed("level_shift", 12.0) == 17.0
    assert disturbed("spike", 12.0, -5.0) == 7.0
    assert disturbed("stuck", 12.0) == disturbed("stuck", 19.0) == 10.0
    assert disturbed("dropout", 12.0) is None
    assert [disturbed("drift", at_s) for at_s in (10.0, 15.0, 19.0)] == [10.0, 17.5, 23.5]
    noise = [disturbed("noise", 12.0 + i / 100) for i in range(100)]
    assert all(isinstance(value, float) for value in noise)
    spread = [float(value or 0) - 12.0 - i / 100 for i, value in enumerate(noise)]
    assert min(spread) < -3 and max(spread) > 3


def test_a_disturbed_reading_stays_in_the_range_of_its_sensor() -> None:
    assert disturbed("level_shift", 12.0, 1e9) == 10_000
    assert disturbed("level_shift", 12.0, -1e9) == -1000


def test_an_undisturbed_series_is_left_alone() -> None:
    model = MODELS["pump"](Dice(1, "p"))
    values = model.measure(START_NS)
    label = Label(START_NS, START_NS + SECOND_NS, "p", "flow", "dropout", 0.0)
    after = Disturbance(model, Dice(1, "p")).apply(values, [label], START_NS)
    changed = [q.name for q, a, b in zip(model.quantities, values, after) if a != b]
    assert changed == ["flow"]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_disturbance_follows_from_seed_and_instant_alone(kind: str) -> None:
    assert disturbed(kind, 15.0) == disturbed(kind, 15.0)
