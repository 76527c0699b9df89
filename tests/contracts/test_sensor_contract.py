"""What every sensor owes the agent (edge/sensors/contract.py), run over those of the machine itself.

Those that have something at the other end (a bus, a server, a line) do the same beside their own tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.sensors.contract import SensorContract
from edge.sensors.health import Health, HealthSensor
from edge.sensors.registry import HOST_SENSORS, SENSORS, constructor
from edge.sensors.sensor import AnySensor, SensorAbsentError, SensorContext, is_sampled
from tests.edge.trees import make_tree, write

NOW_NS = 1_700_000_000_000_000_000


def make(kind: str, root: Path, **options: Any) -> AnySensor:
    return constructor(kind)(
        SensorContext(
            kind=kind, name="under-test", interval_s=2.5, options=options, proc=root / "proc", sys=root / "sys"
        )
    )


class TestHostSensors(SensorContract):
    @pytest.fixture(autouse=True, params=sorted(HOST_SENSORS))
    def machine(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        self.kind, self.root, self.ticks = request.param, make_tree(tmp_path), 800

    def provoke(self) -> None:
        self.ticks += 10  # the processors have worked
        write(self.root, "proc/stat", f"cpu  100 0 50 {self.ticks} 20 0 10 20 0 0\n")

    def make(self, **options: Any) -> AnySensor:
        return make(self.kind, self.root, **options)


class TestTheAgentsHealth(SensorContract):
    def make(self, **options: Any) -> AnySensor:
        assert not options, "it is not made from settings"
        sensor = HealthSensor(2.5, lambda: Health(1, 2.0, 3, 4, 5))
        sensor.name = "under-test"
        return sensor

    def test_an_option_that_it_does_not_know_is_misuse(self) -> None:
        assert "agent" not in SENSORS


@pytest.mark.parametrize("kind", sorted(HOST_SENSORS))
def test_where_there_is_no_such_sensor_it_says_so_when_it_is_opened(kind: str, tmp_path: Path) -> None:
    if kind == "disk":  # every machine has a root directory
        assert make(kind, tmp_path / "empty").open()
        return
    with pytest.raises(SensorAbsentError, match=r"there is no"):
        make(kind, tmp_path / "empty").open()


@pytest.mark.parametrize("kind", sorted(HOST_SENSORS))
def test_on_this_machine_it_works_or_says_that_there_is_none(kind: str) -> None:
    sensor = make(kind, Path("/"))
    assert is_sampled(sensor)
    try:
        declared = sensor.open()
    except SensorAbsentError as error:
        assert str(error)
        return
    assert len(sensor.read(NOW_NS)) == len(declared)
    sensor.close()
