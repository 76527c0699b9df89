"""The detectors on a simulated fleet: what they find of its labelled faults and how soon, and how often they are wrong.

The figures are those of docs/detectors.md.
"""

from __future__ import annotations

from tests.processors.fleet import watched


def test_of_the_faults_of_a_fleet_each_detector_finds_its_own_in_time() -> None:
    fleet = watched(20, 1.5, faults=True)
    level, stuck = fleet.score("level"), fleet.score("stuck")
    shifts, drifts, frozen = level.kinds["level_shift"], level.kinds["drift"], stuck.kinds["stuck"]
    assert min(shifts.faults, frozen.faults) >= 30 and drifts.faults >= 3
    assert shifts.recall >= 0.8
    assert max(shifts.delays_s) < 10.0
    assert drifts.recall >= 0.75
    assert frozen.recall >= 0.7
    assert frozen.delay_s is not None and frozen.delay_s < 20.5
    assert max(frozen.delays_s) < 60.0
    assert stuck.kind_right == stuck.explained, "it never calls a change of the process a fault of the sensor"


def test_on_a_fleet_without_faults_they_speak_rarely() -> None:
    """Doors, rests and tool changes are changes that no label explains."""
    fleet = watched(10, 2.0, faults=False)
    level, stuck = fleet.score("level"), fleet.score("stuck")
    assert level.alarms + stuck.alarms == level.false_alarms + stuck.false_alarms > 0
    assert fleet.per_device_hour(level.false_alarms) < 2.5
    assert fleet.per_device_hour(stuck.false_alarms) < 0.5
