"""A simulated device as its agent sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.sensors.sensor import SensorFailedError, check_value
from simulators.devices import MODELS
from simulators.dice import Dice
from simulators.faults import Schedule
from simulators.label import LabelFile, read_labels
from simulators.line_file import LineFile
from simulators.sensor import SimulatedSensor
from simulators.truth import TruthFile, read_truth
from streams.errors import DiskError

START_NS = 1_764_000_000_000_000_000
SECOND_NS = 10**9


def make_sensor(tmp_path: Path, kind: str, *, every_s: float = 60) -> SimulatedSensor:
    """A device that all faults of its fleet befall, for it is alone."""
    model = MODELS[kind](Dice(1, "d"))
    return SimulatedSensor(
        "d",
        model,
        seed=1,
        interval_s=1.0,
        schedule=Schedule(1, {"d": model.quantities}, every_s=every_s),
        truth=TruthFile(tmp_path / "d.csv", bytes_max=1 << 30),
        labels=LabelFile(tmp_path / "labels.jsonl"),
    )


@pytest.mark.parametrize("kind", MODELS)
def test_every_reading_fits_its_declared_series(tmp_path: Path, kind: str) -> None:
    sensor = make_sensor(tmp_path, kind)
    series = sensor.open()
    dropped = 0
    for tick in range(1200):
        values = sensor.read(START_NS + tick * SECOND_NS)
        assert len(values) == len(series)
        for declared, value in zip(series, values):
            if value is None:
                dropped += 1
            else:
                assert check_value(declared, value) == value
                if isinstance(value, float) and declared.minimum is not None and declared.maximum is not None:
                    assert declared.minimum <= value <= declared.maximum
    assert dropped > 0, "there was a dropout"


def test_the_truth_is_what_the_agent_was_given(tmp_path: Path) -> None:
    sensor = make_sensor(tmp_path, "pump")
    names = [each.name for each in sensor.open()]
    given = []
    for tick in range(120):
        now_ns = START_NS + tick * SECOND_NS
        values = sensor.read(now_ns)
        given += [(n, now_ns, v) for n, v in zip(names, values) if v is not None]
        assert list(read_truth(tmp_path / "d.csv"))[-1:] == [given[-1]], "written before the agent had it"
    assert [tuple(row) for row in read_truth(tmp_path / "d.csv")] == given


def test_the_labels_are_the_faults_that_readings_met_and_only_labelled_readings_differ(tmp_path: Path) -> None:
    sensor = make_sensor(tmp_path, "freezer")
    model = MODELS["freezer"](Dice(1, "d"))
    differing = set()
    for tick in range(1800):
        now_ns = START_NS + tick * SECOND_NS
        for quantity, undisturbed, value in zip(model.quantities, model.measure(now_ns), sensor.read(now_ns)):
            if value != undisturbed:
                differing.add((quantity.name, now_ns))
    labels = read_labels(tmp_path / "labels.jsonl")
    end_ns = START_NS + 1799 * SECOND_NS
    assert labels == Schedule(1, {"d": model.quantities}, every_s=60).labels(START_NS, end_ns + 1)
    unlabelled = [
        (name, at) for name, at in differing if not any(each.series == name and each.covers(at) for each in labels)
    ]
    assert unlabelled == []
    assert all(any(each.covers(at) and each.series == name for name, at in differing) for each in labels)


def test_a_reading_that_cannot_be_written_down_is_not_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = make_sensor(tmp_path, "meter")

    def refuse(self: LineFile, lines: str) -> None:
        raise DiskError("the disk is full")

    monkeypatch.setattr(LineFile, "append", refuse)
    with pytest.raises(SensorFailedError, match="full"):
        sensor.read(START_NS)
