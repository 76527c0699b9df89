"""The fleet: real agents that keep what they produce when no hub is there."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from edge.inspection import spool_status
from simulators.devices import MODELS
from simulators.fleet import devices, run_fleet, schedule
from simulators.settings import FleetSettings
from simulators.truth import Truth, read_truth, truth_path


def test_devices_are_named_by_kind_and_stay_the_same_when_the_fleet_grows() -> None:
    small, large = devices(FleetSettings(devices=7)), devices(FleetSettings(devices=30))
    assert [each.device for each in small[:6]] == [
        "pump-001", "freezer-001", "press-001", "weather-001", "meter-001", "pump-002",
    ]  # fmt: skip
    assert [each.device for each in large[:7]] == [each.device for each in small]
    assert len({each.device for each in large}) == 30
    instant = 1_764_000_000_000_000_000
    assert [a.model.measure(instant) for a in small] == [b.model.measure(instant) for b in large[:7]]


def test_a_prefix_that_makes_no_device_id_and_an_empty_list_of_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fleet\.prefix: .* device id"):
        FleetSettings(prefix="a b/")
    with pytest.raises(ValueError, match=r"fleet\.models is empty"):
        FleetSettings(models=())


def test_faults_can_be_left_out() -> None:
    fleet = devices(FleetSettings())
    assert schedule(FleetSettings(faults=False), fleet) is None
    assert schedule(FleetSettings(), fleet) is not None


async def run_until(settings: FleetSettings, home: Path, enough: int) -> dict[str, list[Truth]]:
    """Run a fleet until each device has produced `enough` readings; returns what they produced."""
    stop = asyncio.Event()
    paths = {each.device: truth_path(home, each.device) for each in devices(settings)}
    running = asyncio.create_task(run_fleet(settings, home, stop))
    async with asyncio.timeout(30):
        while not all(path.exists() and path.read_bytes().count(b"\n") >= enough for path in paths.values()):
            await asyncio.sleep(0.01)
    stop.set()
    assert await running == 0
    return {device: list(read_truth(path)) for device, path in paths.items()}


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_without_a_hub_everything_that_was_produced_waits_in_the_spools(tmp_path: Path) -> None:
    settings = FleetSettings(devices=len(MODELS), interval_s=0.02, hub_port=closed_port(), faults=False)
    first = await run_until(settings, tmp_path, 50)
    second = await run_until(settings, tmp_path, len(first["pump-001"]) + 50)
    for each in devices(settings):
        truth = second[each.device]
        assert truth[: len(first[each.device])] == first[each.device], "a second run goes on in the same file"
        by_time: dict[int, dict[str, object]] = {}
        for reading in truth:
            by_time.setdefault(reading.time_ns, {})[reading.series] = reading.value
        names = [quantity.name for quantity in each.model.quantities]
        for time_ns, values in by_time.items():
            assert list(values.values()) == list(each.model.measure(time_ns)), "it can be computed again from the seed"
            assert list(values) == names
        status = spool_status(tmp_path / each.device)
        assert (status["readings_held"], status["readings_dropped"]) == (len(truth), 0)


async def test_a_device_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    settings = FleetSettings(devices=2, interval_s=0.02, hub_port=closed_port(), faults=False)
    (tmp_path / "pump-001").write_text("in the way of the state directory")
    stop = asyncio.Event()
    running = asyncio.create_task(run_fleet(settings, tmp_path, stop))
    other = truth_path(tmp_path, "freezer-001")
    async with asyncio.timeout(30):
        while not (other.exists() and other.read_bytes().count(b"\n") >= 50):
            await asyncio.sleep(0.01)
    stop.set()
    assert await running == 1
