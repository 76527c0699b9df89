"""Settings from the real hub, tried by a real agent: applied, refused, taken back; and no reading is lost over it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge.agent import Agent
from edge.keeper import Keeper
from edge.settings import EdgeSettings, LinkSettings, SensorSettings
from edge.settings_twin import SettingsTwin
from streams.control import ControlClient
from tests.edge.test_with_hub import running_hub
from tests.system.stack import free_port


def settings(port: int, **more: Any) -> EdgeSettings:
    chosen: dict[str, Any] = {
        "device": "press-7",
        "hub_port": port,
        "link": LinkSettings(retry_s_min=0.01, retry_s_max=0.05),
        "sensors": (SensorSettings(kind="load", interval_s=0.02),),
        "frame_age_s": 0.05,
        "account_interval_s": 0.05,
        "health_interval_s": 0,
        "settings_trial_s": 1.0,
        "stop_timeout_s": 0.5,
        **more,
    }
    return EdgeSettings(**chosen)


@contextlib.asynccontextmanager
async def running(keeper: Keeper) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(keeper.run(stop))
    try:
        yield task
    finally:
        stop.set()
        await task


class Hub:
    """The hub's control API, asked from a thread."""

    def __init__(self, data: Path) -> None:
        self._client = ControlClient(data / "run" / "hub.sock", what="the hub")

    async def ask(self, method: str, route: str, body: Any = None, **query: Any) -> Any:
        return await asyncio.to_thread(self._client.request, method, route, body=body, query=query)

    async def met(self) -> None:
        async with asyncio.timeout(20):
            while not any(each["readings"] for each in (await self.ask("GET", "/devices"))["devices"]):
                await asyncio.sleep(0.05)

    async def want(self, **changed: Any) -> dict[str, Any]:
        await self.ask("PATCH", "/devices/press-7/twin", {"settings": changed})
        answer: dict[str, Any] = await self.ask("GET", "/devices/press-7/twin", wait_s=30)
        assert answer["settled"], answer
        return answer

    async def balances(self) -> None:
        """Everything that was numbered has come, and the numbers have gone on."""
        async with asyncio.timeout(20):
            while True:
                (account,) = (await self.ask("GET", "/ledger"))["accounts"]
                if account["received"] == [[0, account["produced"]]] and not account["dropped"]:
                    return
                await asyncio.sleep(0.05)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[tuple[Hub, int]]:
    async with running_hub(tmp_path / "hub") as port:
        yield Hub(tmp_path / "hub"), port


async def test_good_settings_are_applied_and_stay(hub: tuple[Hub, int], tmp_path: Path) -> None:
    view, port = hub
    async with running(Keeper(settings(port), tmp_path / "edge")):
        await view.met()
        told = await view.want(frame_age_s=0.1, labels={"site": "hall-2"})
        assert (told["reported"]["outcome"], told["reported"]["settings"]["frame_age_s"]) == ("applied", 0.1)
        assert (await view.ask("GET", "/devices/press-7"))["manifest"]["device"]["labels"] == {"site": "hall-2"}
    async with running(Keeper(settings(port), tmp_path / "edge")):
        async with asyncio.timeout(20):
            while (await view.ask("GET", "/devices/press-7/twin"))["reported"]["settings"]["frame_age_s"] != 0.1:
                await asyncio.sleep(0.05)
        told = await view.want(frame_age_s=None, labels=None)
        assert (told["desired"]["settings"], told["reported"]["settings"]["frame_age_s"]) == ({}, 0.05)
    await view.balances()


async def test_settings_that_cannot_be_are_refused(hub: tuple[Hub, int], tmp_path: Path) -> None:
    view, port = hub
    async with running(Keeper(settings(port), tmp_path / "edge")):
        await view.met()
        told = await view.want(frame_age_s=-1)
        assert (told["reported"]["outcome"], told["reported"]["settings"]["frame_age_s"]) == ("refused", 0.05)
        assert "frame_age_s" in told["reported"]["error"]


async def test_settings_that_cut_the_hub_off_are_taken_back(hub: tuple[Hub, int], tmp_path: Path) -> None:
    view, port = hub
    async with running(Keeper(settings(port), tmp_path / "edge")):
        await view.met()
        told = await view.want(hub_port=free_port())
        assert (told["reported"]["outcome"], told["reported"]["settings"]["hub_port"]) == ("rolled back", port)
        assert "not reached" in told["reported"]["error"]
        await view.balances()


async def test_settings_that_a_sensor_dies_of_are_taken_back(hub: tuple[Hub, int], tmp_path: Path) -> None:
    view, port = hub
    async with running(Keeper(settings(port), tmp_path / "edge")):
        await view.met()
        broken = {"kind": "disk", "interval_s": 0.05, "options": {"paths": ["/no/such/place"]}}
        told = await view.want(sensors=[{"kind": "load", "interval_s": 0.02}, broken])
        assert told["reported"]["outcome"] == "rolled back"
        assert "disk" in told["reported"]["error"]
        assert [each["kind"] for each in told["reported"]["settings"]["sensors"]] == ["load"]
        await view.balances()


async def test_settings_that_the_agent_dies_of_are_taken_back(hub: tuple[Hub, int], tmp_path: Path) -> None:
    view, port = hub

    class Mortal(Agent):
        async def run(self, stop: asyncio.Event) -> None:
            if self.settings.frame_age_s == 0.13:
                raise ZeroDivisionError("of all things")
            await super().run(stop)

    def make(chosen: EdgeSettings, twin: SettingsTwin) -> Agent:
        return Mortal(chosen, tmp_path / "edge", twin=twin)

    async with running(Keeper(settings(port), tmp_path / "edge", make=make)):
        await view.met()
        told = await view.want(frame_age_s=0.13)
        assert (told["reported"]["outcome"], told["reported"]["settings"]["frame_age_s"]) == ("rolled back", 0.05)
        assert "of all things" in told["reported"]["error"]


async def test_an_agent_that_dies_without_a_trial_is_not_kept_alive(tmp_path: Path) -> None:
    class Mortal(Agent):
        async def run(self, stop: asyncio.Event) -> None:
            raise ZeroDivisionError("of all things")

    keeper = Keeper(settings(1), tmp_path, make=lambda chosen, twin: Mortal(chosen, tmp_path, twin=twin))
    with pytest.raises(ZeroDivisionError):
        await keeper.run(asyncio.Event())
