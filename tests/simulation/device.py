"""A simulated device: the real agent on a simulated disk, network and clock, and a sensor that remembers."""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from paho.mqtt import client as mqtt

import edge.agent
import edge.spool
from edge.agent import Agent
from edge.journal import Journal
from edge.sensors.sensor import Series, Value
from edge.settings import EdgeSettings, LinkSettings
from edge.spool import Spool
from edge.spooled import SpooledFrame
from edge.tick import Tick
from edge.worker_thread import WorkerThread
from simulators.dice import Dice
from streams.log import LogSettings
from streams.sequences import SequenceSet
from tests.simulation.disk import Disk, Mount
from tests.simulation.loop import MachineClock, VirtualLoop, end
from tests.simulation.network import Network

PORT = 1883
SEGMENT_BYTES = 1024  # far below what settings allow, so that a short run fills many
COMMIT_INTERVAL_S = 1.0
INTERVAL_S = 0.5


class TruthfulSensor:
    """Gives values that follow from the device and the instant; keeps all that it gave. Sometimes it has none."""

    may_block = False
    interval_s = INTERVAL_S

    def __init__(self, device: str, seed: int) -> None:
        self.name = device
        self._dice = Dice(seed, device)
        self.given: dict[tuple[str, int], Value] = {}
        """By series and time in nanoseconds. The wall clock may jump back to a time that was before: then the same."""

    def open(self) -> Sequence[Series]:
        return [
            Series(name="level", unit="m", resolution=0.001),
            Series(name="count", type="int64"),
            Series(name="on", type="bool"),
            Series(name="mode", type="text"),
        ]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        level, count, on, mode, missing, *_ = self._dice.uniforms(time_ns)
        values: list[Value | None] = [round(level, 3), int(count * 1000), on < 0.5, "ab"[mode < 0.5]]
        if missing < 0.2:
            values[int(missing * 20)] = None
        for series, value in zip(("level", "count", "on", "mode"), values):
            if value is not None:
                self.given[series, time_ns] = value
        return values

    def close(self) -> None: ...


class SimulatedDevice:
    """A machine with one agent, which may be killed, lose power, and be started again."""

    def __init__(
        self, name: str, state: Path, *, seed: int, loop: VirtualLoop, network: Network, spool_bytes_max: int
    ) -> None:
        self.name = name
        self._state = state
        self._loop, self._network = loop, network
        self._dice = random.Random(f"{seed}/{name}")
        self.disk = Disk(self._dice)
        self.clock = MachineClock(loop)
        self.sensor = TruthfulSensor(name, seed)
        self.settings = EdgeSettings(
            device=name,
            model="simulated",
            hub_port=PORT,
            link=LinkSettings(retry_s_min=0.1, retry_s_max=2.0, ack_timeout_s=20.0, connect_timeout_s=5.0),
            commit_interval_s=COMMIT_INTERVAL_S,
            frame_readings_max=8,
            frame_age_s=2.0,
            spool_bytes_max=spool_bytes_max,
            memory_readings_max=200,
            account_interval_s=3.0,
            health_interval_s=0,
            stop_timeout_s=20.0,
        )
        self.acknowledged: dict[int, SequenceSet] = {}
        """By epoch: what the agent believes that the hub has."""
        self.not_durable: set[int] = set()
        """Times of ticks that nobody had made durable when a crash came: they may have gone without a declaration."""
        self._journaled_s: dict[int, float] = {}
        """When, in virtual time, the ticks of the last seconds were journaled."""
        self._agent: Agent | None = None
        self._mount: Mount | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        self._mount = self.disk.mount(self._on_fuse)
        self._stop = asyncio.Event()
        self._agent = Agent(
            self.settings,
            self._state,
            sensors=[self.sensor],
            files=self._mount,
            clock=self.clock,
            executor=NO_EXECUTOR,
            randomness=random.Random(self._dice.random()),
        )
        self._task = self._loop.create_task(self._agent.run(self._stop), name=f"agent {self.name}")

    async def kill(self) -> None:
        """End the process in the middle of whatever it does. What it has written stays written."""
        assert self._mount is not None and self._task is not None
        self.not_durable.update(tick.time_ns for tick in self._waiting_ticks())
        self._mount.dead = True
        for connection in [each for each in self._network.connections if each.owner == self.name]:
            connection.client_died()
        await end(self._task)

    async def lose_power(self) -> None:
        """Kill the process and forget what was not synced."""
        await self.kill()
        self._forget_old_ticks()
        self.not_durable.update(self._journaled_s)
        self.disk.lose_power()

    @property
    def held(self) -> int:
        """Frames in the spool; more than 0 also while it is not open."""
        storage = self._agent._storage if self._agent is not None else None
        return 1 if storage is None else storage.spool.frames

    def on_journaled(self, tick: Tick) -> None:
        self._forget_old_ticks()
        self._journaled_s[tick.time_ns] = self._loop.time()

    def _forget_old_ticks(self) -> None:
        """What was journaled longer ago than the commit interval has been synced."""
        limit_s = self._loop.time() - COMMIT_INTERVAL_S - 0.1
        self._journaled_s = {time_ns: at_s for time_ns, at_s in self._journaled_s.items() if at_s >= limit_s}

    def fill_disk(self, free_bytes: int) -> None:
        self.disk.free_bytes = free_bytes

    def empty_disk(self) -> None:
        self.disk.free_bytes = None

    def mend(self) -> None:
        """No more accidents."""
        self.empty_disk()
        if self._mount is not None:
            self._mount.fuse = None

    def burn_fuse(self, operations: int) -> None:
        """Let the power fail after so many more operations of the disk."""
        if self._mount is not None:
            self._mount.fuse = operations

    async def drain(self) -> None:
        """Stop in good order: seal, send, say goodbye."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task.result()

    def on_acknowledged(self, frame: SpooledFrame) -> None:
        self.acknowledged.setdefault(frame.epoch, SequenceSet()).add(frame.first, frame.stop)

    def _waiting_ticks(self) -> list[Tick]:
        sampler = self._agent._sampler if self._agent is not None else None
        recorder: Any = getattr(sampler and sampler._record, "__self__", None)
        return list(recorder._waiting) if recorder is not None else []

    def _on_fuse(self) -> None:
        """The power failed in the middle of a call: the world does the rest when that call has ended."""
        self._loop.call_soon(self._loop.create_task, self.lose_power())


class _NoExecutor:
    """Work for threads runs in the simulated loop; a real thread is a mistake."""

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a simulation has no threads")


def _small_segments(*, partitions: int, segment_bytes: int) -> LogSettings:
    return LogSettings(partitions=partitions, segment_bytes=min(segment_bytes, SEGMENT_BYTES))


class SimulatedLock:
    """A directory belongs to one process at a time; the simulation would see two agents in one."""

    held: ClassVar[set[Path]] = set()

    def __init__(self, directory: Path, *, owner: str) -> None:
        assert directory not in self.held, f"{directory} is in use when {owner} starts"
        self.directory = directory
        self.held.add(directory)

    def release(self) -> None:
        self.held.discard(self.directory)


_entry_points = functools.lru_cache(importlib.metadata.entry_points)  # looking through all packages takes 10 ms


NO_EXECUTOR: Any = _NoExecutor()


@contextmanager
def agents_on(network: Network, devices: dict[str, SimulatedDevice]) -> Iterator[None]:
    """Agents without threads, on the simulated network; what they take for acknowledged is noted."""

    def connect(client: Any) -> Any:
        return network.connect(client._port, client._client_id.decode())

    real_acknowledge, real_append = Spool.acknowledge, Journal.append

    def acknowledge(spool: Spool, frame: SpooledFrame) -> None:
        devices[spool._directory.parent.name].on_acknowledged(frame)
        real_acknowledge(spool, frame)

    def append(journal: Journal, sequence: int, tick: Tick) -> None:
        real_append(journal, sequence, tick)
        devices[journal._paths[0].parent.name].on_journaled(tick)

    def submit(thread: WorkerThread, call: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(None, call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge.agent, "DirectoryLock", SimulatedLock)
        patch.setattr(importlib.metadata, "entry_points", _entry_points)
        patch.setattr(WorkerThread, "submit", submit)
        patch.setattr(mqtt.Client, "_create_socket_connection", connect)
        patch.setattr(mqtt, "time_func", network.loop.time)
        patch.setattr(Spool, "acknowledge", acknowledge)
        patch.setattr(Journal, "append", append)
        patch.setattr(edge.spool, "LogSettings", _small_segments)
        yield
