"""The agent and the real hub: what the device says it produced is what the hub has received, and commands go round."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from edge.agent import Agent
from edge.settings import EdgeSettings, LinkSettings
from hub.gateway_settings import GatewaySettings
from hub.hub import Hub
from hub.ledger import reconcile
from hub.settings import HubSettings
from streams.clock import SystemClock
from streams.control import ControlClient
from streams.files import DiskFiles
from streams.sequences import SequenceSet
from tests.edge.sensors_for_tests import CountingSensor


@contextlib.asynccontextmanager
async def running_hub(data: Path, port: int = 0) -> AsyncIterator[int]:
    """A hub for as long as the context lasts; gives its MQTT port."""
    hub = Hub(HubSettings(mqtt=GatewaySettings(port=port)), data, clock=SystemClock(), files=DiskFiles())
    stop = asyncio.Event()
    task = asyncio.create_task(hub.run(stop))
    await until(lambda: task.done() or (data / "run" / "hub.sock").exists())
    if task.done():
        task.result()
    try:
        yield hub.gateway.port
    finally:
        stop.set()
        await task


@contextlib.asynccontextmanager
async def running_agent(state: Path, port: int, sensor: CountingSensor) -> AsyncIterator[None]:
    settings = EdgeSettings(
        device="press-7",
        hub_port=port,
        link=LinkSettings(retry_s_min=0.01, retry_s_max=0.05),
        frame_age_s=0.05,
        account_interval_s=0.05,
        health_interval_s=0,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(Agent(settings, state, sensors=[sensor]).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def ask(data: Path, method: str, route: str, body: Any = None) -> Any:
    client = ControlClient(data / "run" / "hub.sock", what="the hub")
    return await asyncio.to_thread(client.request, method, route, body=body)


async def test_produced_is_received_across_a_restart_of_the_hub(tmp_path: Path) -> None:
    sensor, data = CountingSensor(), tmp_path / "data"
    async with running_hub(data) as port, running_agent(tmp_path / "agent", port, sensor):
        await until(lambda: sensor.count > 30)
    async with running_agent(tmp_path / "agent", port, sensor):
        await until(lambda: sensor.count > 60)
        async with running_hub(data, port):
            await until(lambda: sensor.count > 100)
    async with running_hub(data) as port:
        async with running_agent(tmp_path / "agent", port, sensor):
            await until(lambda: sensor.count > 120)
        (device,) = (await ask(data, "GET", "/ledger"))["accounts"]
        assert device["produced"] == sensor.count
        assert device["held"] == []
        assert SequenceSet(device["received"]) == SequenceSet([(0, sensor.count)])
        (shown,) = (await ask(data, "GET", "/devices"))["devices"]
        assert shown["online"] is False
        assert shown["agent"].startswith("penstock")
        assert shown["manifest"]["series"][0]["name"] == "count.value"


async def test_a_command_goes_to_the_device_and_its_result_comes_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running_hub(data) as port, running_agent(tmp_path / "agent", port, CountingSensor()):
        async with asyncio.timeout(10):
            while not (await ask(data, "GET", "/devices"))["devices"]:
                await asyncio.sleep(0.01)
        made = await ask(data, "POST", "/commands", {"device": "press-7", "name": "read_now", "deadline_s": 30})
        ended = None
        async with asyncio.timeout(10):
            while ended is None or ended["ended_ms"] is None:
                ended = await ask(data, "GET", f"/commands/{made['key']}")
        assert ended["state"] == "succeeded"
        assert "count.value" in ended["result"]["readings"]
        states = [each["state"] for each in ended["history"]]
        assert states == ["queued", "sent", "accepted", "running", "succeeded"]


async def test_a_command_for_a_device_that_is_away_waits_for_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running_hub(data) as port:
        sensor = CountingSensor()
        async with running_agent(tmp_path / "agent", port, sensor):
            await until(lambda: sensor.count > 10)
        made = await ask(data, "POST", "/commands", {"device": "press-7", "name": "identify", "deadline_s": 60})
        async with running_agent(tmp_path / "agent", port, sensor), asyncio.timeout(10):
            ended = made
            while ended["ended_ms"] is None:
                ended = await ask(data, "GET", f"/commands/{made['key']}")
        assert ended["state"] == "succeeded"
        assert ended["result"]["device"] == "press-7"


async def test_a_device_whose_state_was_set_back_numbers_in_a_new_epoch_before_it_sends(tmp_path: Path) -> None:
    sensor, data, state = CountingSensor(), tmp_path / "data", tmp_path / "agent"
    async with running_hub(data) as port:
        async with running_agent(state, port, sensor):
            await until(lambda: sensor.count > 20)
        shutil.copytree(state, tmp_path / "backup")
        async with running_agent(state, port, sensor):
            await until(lambda: sensor.count > 60)
        shutil.rmtree(state)
        (tmp_path / "backup").rename(state)
        before = sensor.count
        async with running_agent(state, port, sensor):
            await until(lambda: sensor.count > before + 40)
        accounts = (await ask(data, "GET", "/ledger"))["accounts"]
        assert [each["conflicts"] for each in accounts] == [0, 0], "no number was used twice"
        old, new = accounts
        assert (SequenceSet(old["received"]).count(), SequenceSet(new["received"]).count()) == (
            before,
            sensor.count - before,
        )
        ledger = reconcile(await ask(data, "GET", "/ledger"), None)
        assert (ledger.totals.logged, ledger.totals.lost, ledger.totals.held) == (sensor.count, 0, 0)
        assert (await ask(data, "GET", "/health"))["problems"] == []


async def test_two_agents_with_a_copied_state_lose_nothing_and_the_hub_names_them(tmp_path: Path) -> None:
    """A card was copied: device id and epoch are the same in both."""
    one, two, data = CountingSensor(), CountingSensor(), tmp_path / "data"
    async with running_hub(data) as port:
        async with running_agent(tmp_path / "one", port, one):
            await until(lambda: one.count > 10)
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        copied = one.count
        async with running_agent(tmp_path / "one", port, one):
            await until(lambda: one.count > copied + 10)
            async with running_agent(tmp_path / "two", port, two):
                async with asyncio.timeout(20):
                    while not (problems := (await ask(data, "GET", "/health"))["problems"]):
                        await asyncio.sleep(0.05)
        for state in ("one", "two"):
            async with running_agent(tmp_path / state, port, CountingSensor()):
                await asyncio.sleep(0.3)
        assert problems[0].startswith("press-7: two agents use this device id at the same time, from 127.0.0.1:")
        assert problems[0].count("127.0.0.1:") == 2
        accounts = (await ask(data, "GET", "/ledger"))["accounts"]
        assert len({each["epoch"] for each in accounts}) > 1
        assert [each["conflicts"] for each in accounts] == [0] * len(accounts)
        ledger = reconcile(await ask(data, "GET", "/ledger"), None)
        assert ledger.totals.lost == 0 and ledger.totals.logged >= one.count + two.count
