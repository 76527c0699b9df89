"""Alarms with their evidence and their sentence."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from processors.alarms import Alarms, Transition, alarm_from_json
from processors.detectors.level import LEVEL
from processors.detectors.stuck import STUCK
from processors.manifests import SeriesInfo
from processors.rows import Rows

FLOW = SeriesInfo("pump-1", "flow", unit="l/min", minimum=10.0, maximum=400.0)
PARAMETERS = {"open_strength": 1.0, "close_strength": 0.6, "close_hold_s": 10.0}


def rows(*values: float) -> Rows:
    count = len(values)
    whole = np.arange(count)
    return Rows(
        np.full(count, 3, np.int32), np.zeros(count, np.uint8), whole * 10**9, np.array(values),
        np.zeros(count, np.int64), np.full(count, -1, np.int32), np.zeros(count, np.uint8), np.full(count, 7, np.int64),
        whole + 100, np.full(count, 2, np.int32), np.full(count, 55, np.int64),
    )  # fmt: skip


def seen(row: int, *, opens: bool, strength: float = 1.5) -> Transition:
    return Transition(row, 3, opens, strength, usual=250.0, spread=1.25)


def test_an_alarm_opens_with_its_evidence_and_closes_with_its_largest_strength() -> None:
    alarms = Alarms(PARAMETERS)
    opened = alarms.apply(seen(1, opens=True), rows(250, 300.5, 250), FLOW, LEVEL)
    assert opened.to_json() == {
        "id": "pump-1/flow/level/7/101",
        "device": "pump-1",
        "metric": "flow",
        "detector": "level",
        "version": LEVEL.version,
        "kind": "process",
        "state": "open",
        "opened_ns": 10**9,
        "closed_ns": None,
        "strength": 1.5,
        "value": 300.5,
        "message": "flow of pump-1 left its usual level: 300.5 l/min, usually 250.0 ± 1.2",
        "parameters": PARAMETERS,
        "evidence": {"epoch": 7, "sequence": 101, "partition": 2, "offset": 55},
    }
    closed = alarms.apply(seen(2, opens=False, strength=4.0), rows(250, 300.5, 250), FLOW, LEVEL)
    assert closed == dataclasses.replace(opened, closed_ns=2 * 10**9, strength=4.0)
    assert closed.state == "closed"


def test_the_strength_of_a_closed_alarm_is_never_below_that_of_its_opening() -> None:
    alarms = Alarms(PARAMETERS)
    opened = alarms.apply(seen(0, opens=True, strength=3.0), rows(1, 2), FLOW, LEVEL)
    assert alarms.apply(seen(1, opens=False, strength=0.0), rows(1, 2), FLOW, LEVEL).strength == opened.strength


def test_each_detector_has_its_own_alarm_of_a_series() -> None:
    alarms = Alarms(PARAMETERS)
    level = alarms.apply(seen(0, opens=True), rows(1, 2), FLOW, LEVEL)
    stuck = alarms.apply(seen(0, opens=True), rows(1, 2), FLOW, STUCK)
    assert (level.id, stuck.id) == ("pump-1/flow/level/7/100", "pump-1/flow/stuck/7/100")
    assert alarms.apply(seen(1, opens=False), rows(1, 2), FLOW, LEVEL).id == level.id
    assert alarms.apply(seen(1, opens=False), rows(1, 2), FLOW, STUCK).id == stuck.id


def test_an_alarm_that_the_store_kept_closes_as_the_same() -> None:
    alarms = Alarms(PARAMETERS)
    opened = alarms.apply(seen(0, opens=True), rows(1, 2), FLOW, LEVEL)
    kept = alarm_from_json(json.dumps(opened.to_json()))
    assert kept == opened
    later = Alarms({})
    later.restore(3, kept)
    closed = later.apply(seen(1, opens=False), rows(1, 2), FLOW, LEVEL)
    assert (closed.id, closed.opened_ns, closed.parameters) == (opened.id, opened.opened_ns, PARAMETERS)


@pytest.mark.parametrize(
    ("value", "info", "sentence"),
    [
        (401.0, FLOW, "is above its limit: 401 l/min, at most 400"),
        (9.5, FLOW, "is below its limit: 9.5 l/min, at least 10"),
        (400.0, FLOW, "left its usual level: 400 l/min, usually 250.0 ± 1.2"),
        (401.0, SeriesInfo("d", "load", unit="1"), "left its usual level: 401, usually 250.0 ± 1.2"),
        (401.0, SeriesInfo("d", "load"), "left its usual level: 401, usually 250.0 ± 1.2"),
    ],
)
def test_level_says_what_is_wrong_in_the_unit_of_the_series(value: float, info: SeriesInfo, sentence: str) -> None:
    alarm = Alarms(PARAMETERS).apply(seen(0, opens=True), rows(value), info, LEVEL)
    assert alarm.message == f"{info.metric} of {info.device} {sentence}"


def test_stuck_says_for_how_long() -> None:
    transition = Transition(0, 3, True, 1.0, usual=21.0, spread=4.97)
    alarm = Alarms(PARAMETERS).apply(transition, rows(250.125), FLOW, STUCK)
    assert alarm.message == "flow of pump-1 is stuck at 250.1 l/min: 21 equal readings, at most 5 before"
    assert alarm.kind == "sensor"
