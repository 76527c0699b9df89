"""The score of alarms against labels."""

from __future__ import annotations

from typing import Any

import pytest

from simulators.label import Fault, Label
from simulators.score import score

SECOND_NS = 10**9


def fault(start_s: int, end_s: int, kind: Fault = "level_shift", series: str = "x", device: str = "d") -> Label:
    return Label(start_s * SECOND_NS, end_s * SECOND_NS, device, series, kind, 1.0)


def alarm(opened_s: float, metric: str = "x", device: str = "d", kind: str = "process") -> dict[str, Any]:
    return {
        "device": device,
        "metric": metric,
        "opened_ns": round(opened_s * SECOND_NS),
        "kind": kind,
        "state": "closed",
    }


def test_nothing_to_find_and_nothing_said() -> None:
    result = score([], [])
    assert (result.total.recall, result.precision, result.false_alarms) == (1.0, 1.0, 0)
    assert result.total.delay_s is None


def test_delay_is_counted_to_the_first_alarm_of_a_fault() -> None:
    result = score([fault(100, 160)], [alarm(130), alarm(104.5), alarm(170)])
    assert (result.total.found, result.total.delays_s, result.false_alarms) == (1, (4.5,), 0)


def test_an_alarm_before_the_fault_after_the_grace_or_elsewhere_is_false() -> None:
    wrong = [alarm(99), alarm(220), alarm(130, metric="y"), alarm(130, device="e")]
    result = score([fault(100, 160)], wrong, grace_s=60)
    assert (result.total.recall, result.false_alarms, result.precision) == (0.0, 4, 0.0)
    assert list(result.false) == wrong


def test_the_later_of_two_faults_explains_an_alarm() -> None:
    result = score([fault(100, 160), fault(200, 260, "stuck")], [alarm(205, kind="sensor")], grace_s=60)
    assert (result.kinds["stuck"].found, result.kinds["level_shift"].found, result.kind_right) == (1, 0, 1)


def test_kinds_are_told_apart() -> None:
    labels = [fault(100, 160), fault(100, 160, "spike", "y"), fault(100, 160, "dropout", "z")]
    result = score(labels, [alarm(110), alarm(110, "y", kind="process")])
    assert (result.total.faults, result.total.found, result.kind_right, result.explained) == (3, 2, 1, 2)
    assert {kind: (k.faults, k.found) for kind, k in result.kinds.items()} == {
        "level_shift": (1, 1),
        "spike": (1, 1),
        "dropout": (1, 0),
    }


def test_false_alarms_for_each_series_and_week() -> None:
    result = score([], [alarm(1), alarm(2)])
    assert result.false_alarms_per_week(series=100, watched_s=7 * 86_400 / 50) == pytest.approx(1.0)
