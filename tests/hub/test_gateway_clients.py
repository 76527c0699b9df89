"""Real clients, paho-mqtt and aiomqtt, against the gateway, in both versions."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.hub.conftest import until
from tests.hub.gateway_world import gateway

VERSIONS = pytest.mark.parametrize("version", [4, 5])
TIMEOUT_S = 10.0


class PahoClient:
    """paho-mqtt with its own thread; what it hears is kept."""

    def __init__(self, port: int, client_id: str, version: int, *, clean: bool = True, will: Any = None) -> None:
        more = {"clean_session": clean} if version == 4 else {}
        self.mqtt: Any = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion(version), **more
        )
        self.heard: list[tuple[str, bytes, int, bool]] = []
        self._news = threading.Condition()
        self.connected, self.subscribed, self.left = threading.Event(), threading.Event(), threading.Event()
        self.session_present = False
        self.reason: Any = None
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_subscribe = lambda *_: self.subscribed.set()
        self.mqtt.on_disconnect = self._on_disconnect
        self.mqtt.on_message = self._on_message
        self.mqtt.on_socket_open = lambda _, __, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if will is not None:
            self.mqtt.will_set(*will)
        if version == 5:
            properties: Any = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if clean else 60
            self.mqtt.connect("127.0.0.1", port, clean_start=clean, properties=properties)
        else:
            self.mqtt.connect("127.0.0.1", port)
        self.mqtt.loop_start()
        assert self.connected.wait(TIMEOUT_S)

    def subscribe(self, topic_filter: str, qos: int) -> None:
        self.subscribed.clear()
        self.mqtt.subscribe(topic_filter, qos)
        assert self.subscribed.wait(TIMEOUT_S)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        self.mqtt.publish(topic, payload, qos, retain).wait_for_publish(TIMEOUT_S)

    def wait_for(self, count: int) -> list[tuple[str, bytes, int, bool]]:
        """The messages it heard, once there are `count`."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.heard) >= count, TIMEOUT_S)
        return self.heard

    def close(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def drop(self) -> None:
        """Break the connection without a goodbye."""
        self.mqtt.loop_stop()
        self.mqtt._sock_close()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        with self._news:
            self.heard.append((message.topic, message.payload, message.qos, bool(message.retain)))
            self._news.notify()

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.session_present = flags.session_present
        self.reason = reason
        self.connected.set()

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.reason = reason
        self.left.set()


@contextlib.contextmanager
def paho_client(port: int, client_id: str, version: int, **more: Any) -> Iterator[PahoClient]:
    client = PahoClient(port, client_id, version, **more)
    try:
        yield client
    finally:
        client.close()


@VERSIONS
async def test_paho_publishes_to_the_pipeline_with_every_qos(version: int) -> None:
    async with gateway() as world:

        def work() -> None:
            with paho_client(world.port, "dev", version) as client:
                for qos in (0, 1, 2):
                    for n in range(50):
                        client.publish("penstock/v1/dev/frames", b"%d/%d" % (qos, n), qos)
                client.publish("penstock/v1/dev/frames", bytes(500_000), 1)

        await asyncio.to_thread(work)
        expected = [b"%d/%d" % (qos, n) for qos in (0, 1, 2) for n in range(50)]
        assert world.intake.payloads == [*expected, bytes(500_000)]
        await until(lambda: world.intake.history[-1] == "disconnected dev: the client said goodbye")


@VERSIONS
async def test_paho_hears_what_paho_says(version: int) -> None:
    async with gateway() as world:

        def work() -> list[tuple[str, bytes, int, bool]]:
            with paho_client(world.port, "a", version) as reader, paho_client(world.port, "b", 9 - version) as writer:
                writer.publish("x/kept", b"kept", 1, retain=True)
                reader.subscribe("x/#", 2)
                for n in range(300):
                    writer.publish("x/y", b"%d" % n, n % 3)
                return reader.wait_for(301)

        heard = await asyncio.to_thread(work)
        assert heard[0] == ("x/kept", b"kept", 1, True)
        for qos in (0, 1, 2):  # paho hands out a message of QoS 2 at its PUBREL, when others have overtaken it
            expected = [("x/y", b"%d" % n, qos, False) for n in range(300) if n % 3 == qos]
            assert [each for each in heard[1:] if each[2] == qos] == expected


@VERSIONS
async def test_paho_finds_its_messages_when_it_returns(version: int) -> None:
    async with gateway() as world:

        def come_and_go() -> None:
            with paho_client(world.port, "a", version, clean=False) as reader:
                reader.subscribe("x", 1)

        def come_again() -> list[bytes]:
            with paho_client(world.port, "a", version, clean=False) as reader:
                assert reader.session_present
                return [payload for _, payload, _, _ in reader.wait_for(200)]

        await asyncio.to_thread(come_and_go)
        await until(lambda: not world.gateway.connected_clients())
        for n in range(200):
            assert world.gateway.publish("x", b"%d" % n) == 1
        assert await asyncio.to_thread(come_again) == [b"%d" % n for n in range(200)]


@VERSIONS
async def test_paho_leaves_its_will_when_its_connection_breaks(version: int) -> None:
    async with gateway() as world:

        def work() -> None:
            PahoClient(world.port, "dev", version, will=("penstock/v1/dev/state", b"gone", 1)).drop()

        await asyncio.to_thread(work)
        await until(lambda: world.intake.payloads == [b"gone"])


@VERSIONS
async def test_paho_is_replaced_by_a_newer_paho_of_the_same_name(version: int) -> None:
    async with gateway() as world:

        def work() -> str:
            with paho_client(world.port, "dev", version) as older:
                older.mqtt.reconnect_delay_set(60, 60)
                with paho_client(world.port, "dev", version):
                    assert older.left.wait(TIMEOUT_S)
                return str(older.reason)

        reason = await asyncio.to_thread(work)
        assert version == 4 or reason == "Session taken over"
        assert world.counters["takeovers"] == 1


@VERSIONS
async def test_a_command_goes_to_the_device_and_its_acknowledgement_comes_back(version: int) -> None:
    async with gateway() as world:
        told: list[bool] = []
        client = await asyncio.to_thread(PahoClient, world.port, "dev", version)
        await asyncio.to_thread(client.subscribe, "penstock/v1/dev/commands", 1)
        for n in range(100):
            assert world.gateway.publish_to("dev", "penstock/v1/dev/commands", b"%d" % n, on_delivered=told.append)
        await until(lambda: len(told) == 100)
        assert all(told)
        assert [payload for _, payload, _, _ in client.heard] == [b"%d" % n for n in range(100)]
        await asyncio.to_thread(client.close)


@pytest.mark.parametrize("version", [aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5])
async def test_aiomqtt_goes_round(version: aiomqtt.ProtocolVersion) -> None:
    async with (
        gateway() as world,
        aiomqtt.Client("127.0.0.1", world.port, identifier="a", protocol=version) as reader,
        aiomqtt.Client("127.0.0.1", world.port, identifier="dev", protocol=version) as writer,
    ):
        await reader.subscribe("x/+", qos=2)
        for n in range(30):
            await writer.publish("x/y", b"%d" % n, qos=n % 3)
            await writer.publish("penstock/v1/dev/frames", b"%d" % n, qos=n % 3)
        heard: list[bytes] = []
        async with asyncio.timeout(TIMEOUT_S):
            async for message in reader.messages:
                assert isinstance(message.payload, bytes)
                heard.append(message.payload)
                if len(heard) == 30:
                    break
        assert heard == [b"%d" % n for n in range(30)]
        await until(lambda: world.intake.payloads == heard)


async def test_paho_with_a_wrong_password_is_told_so() -> None:
    async with gateway(users=("ann:secret",)) as world:

        def work() -> list[str]:
            reasons = []
            for password in ("wrong", "secret"):
                mqtt: Any = paho.Client(CallbackAPIVersion.VERSION2, "dev", protocol=MQTTProtocolVersion.MQTTv5)
                done = threading.Event()
                mqtt.on_connect = lambda _, __, ___, reason, ____, d=done: (reasons.append(str(reason)), d.set())
                mqtt.username_pw_set("ann", password)
                mqtt.connect("127.0.0.1", world.port)
                mqtt.loop_start()
                assert done.wait(TIMEOUT_S)
                mqtt.disconnect()
                mqtt.loop_stop()
            return reasons

        assert await asyncio.to_thread(work) == ["Not authorized", "Success"]
