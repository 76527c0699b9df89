"""Runs one pushed sensor in a thread of its own and hands on what it puts into its inlet.

A sensor whose `run` ends has failed: one BAD reading a series, and it runs again after a growing pause. A series that
says nothing for `silence_s_max` is BAD too. Readings that the full inlet gave up are passed on to be declared.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from edge.backoff import Backoff
from edge.channels import Channels
from edge.inlet import Inlet
from edge.sensors.sensor import Bad, PushedSensor, SensorFailedError
from edge.tick import Tick
from edge.waiting import wait_at_most
from edge.worker_thread import WorkerThread
from streams.clock import Clock

_log = logging.getLogger(__name__)

_DRAINED_AT_ONCE = 200
"""Ticks that are handed on before others get their turn on the event loop."""
_LOOK_S = 1.0
_DECLARE_S = 10.0
"""What was dropped is declared at most so often: each time costs a write to the disk."""
_STOP_S = 2.0


class Feeder:
    """`run` until told to stop. `names` are those that the sensor declared, in the order of the channels."""

    def __init__(
        self,
        sensor: PushedSensor,
        channels: Channels,
        thread: WorkerThread,
        *,
        clock: Clock,
        backoff: Backoff,
        names: Sequence[str],
        ticks_max: int,
        time_step_us: int,
    ) -> None:
        self.sensor = sensor
        self.channels = channels
        self.failure: str | None = None
        self.overflowed = 0
        """Readings dropped because they came faster than they could be taken."""
        self._thread = thread
        self._clock = clock
        self._backoff = backoff
        self._time_step_ns = time_step_us * 1000
        self._loop = asyncio.get_running_loop()
        self.inlet = Inlet(sensor.name, names, ticks_max=ticks_max, clock=clock, wake=self._wake)
        self._record: Callable[[Tick], None] = _nothing
        self._declare: Callable[[int], None] = _nothing
        self._undeclared = 0
        self._declared_ns = clock.monotonic_ns() - round(_DECLARE_S * 1e9)
        self._heard_ns = [clock.monotonic_ns()] * len(channels.series)

    async def run(self, stop: asyncio.Event, *, record: Callable[[Tick], None], declare: Callable[[int], None]) -> None:
        """Take readings until `stop` is set, then all that is in the inlet, and let go of the sensor.

        `record` (a tick) and `declare` (readings that were dropped) are called on the event loop and must not block.
        """
        self._record, self._declare = record, declare
        running: asyncio.Future[None] | None = None
        try:
            while not stop.is_set():
                running = self._thread.submit(lambda: self.sensor.run(self.inlet))
                reason = await self._watch(running, stop)
                if reason is not None:
                    self.failed(reason)
                    await wait_at_most(stop, self._backoff.next_s())
        finally:
            self.inlet.stop()
            if running is not None:
                await asyncio.wait([running], timeout=_STOP_S)
                running.add_done_callback(_look_away)
            self.drain()
            self.look(last=True)
            if running is None or running.done():
                self._thread.submit(self.sensor.close).add_done_callback(_look_away)
            self._thread.close()

    async def _watch(self, running: asyncio.Future[None], stop: asyncio.Event) -> str | None:
        """Look after it until it ends, and say why it did; None when it is to stop."""
        stopped = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                waits: list[asyncio.Future[Any]] = [running, stopped]
                await asyncio.wait(waits, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    error = running.exception()
                    return "it ended by itself" if error is None else str(error) or type(error).__name__
                self.look()
            return None
        finally:
            stopped.cancel()

    # -- on the event loop -------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody takes any more
            self._loop.call_soon_threadsafe(self._drain_some)

    def _drain_some(self) -> None:
        self._take(_DRAINED_AT_ONCE)
        if self.inlet.waiting:
            self._loop.call_soon(self._drain_some)

    def drain(self) -> None:
        """Hand on all that is in the inlet now."""
        self._take(self.inlet.waiting)

    def _take(self, ticks_max: int) -> None:
        for pushed in self.inlet.take(ticks_max):
            time_ns = pushed.time_ns - pushed.time_ns % self._time_step_ns
            try:
                tick = self.channels.some(time_ns, pushed.given)
            except SensorFailedError as error:
                self.inlet.not_understood(repr(pushed.given), str(error))
                continue
            now_ns = self._clock.monotonic_ns()
            for place, value in pushed.given:
                if not isinstance(value, Bad):
                    self._heard_ns[place] = now_ns
                    self._recovered()
            if tick.count:
                self._record(tick)

    def look(self, *, last: bool = False) -> None:
        """What is silent for too long is BAD; what was dropped is declared. Called each second."""
        now_ns = self._clock.monotonic_ns()
        dropped = self.inlet.take_dropped()
        self.overflowed += dropped
        self._undeclared += dropped
        if self._undeclared and (last or now_ns - self._declared_ns >= _DECLARE_S * 1e9):
            _log.warning(
                "sensor %s: %d readings came faster than they could be taken, and are declared as dropped",
                self.sensor.name,
                self._undeclared,
            )
            self._declare(self._undeclared)
            self._undeclared, self._declared_ns = 0, now_ns
        limit_s = self.sensor.silence_s_max
        if limit_s > 0 and not last:
            silent = Bad(f"nothing came for {limit_s:g} s")
            quiet = [place for place, heard in enumerate(self._heard_ns) if now_ns - heard >= limit_s * 1e9]
            self._say(self.channels.some(self._now_ns(), [(p, silent) for p in quiet if not self.channels.is_bad(p)]))

    def failed(self, reason: str) -> None:
        """Hand on what came before, then say that nothing more is to be had."""
        self.drain()
        if self.failure is None:
            _log.warning(
                "sensor %s failed: %s; it is tried again, its readings are BAD until then", self.sensor.name, reason
            )
        self.failure = reason
        self._say(self.channels.all_bad(self._now_ns(), reason))

    def _recovered(self) -> None:
        if self.failure is not None:
            _log.info("sensor %s answers again", self.sensor.name)
            self.failure = None
            self._backoff.reset()

    def _say(self, tick: Tick) -> None:
        if tick.count:
            self._record(tick)

    def _now_ns(self) -> int:
        time_ns = self._clock.time_ns()
        return time_ns - time_ns % self._time_step_ns


def _nothing(_: object) -> None:
    pass


def _look_away(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
