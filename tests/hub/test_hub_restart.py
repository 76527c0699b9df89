"""kill -9 of a real hub under real clients: what was acknowledged arrives, and of QoS 2 nothing twice."""

from __future__ import annotations

import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streams.files import DiskFiles
from streams.log import StreamReader
from streams.mqtt import Packet, decode, encode
from streams.names import TELEMETRY
from streams.record import Record
from tests.hub.mqtt_models import Publisher, Reader
from tests.servers import free_port

WAIT_S = 60.0
MESSAGES = 400
KILLS = 4

PROGRAM = """
import logging, sys
from pathlib import Path
from hub.gateway_settings import GatewaySettings
from hub.hub import run
from hub.settings import HubSettings
logging.basicConfig(level="INFO", stream=sys.stderr)
sys.exit(run(HubSettings(mqtt=GatewaySettings(port=int(sys.argv[2]))), Path(sys.argv[1])))
"""


class HubProcess:
    """A hub that is killed and started again on the same port and data."""

    def __init__(self, data: Path) -> None:
        self.data, self.port = data, free_port()
        self.said: list[str] = []
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", PROGRAM, str(self.data), str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if re.search("ready: MQTT", line):
                break
        else:
            raise AssertionError(f"the hub did not start: {''.join(self.said[-20:])}")
        threading.Thread(target=self._drain, args=(self.process,), daemon=True).start()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _drain(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.said += process.stderr


@contextmanager
def hub(data: Path) -> Iterator[HubProcess]:
    made = HubProcess(data)
    try:
        yield made
    finally:
        made.kill()


def client(name: str, version: int, port: int) -> Any:
    """paho with a session that is kept, which comes back by itself."""
    more = {"clean_session": False} if version == 4 else {}
    made: Any = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion(version), **more)
    made.reconnect_delay_set(0.05, 0.2)
    if version == 5:
        properties: Any = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
        made.connect("127.0.0.1", port, clean_start=False, properties=properties)
    else:
        made.connect("127.0.0.1", port)
    return made


class SocketLink:
    """A client's socket, which does not block."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.closed = False

    def send(self, *packets: Packet) -> None:
        self._socket.settimeout(WAIT_S)
        try:
            self._socket.sendall(b"".join(encode(packet, 5) for packet in packets))
        except OSError:
            self.closed = True

    def read(self) -> list[Packet]:
        self._socket.setblocking(False)
        try:
            data = self._socket.recv(1 << 16)
            self.closed = not data
            self._buffer += data
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True
        found: list[Packet] = []
        while (one := decode(self._buffer, version=5)) is not None:
            found.append(one[0])
            self._buffer = self._buffer[one[1] :]
        return found


def test_what_was_acknowledged_arrives_and_qos_2_exactly_once_though_the_hub_is_killed(tmp_path: Path) -> None:
    dice = random.Random(7)
    with hub(tmp_path) as server:

        def open_link() -> SocketLink:
            return SocketLink(server.port)

        writers = [Publisher(open_link, qos, topic) for topic in ("x/y", "penstock") for qos in (1, 2)]
        reader = Reader(open_link, "reader", "x/#")
        clients: list[Publisher | Reader] = [reader, *writers]
        deadline = time.monotonic() + WAIT_S

        def work() -> None:
            assert time.monotonic() < deadline, server.said[-20:]
            for each in clients:
                if each.link is None:
                    each.connect()
                each.work()

        while not reader.subscribed:
            work()
        for n in range(MESSAGES):
            for writer in writers:
                writer.publish()
            for _ in range(dice.randint(0, 3)):
                work()
            while any(len(writer.open) > dice.randint(5, 15) or not writer.greeted for writer in writers):
                work()
            if n % (MESSAGES // KILLS) == MESSAGES // KILLS - 1:
                time.sleep(dice.uniform(0, 0.003))
                server.kill()
                server.start()
        while any(writer.open for writer in writers) or not set(writers[0].sent + writers[1].sent) <= set(reader.heard):
            work()
        end = time.monotonic() + 0.3  # for what may come twice
        while time.monotonic() < end:
            work()
    assert set(reader.heard) == set(writers[0].sent + writers[1].sent)
    assert [each for each in reader.heard if each in set(writers[1].sent)] == writers[1].sent, "each of QoS 2 once"
    assert min(len(writer.sent) for writer in writers) > MESSAGES // 4
    stored = [record.value for record in telemetry(tmp_path)]
    assert {*writers[2].sent, *writers[3].sent} == set(stored)
    assert [value for value in stored if value in set(writers[3].sent)] == writers[3].sent, "each of QoS 2 once on disk"


def telemetry(data: Path) -> list[Record]:
    reader = StreamReader(data / "log", TELEMETRY, 0, files=DiskFiles())
    found: list[Record] = []
    while batch := reader.read(found[-1].offset + 1 if found else 0):
        found += batch
    return found


def test_paho_finds_its_session_after_a_kill(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        heard: list[bytes] = []
        sessions: list[bool] = []
        ready, done = threading.Event(), threading.Event()
        reader = client("reader", 4, server.port)
        reader.on_connect = lambda _, __, flags, *___: (
            sessions.append(flags.session_present),
            reader.subscribe("a", 2),
        )
        reader.on_subscribe = lambda *_: ready.set()
        reader.on_message = lambda _, __, message: (heard.append(message.payload), len(heard) == 4 and done.set())
        reader.loop_start()
        writer = client("writer", 5, server.port)
        writer.loop_start()
        assert ready.wait(WAIT_S)
        for kill in range(2):
            for qos in (1, 2):
                while not writer.is_connected():
                    time.sleep(0.01)
                writer.publish("a", b"%d/%d" % (kill, qos), qos).wait_for_publish(WAIT_S)
            server.kill()
            server.start()
        assert done.wait(WAIT_S)
        for each in (reader, writer):
            each.disconnect()
            each.loop_stop()
    assert sessions[0] is False and all(sessions[1:]) and len(sessions) > 1
    assert set(heard) == {b"0/1", b"0/2", b"1/1", b"1/2"}


def test_retained_messages_and_the_stream_of_sessions_after_a_kill(tmp_path: Path) -> None:
    with hub(tmp_path) as server:
        writer = client("writer", 5, server.port)
        writer.loop_start()
        for n in range(50):
            writer.publish("r/kept", b"%d" % n, 1, retain=True).wait_for_publish(WAIT_S)
        writer.loop_stop()
        server.kill()
        server.start()
        heard: list[bytes] = []
        done = threading.Event()
        reader = client("reader", 5, server.port)
        reader.on_message = lambda _, __, message: (heard.append(message.payload), done.set())
        reader.subscribe("r/#", 1)
        reader.loop_start()
        assert done.wait(WAIT_S)
        reader.loop_stop()
    assert heard == [b"49"]
