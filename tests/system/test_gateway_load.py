"""Ten thousand devices at once on the real hub, all of them coming back together, and one more than it lets in."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.control import ControlClient
from streams.mqtt import Acknowledge, Connect, PacketType, Publish, encode
from tests.hub.records import frame
from tests.servers import free_port
from tests.system.stack import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DEVICES = 9_999
IDLE_BYTES_MAX = 16 << 10


class Hub:
    """penstock hub run."""

    def __init__(self, data: Path) -> None:
        self.port = free_port()
        self.control = ControlClient(data / "run" / "hub.sock", what="the hub")
        command = [sys.executable, "-m", "penstock", "hub", "run", "--data", str(data), "--mqtt-port", str(self.port)]
        with (data.parent / "hub.out").open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        wait_for("the hub", lambda: self.control.get("/health"), timeout_s=30)

    def rss_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    def counter(self, name: str) -> float:
        lines = self.control.get("/metrics").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"penstock_hub_mqtt_{name}"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "data").mkdir()
    made = Hub(tmp_path / "data")
    yield made
    made.process.kill()
    made.process.wait()


class Devices:
    """Many devices, in a process of their own."""

    def __init__(self, port: int, count: int) -> None:
        command = [sys.executable, "-m", "benchmarks.mqtt_peer", "devices", str(port), str(count)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None and self.process.stdout.readline().strip() == "ready"

    def ask(self, job: str) -> object:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{job}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the devices were refused"
        return json.loads(line)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def test_ten_thousand_devices_are_there_at_once_and_come_back_together(hub: Hub) -> None:
    devices = Devices(hub.port, DEVICES)
    try:
        before = hub.rss_bytes()
        took_s = devices.ask("connect")
        print(f"{DEVICES} connected in {took_s:.1f} s, {(hub.rss_bytes() - before) / DEVICES:,.0f} B each")
        assert hub.counter("connections") == DEVICES
        assert (hub.rss_bytes() - before) / DEVICES < IDLE_BYTES_MAX
        works(hub)
        with socket.create_connection(("127.0.0.1", hub.port), 10) as last:
            last.sendall(encode(Connect("last")))
            assert last.recv(4) == b"\x20\x02\x00\x00"
            with socket.create_connection(("127.0.0.1", hub.port), 10) as beyond:
                assert beyond.recv(4) == b"", "one more than hub.mqtt.connections_max"
        assert hub.counter("refused_full") == 1
        devices.ask("close")
        wait_for("all to be gone", lambda: hub.counter("connections") == 0)
        after_first = hub.rss_bytes()
        for _ in range(2):
            print(f"{DEVICES} again in {devices.ask('connect'):.1f} s")
            devices.ask("close")
            wait_for("all to be gone", lambda: hub.counter("connections") == 0)
        assert hub.rss_bytes() < after_first + (64 << 20), "what was closed is given back"
        assert hub.counter("connects") == 3 * DEVICES + 2
        works(hub)
    finally:
        devices.end()


def works(hub: Hub) -> None:
    """A device comes, sends a frame, is acknowledged."""
    with socket.create_connection(("127.0.0.1", hub.port), 10) as client:
        client.settimeout(20)
        client.sendall(encode(Connect("press")) + encode(Publish("penstock/v1/press/frames", frame(7, 0, 5), 1, 1)))
        wanted = b"\x20\x02\x00\x00" + encode(Acknowledge(PacketType.PUBACK, 1))
        got = b""
        while len(got) < len(wanted):
            got += client.recv(100)
        assert got[: len(wanted)] == wanted
