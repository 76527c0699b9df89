"""A world in virtual time: agents, network, hub and a consumer of the log, all real but for what they stand on.

The fault model, in prose
-------------------------
*Processes.* Each agent, the hub and the consumer may be killed at any instant, between any two steps of their event
loop, and come back a moment later. What they had written is there; what was in memory is not.

*Machines.* Each device and the hub's machine may lose power, at any instant or after any operation of the disk, also in
the middle of a call (`disk`). What was synced is there; of the rest some part.

*Disks.* They fill up for a while, and then there is space again.

*Network.* Connections break, hang, are refused; bytes come late and in other pieces (`network`). A PUBACK that does not
arrive makes the agent send the frame again: so the hub gets messages twice, and later ones before earlier ones.

*Clocks.* The wall clock of a device or the hub jumps forwards or backwards; the monotonic clock does not.

*After the accidents* everything is mended and given the time to finish.

What must hold
--------------
While accidents happen, whenever the hub can be asked:
* What an agent takes for acknowledged is on the hub's log, and stays there.
* No reading is lost by the ledger's count, none is stored twice, and what is stored is what the sensor gave.
At the end:
* produced = stored + dropped, nothing is held, nothing lost.
* A reading that the sensor gave and that is not stored was declared dropped, or was given within the commit interval
  before a power cut, or in the instant of a kill.

What is not modelled yet: sync that fails, bits that rot, several brokers, commands.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.ledger import reconcile
from tests.simulation.device import SimulatedDevice, agents_on
from tests.simulation.disk import PowerCut
from tests.simulation.hub_machine import HubMachine, hub_without_sockets_and_threads
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Network

TROUBLE_S = 20.0
NOTICE_S = 5.0  # until everybody has noticed which connections are broken
SETTLE_S = 600.0


class InvariantError(AssertionError):
    """Something that must hold does not."""


@dataclass(slots=True)
class Outcome:
    """What happened in a run, for the curious and for the test that faults do happen."""

    seed: int
    virtual_s: float = 0.0
    readings: int = 0
    dropped: int = 0
    duplicates: int = 0
    unnumbered: int = 0
    accidents: dict[str, int] = field(default_factory=dict)


class World:
    """One run."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.loop = VirtualLoop(random.Random(f"{seed}/loop"))
        self.loop.set_exception_handler(self._on_loop_error)
        self.network = Network(self.loop, random.Random(f"{seed}/network"))
        self.hub = HubMachine(directory / "hub", seed=seed, loop=self.loop, network=self.network)
        self.devices = {
            name: SimulatedDevice(
                name,
                directory / name,
                seed=seed,
                loop=self.loop,
                network=self.network,
                spool_bytes_max=self.dice.choice((500, 65_536)),
            )
            for name in (f"d{index}" for index in range(self.dice.randint(1, 3)))
        }
        self.outcome = Outcome(seed)
        self.tell: Callable[[str], object] = lambda text: None
        """Called with each accident."""
        self._errors: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    def run(self) -> Outcome:
        """Run to the end. InvariantError says what did not hold."""
        asyncio.set_event_loop(self.loop)
        try:
            with agents_on(self.network, self.devices), hub_without_sockets_and_threads():
                self.loop.run_until_complete(self._live())
        finally:
            self._close()
        self.outcome.virtual_s = self.loop.time()
        return self.outcome

    async def _live(self) -> None:
        self.hub.start()
        for device in self.devices.values():
            device.start()
        supervising = self.loop.create_task(self._supervise(), name="supervisor")
        consuming = self.loop.create_task(self._consume(), name="consumer")
        self._tasks = [supervising, consuming]
        await self._trouble()
        self._mend()
        await self._settle()
        self.check(at_end=False)
        supervising.cancel()
        for device in self.devices.values():
            await device.drain()
        await self._until(lambda: not self._behind(), "the consumer to catch up")
        self.check(at_end=True)
        consuming.cancel()
        await self.hub.stop()

    # -- accidents ---------------------------------------------------------------------------------------------------

    async def _trouble(self) -> None:
        accidents: list[tuple[float, Callable[[], Any]]] = [
            (3, self._cut_a_connection),
            (1, self._hang_the_network),
            (1, self._refuse_connections),
            (2, self._kill_a_device),
            (2, self._cut_power_of_a_device),
            (4, self._burn_fuse_of_a_device),
            (2, self._kill_the_hub),
            (2, self._cut_power_of_the_hub),
            (4, self._burn_fuse_of_the_hub),
            (2, self._kill_the_consumer),
            (1, self._fill_the_disk_of_a_device),
            (1, self._fill_the_disk_of_the_hub),
            (1, self._move_a_clock),
        ]
        pace_s = self.dice.choice((0.4, 1.0, 3.0))
        while self.loop.time() < TROUBLE_S:
            await asyncio.sleep(self.dice.expovariate(1 / pace_s))
            (accident,) = self.dice.choices([each for _, each in accidents], [weight for weight, _ in accidents])
            name = accident.__name__.strip("_")
            self.outcome.accidents[name] = self.outcome.accidents.get(name, 0) + 1
            self.tell(name.replace("_", " "))
            if asyncio.iscoroutine(waiting := accident()):
                await waiting
            self.check(at_end=False)

    def _cut_a_connection(self) -> None:
        if self.network.connections:
            self.network.cut(self.dice.choice(self.network.connections))

    def _hang_the_network(self) -> None:
        self.network.hang(self.dice.uniform(0.5, 10))

    def _refuse_connections(self) -> None:
        self.network.down = True
        self._later(self.dice.uniform(1, 10), lambda: setattr(self.network, "down", False))

    async def _kill_a_device(self) -> None:
        if (device := self._a_running_device()) is not None:
            await device.kill()

    async def _cut_power_of_a_device(self) -> None:
        if (device := self._a_running_device()) is not None:
            await device.lose_power()

    def _burn_fuse_of_a_device(self) -> None:
        if (device := self._a_running_device()) is not None:
            device.burn_fuse(self.dice.randint(0, 40))

    async def _kill_the_hub(self) -> None:
        if self.hub.running:
            await self.hub.kill()

    async def _cut_power_of_the_hub(self) -> None:
        if self.hub.running:
            await self.hub.lose_power()

    def _burn_fuse_of_the_hub(self) -> None:
        self.hub.burn_fuse(self.dice.randint(0, 40))

    def _kill_the_consumer(self) -> None:
        self.hub.consumer.kill()

    def _fill_the_disk_of_a_device(self) -> None:
        self._fill(self.dice.choice(list(self.devices.values())))

    def _fill_the_disk_of_the_hub(self) -> None:
        self._fill(self.hub)

    def _fill(self, machine: SimulatedDevice | HubMachine) -> None:
        machine.fill_disk(self.dice.randint(0, 3000))
        self._later(self.dice.uniform(1, 15), machine.empty_disk)

    def _move_a_clock(self) -> None:
        machine = self.dice.choice([self.hub, *self.devices.values()])
        machine.clock.jump(self.dice.choice((-86_400, -3.0, 0.5, 10_000, 1e7)))

    def _a_running_device(self) -> SimulatedDevice | None:
        running = [device for device in self.devices.values() if device.running]
        return self.dice.choice(running) if running else None

    def _later(self, seconds: float, call: Callable[[], Any]) -> None:
        self.loop.call_later(seconds, call)

    # -- life goes on ------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        """Start again what has ended, a moment later."""
        while True:
            await asyncio.sleep(self.dice.uniform(0.1, 1.5))
            for machine in (self.hub, *self.devices.values()):
                if not machine.running:
                    machine.start()

    async def _consume(self) -> None:
        while True:
            await asyncio.sleep(self.dice.uniform(0.05, 1.0))
            self.hub.consumer.work()

    def _mend(self) -> None:
        self.network.mend()
        self.hub.mend()
        for device in self.devices.values():
            device.mend()

    async def _settle(self) -> None:
        await asyncio.sleep(NOTICE_S)
        await self._until(self._is_quiet, "everything to be running and sent")

    def _is_quiet(self) -> bool:
        running = self.hub.running and all(device.running for device in self.devices.values())
        return running and not self._behind() and all(device.held == 0 for device in self.devices.values())

    def _behind(self) -> bool:
        return self.hub.consumer.lag() > 0

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = self.loop.time() + SETTLE_S
        while not condition():
            self.check(at_end=False)
            if self.loop.time() > deadline_s:
                raise InvariantError(f"waited {SETTLE_S:.0f} s in vain for {what}")
            await asyncio.sleep(0.5)

    # -- what must hold ----------------------------------------------------------------------------------------------

    def check(self, *, at_end: bool) -> None:
        """Hold the world against its promises."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()
        self._require(not self._errors, "; ".join(self._errors))
        self._check_values()
        hub = self.hub.hub
        if hub is None or not self.hub.serving:
            return
        self._check_acknowledged(hub.accounts.to_json())
        answer = {"accounts": hub.accounts.to_json(), "partitions": hub.positions()}
        ledger = reconcile(answer, self.hub.consumer.ledger())
        amounts = ledger.totals
        self._require(amounts.lost == 0, f"{amounts.lost} readings are lost: {ledger.to_json()}")
        self._require(amounts.duplicate_rows == 0, f"{amounts.duplicate_rows} rows are stored twice")
        if at_end:
            flying = (amounts.held, amounts.logged)
            self._require(flying == (0, 0), f"{flying} readings are held and logged after the end: {ledger.to_json()}")
            self._require(
                amounts.produced == amounts.stored + amounts.dropped,
                f"produced {amounts.produced} != stored {amounts.stored} + dropped {amounts.dropped}",
            )
            self._check_nothing_is_missing(amounts.dropped)
            self.outcome.readings, self.outcome.dropped = amounts.stored, amounts.dropped
            self.outcome.duplicates = amounts.duplicates

    def _check_acknowledged(self, accounts: list[dict[str, Any]]) -> None:
        received = {(row["device"], row["epoch"]): row["received"] for row in accounts}
        for device in self.devices.values():
            for epoch, spans in device.acknowledged.items():
                there = received.get((device.name, epoch), [])
                for start, stop in spans:
                    whole = any(low <= start and stop <= high for low, high in there)
                    self._require(
                        whole,
                        f"{device.name}: [{start}, {stop}) of epoch {epoch} was acknowledged; the log has {there}",
                    )

    def _check_values(self) -> None:
        """Every stored row is what the sensor gave."""
        for row in self.hub.consumer.new_rows():
            given = self.devices[row.device].sensor.given
            self._require((row.series, row.time_ns) in given, f"{row} was never given by a sensor")
            self._require(given[row.series, row.time_ns] == row.value, f"{row}: the sensor gave something else")

    def _check_nothing_is_missing(self, dropped: int) -> None:
        """Readings that are nowhere: declared dropped, or never durable on their device."""
        stored = self.hub.consumer.stored_instants()
        unexplained = 0
        for device in self.devices.values():
            missing = [key for key in device.sensor.given if (device.name, *key) not in stored]
            self.outcome.unnumbered += len(missing)
            unexplained += sum(time_ns not in device.not_durable for _, time_ns in missing)
        self._require(
            unexplained <= dropped,
            f"{unexplained} readings are neither stored nor declared nor near a crash (dropped: {dropped})",
        )

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise InvariantError(f"seed {self.seed}, at {self.loop.time():.3f} s: {otherwise}")

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, (PowerCut, asyncio.CancelledError)):
            return
        self._errors.append(f"{context.get('message')}: {error!r}")

    def _close(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.call_later(5.0, self.loop.stop)
            self.loop.run_forever()
        asyncio.set_event_loop(None)
        self.loop.close()


def run_seed(seed: int, directory: Path) -> Outcome:
    """Run the world of one seed, quietly. InvariantError, with the seed, when something does not hold."""
    logging.disable(logging.CRITICAL)
    try:
        return World(seed, directory / f"seed-{seed}").run()
    finally:
        logging.disable(logging.NOTSET)
