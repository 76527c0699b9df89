"""Clients that others made, against the real hub: both versions, over TCP, TLS, WebSocket and WebSocket over TLS."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
import trustme
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from streams.control import ControlClient
from tests.servers import ROOT, binary, free_port
from tests.system.stack import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

TIMEOUT_S = 20.0
CLIENTS = Path(__file__).with_name("clients")
KINDS = pytest.mark.parametrize("kind", ["tcp", "tls", "ws", "wss"])
VERSIONS = pytest.mark.parametrize("version", [4, 5])


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a hub listens in each way, and the authority of its certificate."""

    ports: dict[str, int]
    ca: Path

    def url(self, kind: str, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self.ports[kind]}" + ("/mqtt" if kind in ("ws", "wss") else "")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Two hubs: one has its WebSocket with TLS."""
    directory = tmp_path_factory.mktemp("hub")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
        str(directory / "hub.pem")
    )
    ports = {kind: free_port() for kind in ("tcp", "tls", "ws", "wss", "tcp2")}
    processes = []
    for number, (plain, web, secure) in enumerate((("tcp", "ws", "false"), ("tcp2", "wss", "true"))):
        data = directory / str(number)
        data.mkdir()
        command = [sys.executable, "-m", "penstock", "hub", "run", "--data", str(data),
                   "--mqtt-port", str(ports[plain]),
                   "--mqtt-tls-certificate", str(directory / "hub.pem"), "--mqtt-websocket-port", str(ports[web]),
                   "--mqtt-websocket-tls", secure]  # fmt: skip
        if number == 0:
            command += ["--mqtt-tls-port", str(ports["tls"])]
        with (directory / f"{number}.out").open("wb") as out:
            processes.append(subprocess.Popen(command, stdout=out, stderr=out))
    try:
        for number in range(2):
            control = ControlClient(directory / str(number) / "run" / "hub.sock", what="the hub")
            wait_for("the hub", lambda control=control: control.get("/health"), timeout_s=30)
        yield Hub(ports, directory / "ca.pem")
    finally:
        for process in processes:
            process.terminate()
            process.wait(20)


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout


@VERSIONS
@KINDS
def test_mqtt_js(hub: Hub, kind: str, version: int) -> None:
    scheme = {"tcp": "mqtt", "tls": "mqtts", "ws": "ws", "wss": "wss"}[kind]
    out = run(
        binary("node"), CLIENTS / "client.mjs", hub.url(kind, scheme), str(version),
        str(hub.ca) if kind in ("tls", "wss") else "", PENSTOCK_SERVERS=str(ROOT / ".servers"),
    )  # fmt: skip
    assert out == "ok\n"


@VERSIONS
@KINDS
def test_paho_in_go(hub: Hub, kind: str, version: int) -> None:
    scheme = {"tcp": "mqtt", "tls": "ssl", "ws": "ws", "wss": "wss"}[kind]
    ca = str(hub.ca) if kind in ("tls", "wss") else ""
    assert run(binary("paho-go"), hub.url(kind, scheme), str(version), ca) == "ok\n"


@VERSIONS
@KINDS
def test_paho_in_python(hub: Hub, kind: str, version: int) -> None:
    heard: list[tuple[bytes, int]] = []
    ready, done = threading.Event(), threading.Event()
    client: Any = paho.Client(
        CallbackAPIVersion.VERSION2,
        transport="websockets" if kind in ("ws", "wss") else "tcp",
        protocol=MQTTProtocolVersion(version),
    )
    if kind in ("tls", "wss"):
        client.tls_set(ca_certs=str(hub.ca))
    client.on_connect = lambda *_: client.subscribe("interop/paho", 2)
    client.on_subscribe = lambda *_: ready.set()

    def on_message(_: Any, __: Any, message: Any) -> None:
        heard.append((message.payload, message.qos))
        if len(heard) == 3:
            done.set()

    client.on_message = on_message
    client.connect("127.0.0.1", hub.ports[kind])
    client.loop_start()
    try:
        assert ready.wait(TIMEOUT_S)
        for qos in (0, 1, 2):
            client.publish("interop/paho", b"%d" % qos, qos).wait_for_publish(TIMEOUT_S)
        assert done.wait(TIMEOUT_S)
    finally:
        client.disconnect()
        client.loop_stop()
    assert sorted(heard) == [(b"0", 0), (b"1", 1), (b"2", 2)]


@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
@KINDS
async def test_aiomqtt(hub: Hub, kind: str, version: aiomqtt.ProtocolVersion) -> None:
    context = ssl.create_default_context(cafile=str(hub.ca)) if kind in ("tls", "wss") else None
    async with aiomqtt.Client(
        "127.0.0.1", hub.ports[kind], protocol=version, tls_context=context,
        transport="websockets" if kind in ("ws", "wss") else "tcp", websocket_path="/mqtt" if "ws" in kind else None,
    ) as client:  # fmt: skip
        await client.subscribe("interop/aiomqtt", qos=2)
        for qos in (0, 1, 2):
            await client.publish("interop/aiomqtt", b"%d" % qos, qos=qos)
        heard = []
        async with asyncio.timeout(TIMEOUT_S):
            async for message in client.messages:
                heard.append((message.payload, message.qos))
                if len(heard) == 3:
                    break
    assert sorted(heard) == [(b"0", 0), (b"1", 1), (b"2", 2)]


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_mosquitto_pub_and_sub(hub: Hub, kind: str, version: str) -> None:
    common = ["-h", "127.0.0.1", "-p", str(hub.ports[kind]), "-V", version, "-t", f"interop/{kind}/{version}"]
    common += ["--cafile", str(hub.ca)] if kind == "tls" else []
    run(binary("mosquitto_pub"), *common, "-q", "2", "-m", "hello", "-r")
    assert run(binary("mosquitto_sub"), *common, "-q", "2", "-C", "1", "-W", "20") == "hello\n"
    listener = subprocess.Popen(
        [str(binary("mosquitto_sub")), *common, "-q", "1", "-C", "3", "-R", "-W", "20", "-F", "%p %q"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_for("three messages", lambda: _publish_until_heard(common, listener), timeout_s=20)
        assert listener.stdout is not None
        lines = set(listener.stdout.read().split("\n")) - {""}
        assert lines <= {"0 0", "1 1", "2 1"} and lines
    finally:
        listener.kill()
        listener.wait()


def _publish_until_heard(common: list[str], listener: subprocess.Popen[str]) -> bool:
    """The subscriber does not say when it is ready."""
    for qos in ("0", "1", "2"):
        run(binary("mosquitto_pub"), *common, "-q", qos, "-m", qos)
    return listener.poll() is not None
