"""From ticks to durable frames: numbers every reading, journals it, seals frames into the spool.

A tick waits in memory until the journal takes it (at once, unless the disk is full); then its readings have numbers.
When the disk stays full and the memory bound is reached, the oldest waiting readings are given up: they get numbers
too, and are declared dropped as soon as the disk takes a declaration. Nothing here stops because a disk is full.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from edge.batcher import WEIGHT_MAX, Batch
from edge.settings import EdgeSettings
from edge.storage import Storage
from edge.tick import Tick
from streams.clock import Clock
from streams.errors import MisuseError, PenstockError
from streams.frames import ClockQuality, Hints, encode

_log = logging.getLogger(__name__)
T = TypeVar("T")

DISK_FULL = "disk full"
NOT_A_FRAME = "could not be written as a frame"
_TICK_WEIGHT_MAX = WEIGHT_MAX // 4
_RETRY_S = 1.0
_CHECK_CLOCK_S = 60.0


class Recorder:
    """`record` takes ticks on the event loop; `run` does the slow part in a thread. One storage for life."""

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        clock: Clock,
        executor: Executor | None,
        clock_quality: Callable[[], ClockQuality],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._executor = executor
        self._clock_quality = clock_quality
        self._storage: Storage | None = None
        self._waiting: collections.deque[Tick] = collections.deque()
        self._waiting_readings = 0
        self._given_up = 0
        self._active = Batch(0)
        self._sealing: tuple[Batch, int] | None = None
        self._changed = asyncio.Event()
        self._disk = asyncio.Lock()
        self._sync = asyncio.Lock()
        self._unsynced_since_ns: int | None = None
        self._hints: Hints = {}
        self._disk_error: str | None = None
        self._epoch_above: int | None = None
        """Numbering is to start anew, above this epoch: until then ticks wait."""
        self.on_sealed: Callable[[], None] = _nothing
        """Called on the event loop when a frame has come into the spool."""

    @property
    def disk_error(self) -> str | None:
        """Why the disk does not take readings at present; None when it does."""
        return self._disk_error

    @property
    def produced(self) -> int:
        """The first number that is not used yet."""
        return self._active.stop

    @property
    def waiting_readings(self) -> int:
        """Readings in memory that have no number yet, because the disk does not take them."""
        return self._waiting_readings

    @property
    def given_up(self) -> int:
        """Readings dropped for want of disk and memory, not declared yet."""
        return self._given_up

    def start(self, storage: Storage) -> None:
        """The disk is there: number and journal what has been waiting, and all that comes."""
        self._storage = storage
        self._active = Batch(storage.spool.sealed_to(storage.identity.epoch))
        self._flush()

    def record(self, tick: Tick) -> None:
        """Take a tick. Never blocks longer than a plain write, never fails."""
        for part in tick.split(_TICK_WEIGHT_MAX):
            self._waiting.append(part)
            self._waiting_readings += part.count
        self._flush()
        while self._waiting_readings > self._settings.memory_readings_max:
            self._give_up_oldest()

    async def run(self, stop: asyncio.Event) -> None:
        """Sync the journal and seal frames as they fall due, until `stop`; then seal what there is."""
        while not stop.is_set():
            self._changed.clear()
            pause_s = await self._work()
            await self._wait(stop, pause_s)
        await self.seal_all()

    async def sync(self) -> int:
        """Make the journal durable; returns the first number that is not, and may be told to the hub as produced."""
        async with self._sync:
            produced, since_ns = self.produced, self._unsynced_since_ns
            if since_ns is not None and self._storage is not None:
                self._unsynced_since_ns = None
                try:
                    await self._in_thread(self._storage.journal.sync)
                except OSError as error:
                    self._unsynced_since_ns = since_ns
                    self._disk_failed(error)
                    raise
            return produced

    async def seal_all(self) -> None:
        """Seal everything that can be sealed, once; what cannot stays in the journal."""
        await self._begin_epoch()
        for _ in range(4):  # what was being sealed, what is given up, what waited, what that made
            self._flush()
            if self._storage is None or not (self._active.count or self._sealing or self._given_up or self._waiting):
                return
            if not await self._seal():
                return

    async def begin_epoch(self, above: int) -> None:
        """Number from 0 in a new epoch above `above`. Returns when it has begun; meanwhile ticks wait in memory."""
        self._epoch_above = above
        while not await self._begin_epoch():  # noqa: ASYNC110  no disk tells when it works again
            await asyncio.sleep(_RETRY_S)

    async def in_disk_order(self, call: Callable[[], T]) -> T:
        """Run a blocking call on the storage in a thread, never beside another one."""
        async with self._disk:
            return await self._in_thread(call)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _wait(self, stop: asyncio.Event, seconds: float) -> None:
        waits = [asyncio.ensure_future(each.wait()) for each in (stop, self._changed)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _work(self) -> float:
        """Do what is due; returns the seconds until something else is."""
        if self._storage is None:
            return 3600.0
        self._flush()
        if self._until_sync_s() <= 0:
            with contextlib.suppress(OSError):
                await self.sync()
        if self._seal_is_due() and not await self._seal():
            return _RETRY_S
        if self._waiting:
            return _RETRY_S
        return self._pause_s()

    def _seal_is_due(self) -> bool:
        age_ns_max = round(self._settings.frame_age_s * 1e9)
        due = self._active.is_due(
            self._clock.monotonic_ns(), rows_max=self._settings.frame_readings_max, age_ns_max=age_ns_max
        )
        return due or self._sealing is not None or self._given_up > 0

    def _pause_s(self) -> float:
        if self._active.started_ns is None:
            return 3600.0
        due_ns = self._active.started_ns + round(self._settings.frame_age_s * 1e9)
        until_seal_s = max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9)
        return min(until_seal_s, max(0.0, self._until_sync_s()))

    def _until_sync_s(self) -> float:
        if self._unsynced_since_ns is None:
            return 3600.0
        return self._settings.commit_interval_s - (self._clock.monotonic_ns() - self._unsynced_since_ns) / 1e9

    def _flush(self) -> None:
        """Move what waits into the journal, as far as the disk takes it and the batch has room."""
        storage = self._storage
        while storage is not None and self._waiting and self._may_number():
            tick = self._waiting[0]
            try:
                storage.journal.append(self._active.stop, tick)
            except OSError as error:
                self._disk_failed(error)
                break
            self._waiting.popleft()
            self._waiting_readings -= tick.count
            now_ns = self._clock.monotonic_ns()
            if self._active.count == 0 or self._unsynced_since_ns is None:
                self._changed.set()  # there is something to wait for now
            if self._unsynced_since_ns is None:
                self._unsynced_since_ns = now_ns
            self._active.add(tick, now_ns)
            if self._seal_is_due():
                self._changed.set()

    def _may_number(self) -> bool:
        return not self._given_up and self._active.weight < WEIGHT_MAX and self._epoch_above is None

    def _give_up_oldest(self) -> None:
        tick = self._waiting.popleft()
        self._waiting_readings -= tick.count
        if not self._given_up:
            _log.error(
                "%d readings wait in memory for the disk (%s): the oldest are dropped from now on, and declared",
                self._settings.memory_readings_max,
                self._disk_error or "it is not open yet",
            )
        self._given_up += tick.count

    async def _seal(self) -> bool:
        """Seal one frame, or declare what was given up. False: the disk refused; try again later."""
        storage = self._storage
        assert storage is not None
        try:
            async with self._disk:
                if self._sealing is None and self._active.count:
                    self._sealing = (self._active, storage.journal.switch())
                    self._active = Batch(self._active.stop)
                if self._sealing is not None:
                    batch, file = self._sealing
                    await self._in_thread(lambda: self._append(storage, batch))
                    storage.journal.clear(file)
                    self._sealing = None
                elif self._given_up and self._epoch_above is None:
                    await self._declare(storage, self._given_up)
        except (OSError, PenstockError) as error:
            self._disk_failed(error)
            return False
        self._disk_works()
        self._flush()
        self.on_sealed()
        return True

    def _append(self, storage: Storage, batch: Batch) -> None:
        epoch, manifest = storage.identity.epoch, storage.manifest
        frame = batch.frame(epoch=epoch, manifest=manifest.number, types=manifest.types, clock=self._clock_quality())
        try:
            payload = encode(frame, hints=self._hints, resolutions=manifest.resolutions)
        except MisuseError as error:
            _log.error("readings %d to %d of epoch %d are dropped: %s", batch.first, batch.stop, epoch, error)
            storage.spool.give_up(epoch=epoch, first=batch.first, stop=batch.stop, reason=NOT_A_FRAME)
            return
        storage.spool.append(payload, epoch=epoch, first=batch.first, stop=batch.stop, manifest=manifest.number)

    async def _begin_epoch(self) -> bool:
        """Begin the epoch that is to begin, if any. False: the disk refused; try again later."""
        while self._epoch_above is not None and (self._sealing or self._active.count):
            if not await self._seal():
                return False
        async with self._sync, self._disk:
            storage, above = self._storage, self._epoch_above
            if storage is None or above is None:
                return True
            try:
                identity = await self._in_thread(lambda: storage.begin_epoch(above))
            except (OSError, PenstockError) as error:
                self._disk_failed(error)
                return False
            storage.identity, storage.started_at = identity, 0
            self._active = Batch(storage.spool.sealed_to(identity.epoch))
            self._unsynced_since_ns = self._epoch_above = None
        self._disk_works()
        self._flush()
        self.on_sealed()
        return True

    async def _declare(self, storage: Storage, count: int) -> None:
        first, epoch = self._active.first, storage.identity.epoch
        await self._in_thread(
            lambda: storage.spool.give_up(epoch=epoch, first=first, stop=first + count, reason=DISK_FULL)
        )
        self._active = Batch(first + count)
        self._given_up -= count

    def _disk_failed(self, error: Exception) -> None:
        if self._disk_error is None:
            _log.error("the disk does not take readings: %s; they wait in memory, up to a bound", error)
        self._disk_error = str(error)

    def _disk_works(self) -> None:
        if self._disk_error is not None:
            _log.warning("the disk takes readings again")
        self._disk_error = None

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)


def _nothing() -> None:
    pass
