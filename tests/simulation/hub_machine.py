"""The hub's machine: the real hub on a simulated disk, network and clock, and a consumer of its log beside it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import hub.hub
from hub.gateway_settings import GatewaySettings
from hub.hub import Hub
from hub.settings import HubLogSettings, HubSettings
from streams.log import EventLog
from streams.record import NewRecord
from tests.simulation.consumer import Consumer
from tests.simulation.device import PORT, SEGMENT_BYTES
from tests.simulation.disk import Disk, Mount
from tests.simulation.loop import MachineClock, VirtualLoop, end
from tests.simulation.network import Network


class HubMachine:
    """A machine with the hub, which may be killed, lose power, and be started again; and with the consumer."""

    def __init__(self, data: Path, *, seed: int, loop: VirtualLoop, network: Network) -> None:
        self._data = data
        self._loop, self._network = loop, network
        self._dice = random.Random(f"{seed}/hub")
        self.disk = Disk(self._dice)
        self.clock = MachineClock(loop)
        self.consumer = Consumer(data, self.disk, self.clock)
        self.settings = HubSettings(
            mqtt=GatewaySettings(port=PORT),
            log=HubLogSettings(partitions=2, segment_bytes=SEGMENT_BYTES, retention_days=0, retention_bytes=0),
            snapshot_interval_s=7.0,
        )
        self.hub: Hub | None = None
        self.ended_of: list[str] = []
        """Why the process ended by itself, each time it did; its supervisor starts it again."""
        self._mount: Mount | None = None
        self._task: asyncio.Task[int] | None = None
        self._stop = asyncio.Event()

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def serving(self) -> bool:
        """Whether the hub has come so far that devices can connect."""
        return self.running and self._network.listens(PORT)

    def start(self) -> None:
        if self._task is not None and not self._task.cancelled() and (error := self._task.exception()) is not None:
            self.ended_of.append(repr(error))  # or it was killed and ended in some way
        self._mount = self.disk.mount(self._on_fuse)
        self._stop = asyncio.Event()
        self.hub = Hub(self.settings, self._data, clock=self.clock, files=self._mount)
        self._task = self._loop.create_task(self.hub.run(self._stop), name="hub")

    async def kill(self) -> None:
        """End the process in the middle of whatever it does."""
        assert self._mount is not None and self._task is not None
        self._mount.dead = True
        self._network.listen(PORT, None)
        for connection in list(self._network.connections):
            connection.server_died()
            self._network.forget(connection)
        await end(self._task)
        self.hub = None

    async def lose_power(self) -> None:
        """Kill everything on the machine and forget what was not synced."""
        await self.kill()
        self.consumer.kill()
        self.disk.lose_power()

    def burn_fuse(self, operations: int) -> None:
        """Let the power fail after so many more operations of the disk."""
        if self._mount is not None:
            self._mount.fuse = operations

    def fill_disk(self, free_bytes: int) -> None:
        self.disk.free_bytes = free_bytes

    def empty_disk(self) -> None:
        self.disk.free_bytes = None

    def mend(self) -> None:
        """No more accidents."""
        self.empty_disk()
        if self._mount is not None:
            self._mount.fuse = None

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])
            assert self._task.result() == 0

    def _on_fuse(self) -> None:
        """The power failed in the middle of a call: the rest happens when that call has ended."""
        self._loop.call_soon(self._loop.create_task, self.lose_power())


class _LoopedLog(EventLog):
    """The event log without its thread: a round is made in the loop, a moment after the first append."""

    due = False

    def append(self, stream: str, records: Sequence[NewRecord], token: object = None) -> None:
        super().append(stream, records, token)
        if not self.due:
            self.due = True
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.call_later(loop.moment_s(), self._round_now)

    def _round_now(self) -> None:
        self.due = False
        self.commit()

    @classmethod
    def open(cls, *arguments: Any, **more: Any) -> EventLog:
        return super().open(*arguments, **more, threaded=False)


@asynccontextmanager
async def _no_control_api(*_: Any) -> AsyncIterator[None]:
    yield


@contextmanager
def hub_without_sockets_and_threads() -> Iterator[None]:
    """The control API has a socket of the operating system: a simulation asks the hub's objects instead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub.hub, "serving", _no_control_api)
        patch.setattr(hub.hub, "EventLog", _LoopedLog)
        yield
