"""The MQTT sensor at real brokers: our own gateway here, mosquitto in the system tests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.inspection import check
from edge.sensors.contract import SensorContract
from edge.sensors.mqtt import MqttSensor
from edge.sensors.sensor import AnySensor, SensorFailedError
from streams.errors import MisuseError
from tests.edge.opened import make, running, wait_for
from tests.edge.samples import sample
from tests.edge.test_with_hub import running_hub
from tests.servers import free_port, mosquitto

ROOM = [{"name": "room.t", "topic": "room/t"}]


@contextlib.contextmanager
def hub(data: Path, port: int = 0) -> Iterator[int]:
    """Our own gateway, in a thread."""
    ports: list[int] = []
    started = threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        async with running_hub(data, port) as chosen:
            ends.append((asyncio.get_running_loop(), stop))
            ports.append(chosen)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield ports[0]
    finally:
        loop, stop = ends[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


@pytest.fixture(params=["hub", pytest.param("mosquitto", marks=pytest.mark.system)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    if request.param == "hub":
        with hub(tmp_path / "hub") as port:
            yield port
    else:
        with mosquitto() as server:
            yield server.port


class Gadget:
    """Something else that publishes there."""

    def __init__(self, port: int) -> None:
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "gadget")
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def say(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(20)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def gadget(broker: int) -> Iterator[Gadget]:
    gadget = Gadget(broker)
    yield gadget
    gadget.close()


def at(port: int, *series: dict[str, Any], **options: Any) -> AnySensor:
    return make("mqtt", **{"port": port, "client_id": "agent", "series": list(series) or ROOM, **options})


class TestContract(SensorContract):
    constructor = MqttSensor

    @pytest.fixture(autouse=True)
    def _at(self, broker: int, gadget: Gadget) -> None:
        self.port, self.gadget = broker, gadget

    def options(self) -> Mapping[str, Any]:
        return {"port": self.port, "client_id": "agent", "series": ROOM}

    def provoke(self) -> None:
        self.gadget.say("room/t", "21.5")


def test_values_json_and_pairs_each_from_its_topic(broker: int, gadget: Gadget) -> None:
    series = [
        *ROOM,
        {"name": "power", "topic": "plug/SENSOR", "format": "json", "field": "ENERGY.Power"},
        {"name": "total", "topic": "plug/SENSOR", "format": "json", "field": "ENERGY.Total"},
        {"name": "door", "topic": "door", "type": "bool"},
    ]
    with running(at(broker, *series)) as heard:
        subscribed(gadget, heard)
        gadget.say("plug/SENSOR", '{"ENERGY": {"Power": 42, "Total": 1.5}}')
        gadget.say("door", "ON")
        gadget.say("room/t", "warm")
        gadget.say("elsewhere", "1")
        gadget.say("room/t", b"\xff\xfe")
        gadget.say("room/t", "22")
        said = heard.until(lambda said: ("room.t", 22.0) in said)
        assert [each for each in said if each[0] != "room.t"] == [("power", 42.0), ("total", 1.5), ("door", True)]


def test_retained_messages_are_old_and_left_out_unless_asked_for(broker: int, gadget: Gadget) -> None:
    gadget.say("room/t", "1", retain=True)
    with running(at(broker)) as heard:
        subscribed(gadget, heard)
        assert ("room.t", 1.0) not in heard.all()
    with running(at(broker, retained=True, client_id="other")) as heard:
        heard.until(lambda said: ("room.t", 1.0) in said)


def test_what_comes_while_the_agent_is_away_is_kept_by_the_broker(broker: int, gadget: Gadget) -> None:
    sensor = at(broker)
    with running(sensor) as heard:
        subscribed(gadget, heard)
    for value in range(5):
        gadget.say("room/t", str(value))
    with running(sensor) as heard:
        assert heard.values(5) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_flood_is_bounded_and_what_gives_way_is_counted(broker: int, gadget: Gadget) -> None:
    with running(at(broker), ticks_max=10) as heard:
        subscribed(gadget, heard)
        for value in range(200):
            gadget.say("room/t", str(value))
        wait_for(lambda: heard.inlet._dropped == 190)
        assert [value for _, value in heard.all()[-10:]] == [float(value) for value in range(190, 200)]


def test_a_broker_that_is_not_there_is_a_failure_that_names_it() -> None:
    port = free_port()
    with running(at(port)) as heard:
        wait_for(lambda: heard.failure is not None)
        assert isinstance(heard.failure, SensorFailedError)
        assert f"127.0.0.1:{port}: " in str(heard.failure)


def test_a_broker_that_goes_away_is_a_failure_and_its_return_is_not(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(hub(tmp_path / "hub"))
        gadget = Gadget(port)
        with running(at(port)) as heard:
            subscribed(gadget, heard)
            gadget.close()
            stack.close()
            wait_for(lambda: heard.failure is not None)
    with hub(tmp_path / "hub", port):
        gadget = Gadget(port)
        with running(at(port)) as heard:
            subscribed(gadget, heard)
        gadget.close()


@pytest.mark.parametrize(
    ("series", "said"),
    [
        ([{"name": "a", "topic": "room/+"}], "must be one topic, without"),
        ([{"name": "a", "topic": "t", "format": "pattern"}], "needs a pattern"),
        ([{"name": "a", "topic": "t", "format": "xml"}], "must be one of value, json"),
        ([], "there is no series"),
    ],
)
def test_options_that_cannot_be_are_misuse(series: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        make("mqtt", series=series)


def test_the_sample_is_in_order(broker: int, tmp_path: Path) -> None:
    settings = sample("mqtt", tmp_path, ("port = 1883", f"port = {broker}"))
    assert check(settings) == []


def subscribed(gadget: Gadget, heard: Any) -> None:
    """Wait until the sensor hears; what it hears of that is taken away."""

    def hears() -> bool:
        gadget.say("room/t", "-1")
        return bool(heard.all())

    wait_for(hears)
    gadget.say("room/t", "-2")
    heard.until(lambda said: ("room.t", -2.0) in said)
    heard._all.clear()
