"""The whole hub with real clients on real sockets, in this process and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import queue
import re
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from hub.gateway_settings import GatewaySettings
from hub.hub import Hub
from hub.ledger import reconcile
from hub.settings import DeviceSettings, HubSettings
from streams import names
from streams.clock import SystemClock
from streams.control import ControlClient
from streams.errors import PenstockError
from streams.files import DiskFiles, Files
from tests.hub.conftest import until
from tests.hub.records import MANIFEST, frame
from tests.hub.test_ingest import FullDisk

WAIT_S = 20.0


class Device:
    """A device made of a plain MQTT client."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.inbox: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.answers: queue.Queue[bool] = queue.Queue()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, reconnect_on_failure=False)
        self.client.on_connect = lambda client, data, flags, reason, properties: self.answers.put(not reason.is_failure)
        self.client.on_subscribe = lambda client, data, mid, reasons, properties: self.answers.put(True)
        self.client.on_message = self._on_message
        self.client.will_set(names.topic(name, names.STATE), b'{"online": false, "boot": "b"}', qos=1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def begin(self) -> None:
        """Subscribe and send the birth."""
        assert self.answers.get(timeout=WAIT_S), "refused"
        self.client.subscribe(names.topic(self.name, "+"), qos=1)
        assert self.answers.get(timeout=WAIT_S)
        self.say(names.STATE, {"online": True, "epoch": 7, "boot": "b", "agent": "test"})

    def say(self, channel: str, payload: Any) -> None:
        """Publish and wait for the PUBACK."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        info = self.client.publish(names.topic(self.name, channel), data, qos=1)
        info.wait_for_publish(WAIT_S)
        assert info.is_published(), f"{channel} was not acknowledged"

    def hears(self) -> tuple[str, Any]:
        """The next message for this device: its channel and payload."""
        return self.inbox.get(timeout=WAIT_S)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        self.inbox.put((message.topic.rpartition("/")[2], json.loads(message.payload)))


@contextmanager
def device(name: str, port: int) -> Iterator[Device]:
    made = Device(name, port)
    try:
        yield made
    finally:
        made.stop()


def settings(**more: Any) -> HubSettings:
    return HubSettings(mqtt=GatewaySettings(port=0), **more)


def control(data: Path) -> ControlClient:
    return ControlClient(data / "run" / "hub.sock", what="the hub", timeout_s=WAIT_S)


@asynccontextmanager
async def running(data: Path, *, files: Files | None = None, **more: Any) -> AsyncIterator[Hub]:
    hub = Hub(settings(**more), data, clock=SystemClock(), files=files or DiskFiles())
    stop = asyncio.Event()
    task = asyncio.create_task(hub.run(stop))
    await until(lambda: task.done() or (data / "run" / "hub.sock").exists())
    if task.done():
        task.result()
    try:
        yield hub
    finally:
        stop.set()
        assert await asyncio.wait_for(task, WAIT_S) == 0


def whole_path(port: int, data: Path) -> None:
    """What a device and its user do, seen from outside."""
    ask = control(data)
    with device("press", port) as press:
        press.begin()
        press.say(names.FRAMES, frame(7, 0, 5, 99))
        assert press.hears() == ("requests", {"request": "manifest"})
        press.say(names.MANIFEST, MANIFEST)
        for _ in range(2):
            press.say(names.FRAMES, frame(7, 5, 5, zlib.crc32(json.dumps(MANIFEST).encode())))
        press.say(names.ACCOUNT, {"epoch": 7, "produced": 12, "time_ms": 1, "held": [[10, 12]]})
        shown = ask.get("/devices/press")
        assert (shown["online"], shown["readings"], shown["frames"], shown["boot"]) == (True, 10, 2, "b")
        assert shown["manifest"] == MANIFEST
        totals = reconcile(ask.get("/ledger"), None).totals
        assert (totals.produced, totals.logged, totals.held, totals.duplicates, totals.lost) == (12, 10, 2, 5, 0)
        sent = ask.request("POST", "/commands", body={"device": "press", "name": "identify"})
        channel, body = press.hears()
        assert channel == "commands" and body["key"] == sent["key"] and body["name"] == "identify"
        press.say(names.RESULTS, {"key": sent["key"], "step": 1, "state": "succeeded", "time_ms": 1, "result": "ok"})
        assert ask.get(f"/commands/{sent['key']}", wait_s=10)["result"] == "ok"
        health = ask.get("/health")
        assert (health["status"], health["problems"]) == ("ok", [])
        assert health["mqtt"]["port"] == port and health["mqtt"]["connections"] == 1
        assert health["log"]["telemetry"]["end"] == [3] and health["log"]["telemetry"]["bytes"] > 0


async def test_one_whole_path_and_the_same_again_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await asyncio.to_thread(whole_path, hub.gateway.port, tmp_path)
        await until(lambda: not hub.registry.get("press").connected)
    before = [hub.registry.snapshot(), hub.accounts.snapshot(), hub.commands.snapshot()]
    for snapshots in ("kept", "taken away"):
        if snapshots == "taken away":
            for path in (tmp_path / "hub").glob("*.json"):
                path.unlink()
        async with running(tmp_path) as hub:
            assert [hub.registry.snapshot(), hub.accounts.snapshot(), hub.commands.snapshot()] == before, snapshots


async def test_the_will_of_a_device_that_is_cut_off_takes_it_offline(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        with device("press", hub.gateway.port) as press:
            await asyncio.to_thread(press.begin)
            assert hub.registry.get("press").online
            connection = press.client.socket()
            assert connection is not None
            connection.shutdown(socket.SHUT_RDWR)
            await until(lambda: not hub.registry.get("press").reported_online)
        assert not hub.registry.get("press").online


async def test_a_device_that_was_away_gets_its_command_when_it_subscribes(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        with device("press", hub.gateway.port) as press:
            await asyncio.to_thread(press.begin)
        command, _ = await hub.dispatcher.create("press", "identify", {}, deadline_s=60)
        with device("press", hub.gateway.port) as press:
            await asyncio.to_thread(press.begin)
            assert (await asyncio.to_thread(press.hears))[1]["key"] == command.key
            await until(lambda: command.state == "sent")


async def test_a_device_that_is_not_registered_is_refused_at_connect(tmp_path: Path) -> None:
    admission = DeviceSettings(admission="registered", registered=("press",))
    async with running(tmp_path, devices=admission) as hub:
        with device("press", hub.gateway.port) as press:
            await asyncio.to_thread(press.begin)
        with device("lathe", hub.gateway.port) as lathe:
            assert not await asyncio.to_thread(lathe.answers.get, timeout=WAIT_S)
        assert [each["device"] for each in hub.admission.refused()] == ["lathe"]
        assert hub.registry.find("lathe") is None


async def test_a_device_cannot_publish_for_another(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        with device("press", hub.gateway.port) as press:
            await asyncio.to_thread(press.begin)
            press.client.publish("penstock/v1/lathe/state", b'{"online": true}', qos=1)
            await until(lambda: sum(hub.gateway.counters.values()) and hub.registry.find("press"))
            with device("press2", hub.gateway.port) as other:
                await asyncio.to_thread(other.begin)
        assert hub.registry.find("lathe") is None


async def test_a_full_disk_is_said_and_over_when_there_is_space(tmp_path: Path) -> None:
    files = FullDisk()
    async with running(tmp_path, files=files) as hub:
        with device("press", hub.gateway.port) as press:
            await asyncio.to_thread(press.begin)
            files.full = True
            info = press.client.publish(names.topic("press", names.FRAMES), frame(7, 0, 5), qos=1)
            await until(lambda: hub.health()["status"] == "degraded")
            for problem in hub.health()["problems"]:
                assert "No space left on device" in problem and "make room" in problem
            assert not info.is_published()
            files.full = False
        with device("press", hub.gateway.port) as press:
            await asyncio.to_thread(press.begin)
            await asyncio.to_thread(press.say, names.FRAMES, frame(7, 0, 5))
        await until(lambda: hub.health()["status"] == "ok")
        assert hub.accounts.frames_and_readings("press") == (1, 5)


async def test_a_task_that_dies_ends_the_hub_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def die() -> None:
        raise RuntimeError("a defect")

    hub = Hub(settings(), tmp_path, clock=SystemClock(), files=DiskFiles())
    monkeypatch.setattr(hub, "_look_after_commands", die)
    assert await asyncio.wait_for(hub.run(asyncio.Event()), WAIT_S) == 1
    assert "the task 'commands' died" in caplog.text and "a defect" in caplog.text


PROGRAM = """
import logging, sys
from pathlib import Path
from hub.gateway_settings import GatewaySettings
from hub.hub import run
from hub.settings import HubSettings
from streams.errors import PenstockError
logging.basicConfig(level="INFO", stream=sys.stderr)
try:
    sys.exit(run(HubSettings(mqtt=GatewaySettings(port=0)), Path(sys.argv[1])))
except PenstockError as error:
    sys.exit(f"refused: {error}")
"""


@contextmanager
def process(data: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A hub in a process of its own, and its port, once it is ready."""
    made = subprocess.Popen([sys.executable, "-c", PROGRAM, str(data)], stderr=subprocess.PIPE, text=True)
    assert made.stderr is not None
    try:
        lines = iter(made.stderr.readline, "")
        ready = next(found for line in lines if (found := re.search(r"ready: MQTT on [\d.]+:(\d+)", line)))
        yield made, int(ready[1])
    finally:
        made.kill()
        made.stderr.close()
        made.wait()


def test_what_was_acknowledged_is_there_after_kill_9_and_a_signal_stops_it_cleanly(tmp_path: Path) -> None:
    with process(tmp_path) as (hub, port), device("press", port) as press:
        press.begin()
        for sequence in range(0, 50, 5):
            press.say(names.FRAMES, frame(7, sequence, 5))
        command = control(tmp_path).request("POST", "/commands", body={"device": "press", "name": "go"})
        hub.kill()
        hub.wait()
    with process(tmp_path) as (hub, port):
        ask = control(tmp_path)
        shown = ask.get("/devices/press")
        assert (shown["frames"], shown["readings"], shown["connected"], shown["online"]) == (10, 50, False, False)
        with device("press", port) as press:
            press.begin()
            assert press.hears()[1]["key"] == command["key"]
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(WAIT_S) == 0
    assert not (tmp_path / "run" / "hub.sock").exists()
    with pytest.raises(PenstockError, match="the hub cannot be reached"):
        control(tmp_path).get("/health")


def test_two_hubs_cannot_have_the_same_data(tmp_path: Path) -> None:
    with process(tmp_path):
        second = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
        )
    assert second.returncode == 1 and "is in use by penstock hub (process" in second.stderr
