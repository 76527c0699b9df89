"""The agent as a process: signals, and a real broker."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.inspection import spool_status
from tests.edge.broker import Published, broker
from tests.edge.hub import HubView
from tests.servers import mosquitto

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path
from edge.agent import run
from edge.settings import EdgeSettings, SensorSettings
settings = EdgeSettings(device="press-7", hub_port=int(sys.argv[2]), frame_age_s=0.05, account_interval_s=0.05,
                        stop_timeout_s=float(sys.argv[3]), sensors=(SensorSettings(kind="host", interval_s=0.02),))
sys.exit(run(settings, Path(sys.argv[1])))
"""


@asynccontextmanager
async def process(state: Path, port: int, *, stop_timeout_s: float = 5.0) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = ["-c", PROGRAM, str(state), str(port), str(stop_timeout_s)]
    running = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_the_first_signal_drains(tmp_path: Path) -> None:
    async with broker() as peer, process(tmp_path, peer.port) as agent:
        await peer.until(lambda: len(peer.channel("frames")) >= 3)
        agent.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(agent.wait(), 10) == 0
        seen = HubView(peer.published)
    assert (seen.missing(), seen.account["held"]) == ([], [])
    status = spool_status(tmp_path)
    assert (status["frames"], status["readings_held"], status["running"]) == (0, 0, False)
    assert status["readings_numbered"] == seen.account["produced"] > 0


async def test_the_second_signal_forces_and_loses_nothing(tmp_path: Path) -> None:
    async with broker() as peer:
        peer.puback = lambda message: None if message.channel == "frames" else 0
        async with process(tmp_path, peer.port, stop_timeout_s=60.0) as agent:
            await peer.until(lambda: len(peer.channel("frames")) >= 3)
            agent.send_signal(signal.SIGINT)
            accounts = len(peer.channel("account"))
            await peer.until(lambda: len(peer.channel("account")) > accounts + 3)
            assert agent.returncode is None, "it still tries to send"
            agent.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(agent.wait(), 10) == 1
        peer.puback = lambda message: 0
        async with process(tmp_path, peer.port) as agent:
            before = len(peer.channel("account"))
            await peer.until(lambda: len(peer.channel("account")) > before + 3)
            agent.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(agent.wait(), 10) == 0
        seen = HubView(peer.published)
    assert (seen.missing(), seen.account["held"]) == ([], [])


@pytest.mark.system
async def test_through_mosquitto_and_its_restart_every_reading_arrives(tmp_path: Path) -> None:
    published: list[Published] = []

    def listen(port: int) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="hub", protocol=MQTTProtocolVersion.MQTTv5)
        client.on_message = lambda c, u, message: published.append(Published(message.topic, message.payload, 0, 0))
        client.connect("127.0.0.1", port)
        client.subscribe("penstock/v1/+/#", qos=1)
        client.loop_start()
        return client

    async def until_frames(count: int) -> None:
        async with asyncio.timeout(20):
            while sum(message.channel == "frames" for message in published) < count:
                await asyncio.sleep(0.02)

    with mosquitto() as first:
        port = first.port
        hub = listen(port)
        async with process(tmp_path, port) as agent:
            await until_frames(5)
            hub.disconnect()
            hub.loop_stop()
            agent.send_signal(signal.SIGSTOP)  # the broker goes away when the agent does not look
            first.process.terminate()
            first.process.wait()
            with mosquitto(port=port):
                hub = listen(port)
                agent.send_signal(signal.SIGCONT)
                await until_frames(10)
                agent.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(agent.wait(), 15) == 0
                async with asyncio.timeout(10):
                    while HubView(published).account["held"]:
                        await asyncio.sleep(0.02)
                hub.disconnect()
                hub.loop_stop()
    assert len(HubView(published).readings) == 1
