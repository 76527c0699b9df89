"""Opening the sensors: what is not there is reported once, by name, and left out; what hangs is left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from edge.manifest import number_series
from edge.sampler import SampledSensor
from edge.schedule import Schedule
from edge.sensors.sensor import Sensor, SensorAbsentError, Series
from edge.settings import EdgeSettings
from edge.worker_thread import WorkerThread
from streams.clock import Clock

_log = logging.getLogger(__name__)

Opened = tuple[Sensor, Sequence[Series], WorkerThread | None]


async def open_sensors(sensors: Sequence[Sensor], settings: EdgeSettings, clock: Clock) -> list[SampledSensor]:
    """Open all at the same time, number their series in the order of `sensors`, and make them due now."""
    found = await asyncio.gather(*(_open(sensor, settings.read_timeout_s) for sensor in sensors))
    opened = [each for each in found if each is not None]
    numbered = iter(number_series(series for _, declared, _ in opened for series in declared))
    origin_ns = clock.monotonic_ns()
    sampled = []
    for sensor, declared, thread in opened:
        own = [next(numbered) for _ in declared]
        schedule = Schedule(interval_s=sensor.interval_s, origin_ns=origin_ns, retry_s_max=settings.retry_s_max)
        sampled.append(
            SampledSensor(sensor, [series for _, series in own], [number for number, _ in own], schedule, thread)
        )
    return sampled


async def _open(sensor: Sensor, timeout_s: float) -> Opened | None:
    thread = WorkerThread(f"sensor {sensor.name}") if sensor.may_block else None
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
        _log.warning("sensor %s is left out: it did not open within %g s", sensor.name, timeout_s)
    except Exception as error:  # a plug-in may raise anything; the agent starts without it
        _log.warning("sensor %s is left out: %s", sensor.name, str(error) or type(error).__name__)
    if thread is not None:
        thread.close()
    return None
