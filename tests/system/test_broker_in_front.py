"""A real mosquitto in front of the hub, killed and started again, and the hub too: what devices keep is not lost."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from hub.ledger import reconcile
from streams.control import ControlClient
from streams.names import topic
from tests.hub.records import frame
from tests.servers import Server, free_port, mosquitto
from tests.system.stack import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

EPOCH = 1_790_000_000
READINGS = 10


class Mosquitto:
    """A mosquitto that keeps its sessions in a directory, on one port, as often as it is started."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        directory.chmod(0o777)
        self.port = free_port()
        self._lines = ("persistence true", f"persistence_location {directory}/", "autosave_interval 1")
        self._opened = contextlib.ExitStack()
        self.start()

    def start(self) -> None:
        self.server: Server = self._opened.enter_context(mosquitto(*self._lines, port=self.port))

    def kill(self) -> None:
        self.server.process.kill()
        self.server.process.wait()

    def close(self) -> None:
        self._opened.close()


class Device:
    """Keeps each frame until the hub says that it has it on disk, and sends what is left when it comes back."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.spool: dict[int, bytes] = {}
        self.next = 0
        self.commands: list[Any] = []
        self._lock = threading.Lock()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, clean_session=True)
        self.client.reconnect_delay_set(0.1, 0.3)
        self.client.max_queued_messages_set(0)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def sample(self) -> None:
        with self._lock:
            data = frame(EPOCH, self.next, READINGS)
            self.spool[self.next] = data
            self.next += READINGS
        if self.client.is_connected():
            self.client.publish(topic(self.name, "frames"), data, qos=1)

    def account(self) -> None:
        with self._lock:
            held = [[first, first + READINGS] for first in self.spool]
            body = {"epoch": EPOCH, "produced": self.next, "time_ms": 1, "held": held, "dropped": [], "thinned": []}
        self.client.publish(topic(self.name, "account"), json.dumps(body), qos=1).wait_for_publish(10)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        client.subscribe(topic(self.name, "+"), 1)
        client.publish(topic(self.name, "state"), b'{"online": true, "boot": "b", "epoch": 1790000000}', qos=1)
        with self._lock:
            again = list(self.spool.values())
        for each in again:
            client.publish(topic(self.name, "frames"), each, qos=1)

    def _on_message(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        channel = message.topic.rpartition("/")[2]
        if channel == "commands":
            self.commands.append(json.loads(message.payload))
        if channel != "committed":
            return
        for entry in json.loads(message.payload)["committed"]:
            if entry["epoch"] == EPOCH:
                self._free(entry["received"])

    def _free(self, received: list[list[int]]) -> None:
        with self._lock:
            for first in list(self.spool):
                if any(start <= first and first + READINGS <= stop for start, stop in received):
                    del self.spool[first]


class HubProcess:
    """penstock hub run, as a client of the broker."""

    def __init__(self, data: Path, broker_port: int) -> None:
        self.data, self._broker_port = data, broker_port
        self.control = ControlClient(data / "run" / "hub.sock", what="the hub")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "penstock", "hub", "run", "--data", str(self.data), "--mqtt-port", "0",
                   "--broker-host", "127.0.0.1", "--broker-port", str(self._broker_port), "--broker-retry-s-max", "0.5",
                   "--broker-committed-interval-s", "0.1"]  # fmt: skip
        with (self.data.parent / "hub.out").open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        wait_for("the hub", lambda: self.control.get("/health"), timeout_s=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path / "mosquitto")
    yield made
    made.close()


@pytest.fixture
def hub(tmp_path: Path, broker: Mosquitto) -> Iterator[HubProcess]:
    (tmp_path / "data").mkdir()
    made = HubProcess(tmp_path / "data", broker.port)
    yield made
    made.kill()


def test_nothing_is_lost_though_the_broker_and_the_hub_are_killed(broker: Mosquitto, hub: HubProcess) -> None:
    devices = [Device(f"dev-{number}", broker.port) for number in range(3)]
    try:
        for step in range(120):
            for each in devices:
                each.sample()
            time.sleep(0.01)
            if step in (30, 70):
                broker.kill()
                for each in devices:
                    each.sample()
                broker.start()
            if step == 50:
                hub.kill()
                for each in devices:
                    each.sample()
                hub.start()
        for each in devices:
            wait_for(f"{each.name} to be told that all is on disk", lambda each=each: not each.spool, timeout_s=60)
            each.account()
        wait_for("the accounts", lambda: len(hub.control.get("/ledger")["accounts"]) == 3)
        totals = reconcile(hub.control.get("/ledger"), None).totals
        assert totals.lost == 0, totals
        assert totals.produced == totals.logged == sum(each.next for each in devices)
        wait_for("the hub to be well", lambda: hub.control.get("/health")["status"] == "ok")
    finally:
        for each in devices:
            each.stop()


def test_a_command_goes_by_way_of_the_broker_and_a_broker_that_is_away_is_said(
    broker: Mosquitto, hub: HubProcess
) -> None:
    device = Device("press", broker.port)
    try:
        wait_for("the device", lambda: hub.control.get("/devices/press")["online"])
        hub.control.request("POST", "/commands", body={"device": "press", "name": "identify"})
        wait_for("the command", lambda: device.commands)
        assert device.commands[0]["name"] == "identify"
        broker.kill()
        problems = wait_for("the hub to say so", lambda: hub.control.get("/health")["problems"])
        assert f"the broker at 127.0.0.1:{broker.port} is not read from" in problems[0]
        broker.start()
        wait_for("the hub to be well", lambda: hub.control.get("/health")["status"] == "ok")
        assert "penstock_hub_broker_connects_total" in hub.control.get("/metrics")
    finally:
        device.stop()
