"""The OPC UA sensor against asyncua's own server."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import threading
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server, ua
from hypothesis import given
from hypothesis import strategies as st

from edge.inspection import check
from edge.sensors.contract import SensorContract
from edge.sensors.opcua import OpcuaSensor, nanoseconds
from edge.sensors.sensor import AnySensor, Bad, SensorFailedError
from streams.errors import MisuseError
from tests.edge.opened import make, running, wait_for
from tests.edge.samples import sample
from tests.servers import free_port


class Plant:
    """A server with a temperature and a state, in a thread with an event loop of its own."""

    def __init__(self, port: int) -> None:
        self.url = f"opc.tcp://127.0.0.1:{port}/plant"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._nodes: dict[str, Any] = {}
        self._server: Any = None

    def start(self) -> None:
        self._thread.start()
        self._do(self._start())

    def stop(self) -> None:
        self._do(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def say(self, name: str, value: Any, *, status: int = 0, time: datetime.datetime | None = None) -> None:
        kind = ua.VariantType.Double if isinstance(value, float) else None
        data = ua.DataValue(ua.Variant(value, kind), ua.StatusCode(ua.UInt32(status)), SourceTimestamp=time)
        self._do(self._nodes[name].write_value(data))

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        self._server = Server()
        await self._server.init()
        self._server.set_endpoint(self.url)
        space = await self._server.register_namespace("urn:plant")
        assert space == 2
        for name, value in (("Oven.Temperature", 20.0), ("Oven.State", "idle")):
            node = ua.NodeId(name, space)
            self._nodes[name] = await self._server.nodes.objects.add_variable(node, name, value)
        await self._server.start()


@contextlib.contextmanager
def plant(port: int = 0) -> Iterator[Plant]:
    server = Plant(port or free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server() -> Iterator[Plant]:
    with plant() as running_plant:
        yield running_plant


TEMPERATURE = {"name": "oven.t", "node": "ns=2;s=Oven.Temperature"}
STATE = {"name": "oven.state", "node": "ns=2;s=Oven.State", "type": "text"}


def at(url: str, *series: dict[str, str], **options: Any) -> AnySensor:
    return make("opcua", interval_s=0.05, url=url, series=list(series) or [TEMPERATURE], **options)


class TestContract(SensorContract):
    constructor = OpcuaSensor

    @pytest.fixture(autouse=True)
    def _plant(self, server: Plant) -> None:
        self.server = server

    def options(self) -> Mapping[str, Any]:
        return {"url": self.server.url, "series": [TEMPERATURE]}


def test_values_come_at_the_start_and_at_each_change_with_the_time_of_their_source(server: Plant) -> None:
    time = datetime.datetime(2026, 9, 21, 14, 13, 20, 123456, tzinfo=datetime.UTC)
    with running(at(server.url, TEMPERATURE, STATE)) as heard:
        assert sorted(str(value) for value in heard.values(2)) == ["20.0", "idle"]
        server.say("Oven.Temperature", 21.5, time=time)
        heard.until(lambda said: ("oven.t", 21.5) in said)
        assert heard.times_ns[-1] == 1_790_000_000_123_456_000
        server.say("Oven.State", "running")
        heard.until(lambda said: ("oven.state", "running") in said)


def test_what_the_server_calls_bad_is_bad_with_its_reason(server: Plant) -> None:
    with running(at(server.url)) as heard:
        heard.values(1)
        server.say("Oven.Temperature", 0.0, status=ua.StatusCodes.BadSensorFailure)
        assert heard.values(2)[1] == Bad("the server says BadSensorFailure")


def test_a_node_that_is_not_there_is_bad_and_the_others_are_not(server: Plant) -> None:
    with running(at(server.url, {"name": "x", "node": "ns=2;s=No.Such"}, TEMPERATURE)) as heard:
        said = dict(heard.until(lambda said: len(said) == 2))
        assert said == {"x": Bad("the server refuses it: BadNodeIdUnknown"), "oven.t": 20.0}


def test_what_the_servers_own_queue_lost_is_counted(server: Plant) -> None:
    with running(at(server.url)) as heard:
        heard.values(1)
        server.say("Oven.Temperature", 22.0, status=0x480)
        heard.until(lambda said: ("oven.t", 22.0) in said)
        assert heard.inlet.take_dropped() == 1


def test_a_server_that_is_not_there_or_goes_away_is_a_failure_and_its_return_is_not() -> None:
    port = free_port()
    sensor = at(f"opc.tcp://127.0.0.1:{port}/plant")
    with running(sensor) as heard:
        wait_for(lambda: heard.failure is not None)
        assert isinstance(heard.failure, SensorFailedError)
        assert f"opc.tcp://127.0.0.1:{port}/plant: " in str(heard.failure)
    with contextlib.ExitStack() as stack:
        stack.enter_context(plant(port))
        with running(sensor) as heard:
            heard.values(1)
            stack.close()
            wait_for(lambda: heard.failure is not None)
    with plant(port), running(sensor) as heard:
        heard.values(1)


@given(st.datetimes())
def test_times_without_a_zone_are_utc_to_the_microsecond(time: datetime.datetime) -> None:
    since = time.replace(tzinfo=datetime.UTC) - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert nanoseconds(time) == since // datetime.timedelta(microseconds=1) * 1000
    assert nanoseconds(time.replace(tzinfo=datetime.UTC)) == nanoseconds(time)


def test_options_that_cannot_be_are_misuse() -> None:
    with pytest.raises(MisuseError, match="url must be like opc"):
        make("opcua", url="http://x", series=[TEMPERATURE])
    with pytest.raises(MisuseError, match="there is no series"):
        make("opcua", url="opc.tcp://x", series=[])


def test_the_sample_is_in_order(server: Plant, tmp_path: Path) -> None:
    assert check(sample("opcua", tmp_path, ("opc.tcp://192.168.1.40:4840/plant", server.url))) == []
