"""A simulated fleet, seeded, straight into the engine: its alarms, held against the labels of its faults."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from processors.chunk import FrameIn
from processors.engine import Engine
from processors.settings import ProcessorsSettings
from processors.stores.store import State
from simulators.fleet import Device, devices, schedule
from simulators.label import Label
from simulators.score import Score, score
from simulators.sensor import SimulatedSensor
from simulators.settings import FleetSettings
from streams.frames import Block, ClockQuality, Column, Frame
from streams.frames.encode_numpy import encode
from tests.processors.world import NOW_NS, SECOND_NS, manifest

READINGS_PER_FRAME = 100


@dataclass(frozen=True, slots=True)
class Watched:
    """What the detectors said of a fleet."""

    settings: FleetSettings
    hours: float
    labels: list[Label]
    alarms: list[dict[str, Any]]

    def score(self, detector: str) -> Score:
        """The alarms of one detector against all faults."""
        return score(self.labels, [alarm for alarm in self.alarms if alarm["detector"] == detector])

    def per_device_hour(self, alarms: int) -> float:
        return alarms / (self.settings.devices * self.hours)


@functools.cache
def watched(count: int, hours: float, *, faults: bool, seed: int = 1) -> Watched:
    """The default fleet of `count` devices, one reading a second, for some simulated hours."""
    settings = FleetSettings(devices=count, faults=faults, seed=seed)
    fleet = devices(settings)
    plan = schedule(settings, fleet)
    sensors = [
        SimulatedSensor(each.device, each.model, seed=seed, interval_s=settings.interval_s, schedule=plan)
        for each in fleet
    ]
    engine = Engine(ProcessorsSettings(), State())
    manifests = {each.device: _manifest(each) for each in fleet}
    alarms: dict[str, dict[str, Any]] = {}
    end_ns = NOW_NS + round(hours * 3600) * SECOND_NS
    numbers = dict.fromkeys(manifests, 0)
    list(engine.take([], list(manifests.items())))
    for start_ns in range(NOW_NS, end_ns, READINGS_PER_FRAME * SECOND_NS):
        times = range(start_ns, min(end_ns, start_ns + READINGS_PER_FRAME * SECOND_NS), SECOND_NS)
        frames = []
        for each, sensor in zip(fleet, sensors):
            blocks = list(_blocks(each, sensor, times))
            made = Frame(1, numbers[each.device], zlib.crc32(manifests[each.device]), ClockQuality.SYNCHRONISED, blocks)
            numbers[each.device] += made.count
            frames.append(FrameIn(each.device, 0, len(frames), start_ns // 10**6, encode(made)))
        for chunk in engine.take(frames):
            alarms |= {alarm.id: alarm.to_json() for alarm in chunk.alarms}
    labels = plan.labels(NOW_NS, end_ns) if plan else []
    return Watched(settings, hours, labels, list(alarms.values()))


def _manifest(device: Device) -> bytes:
    return manifest(
        *(
            {"name": each.name, "unit": each.unit, "type": each.kind, "resolution": each.step,
             "minimum": each.minimum, "maximum": each.maximum}
            for each in device.model.quantities
        )
    )  # fmt: skip


def _blocks(device: Device, sensor: SimulatedSensor, times: range) -> Iterator[Block]:
    ticks = [sensor.read(time_ns) for time_ns in times]
    for series, quantity in enumerate(device.model.quantities):
        taken = [(time_ns, tick[series]) for time_ns, tick in zip(times, ticks) if tick[series] is not None]
        if taken:
            at, values = zip(*taken)
            yield Block(at, [Column(series, quantity.kind, values)])
