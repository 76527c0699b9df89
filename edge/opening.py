"""Opening the sensors: what is not there is reported once, by name, and left out; what hangs is left behind."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
from collections.abc import Sequence

from edge.backoff import Backoff
from edge.channels import Channels
from edge.feeder import Feeder
from edge.manifest import number_series
from edge.sampler import SampledSensor
from edge.schedule import Schedule
from edge.sensors.sensor import AnySensor, SensorAbsentError, Series, is_pushed, is_sampled
from edge.settings import EdgeSettings
from edge.worker_thread import WorkerThread
from streams.clock import Clock

_log = logging.getLogger(__name__)

_PAUSE_S_MIN = 1.0

Opened = tuple[AnySensor, Sequence[Series], WorkerThread | None]


@dataclasses.dataclass(slots=True)
class OpenSensors:
    """Those that could be opened, and why others could not."""

    sampled: list[SampledSensor] = dataclasses.field(default_factory=list)
    fed: list[Feeder] = dataclasses.field(default_factory=list)
    channels: list[Channels] = dataclasses.field(default_factory=list)
    """Of both kinds, in the order of their numbers."""
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    """What failed to open and why; what the machine does not have is not among them."""

    def failing(self) -> dict[str, str]:
        """Sensors, or single series, that give nothing at present, and why."""
        found = dict(self.left_out)
        for each in self.channels:
            if each.bad and len(each.bad) == len(each.series):
                found[each.sensor] = next(iter(each.bad.values()))
            else:
                found |= each.bad
        return found

    def overflowed(self) -> int:
        """Readings that came faster than they could be taken, and are declared as dropped."""
        return sum(each.overflowed for each in self.fed)


async def open_sensors(
    sensors: Sequence[AnySensor], settings: EdgeSettings, clock: Clock, randomness: random.Random
) -> OpenSensors:
    """Open all at the same time, number their series in the order of `sensors`, and make them due now."""
    opened = OpenSensors()
    found = await asyncio.gather(*(_open(sensor, settings, opened) for sensor in sensors))
    there = [each for each in found if each is not None]
    numbered = iter(number_series(series for _, declared, _ in there for series in declared))
    origin_ns = clock.monotonic_ns()
    for sensor, declared, thread in there:
        own = [next(numbered) for _ in declared]
        channels = Channels(sensor.name, [series for _, series in own], [number for number, _ in own])
        opened.channels.append(channels)
        if is_pushed(sensor):
            assert thread is not None, "a pushed sensor has a thread"
            feeder = Feeder(
                sensor,
                channels,
                thread,
                clock=clock,
                backoff=Backoff(first_s=_PAUSE_S_MIN, longest_s=settings.retry_s_max, randomness=randomness),
                names=[series.name for series in declared],
                ticks_max=settings.inlet_ticks_max,
                time_step_us=settings.time_step_us,
            )
            opened.fed.append(feeder)
        elif is_sampled(sensor):
            schedule = Schedule(interval_s=sensor.interval_s, origin_ns=origin_ns, retry_s_max=settings.retry_s_max)
            timeout_s = time_limit_s(sensor, settings)
            opened.sampled.append(SampledSensor(sensor, channels, schedule, thread, timeout_s=timeout_s))
    return opened


def time_limit_s(sensor: AnySensor, settings: EdgeSettings) -> float:
    """How long one call may take: what the sensor says, or the agent's setting."""
    return float(getattr(sensor, "timeout_s", 0) or settings.read_timeout_s)


async def _open(sensor: AnySensor, settings: EdgeSettings, opened: OpenSensors) -> Opened | None:
    timeout_s = time_limit_s(sensor, settings)
    is_quick = is_sampled(sensor) and not sensor.may_block
    thread = None if is_quick else WorkerThread(f"sensor {sensor.name}")
    try:
        if thread is None:
            declared = sensor.open()
        else:
            async with asyncio.timeout(timeout_s):
                declared = await thread.submit(sensor.open)
        if not declared:
            raise SensorAbsentError("it declares no series")
        return sensor, declared, thread
    except SensorAbsentError as error:
        _log.info("sensor %s is left out: %s", sensor.name, error)
    except TimeoutError:
        opened.left_out[sensor.name] = f"it did not open within {timeout_s:g} s"
    except Exception as error:  # a plug-in may raise anything; the agent starts without it
        opened.left_out[sensor.name] = str(error) or type(error).__name__
    if sensor.name in opened.left_out:
        _log.warning(
            "sensor %s is left out: %s; it is opened again at the next start", sensor.name, opened.left_out[sensor.name]
        )
    if thread is not None:
        thread.close()
    return None
