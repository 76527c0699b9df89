"""Modbus against pymodbus's own server: over TCP, and as RTU over two pseudo terminals joined by a wire.

Pseudo terminals take no parity, so these tests use none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import struct
import threading
import tty
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.inspection import check
from edge.sensors.contract import SensorContract
from edge.sensors.modbus import ModbusSensor, ModbusSeriesOptions, blocks
from edge.sensors.modbus_line import _lines
from edge.sensors.sensor import AnySensor, Bad, SensorFailedError, is_sampled
from streams.errors import MisuseError
from tests.edge.opened import make, read
from tests.edge.samples import sample
from tests.servers import free_port

FLOAT = struct.unpack(">HH", struct.pack(">f", 21.5))
HOLDING = {
    **{address: address for address in range(10)},
    10: 0xFFFF,
    **dict(zip((20, 21), FLOAT)),
    **dict(zip((22, 23), reversed(FLOAT))),
    **dict(zip((30, 31, 32, 33), struct.unpack(">4H", struct.pack(">q", -5_000_000_000)))),
    40: 0x8000,
}
T = [{"name": "t", "address": 3}]


def devices(*numbers: int) -> list[SimDevice]:
    def registers(values: Mapping[int, int]) -> list[SimData]:
        return [SimData(at, values=[value], datatype=DataType.REGISTERS) for at, value in sorted(values.items())]

    coils = [SimData(0, values=[True, False, True, False] + [False] * 12, datatype=DataType.BITS)]
    discrete = [SimData(0, values=[False, True] + [False] * 14, datatype=DataType.BITS)]
    return [
        SimDevice(number, simdata=(coils, discrete, registers(HOLDING), registers({5: 1234}))) for number in numbers
    ]


@contextlib.contextmanager
def serving(make_server: Any) -> Iterator[None]:
    """A server in a thread, with an event loop of its own."""
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        server = make_server()
        await server.serve_forever(background=True)
        loops.append(asyncio.get_running_loop())
        started.set()
        await stop.wait()
        await server.shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()


@contextlib.contextmanager
def tcp_server(*numbers: int, port: int = 0, framer: FramerType = FramerType.SOCKET) -> Iterator[int]:
    port = port or free_port()
    address = ("127.0.0.1", port)
    with serving(lambda: ModbusTcpServer(devices(*numbers or (1,)), address=address, framer=framer)):
        yield port


@contextlib.contextmanager
def wire() -> Iterator[tuple[str, str]]:
    """Two serial ports with a cable between them."""
    ends = [pty.openpty() for _ in range(2)]
    for _, port in ends:
        tty.setraw(port)
    (left, left_port), (right, right_port) = ends
    stop, stopped = os.pipe()

    def carry() -> None:
        while True:
            ready, _, _ = select.select([left, right, stop], [], [])
            if stop in ready:
                return
            for here, there in ((left, right), (right, left)):
                if here in ready:
                    os.write(there, os.read(here, 4096))

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield os.ttyname(left_port), os.ttyname(right_port)
    finally:
        os.write(stopped, b"x")
        thread.join(20)
        for end in (left, left_port, right, right_port, stop, stopped):
            os.close(end)


@pytest.fixture(autouse=True)
def no_line_is_left() -> Iterator[None]:
    yield
    assert not _lines, "a sensor that is closed lets go of its line"


@pytest.fixture
def port() -> Iterator[int]:
    with tcp_server() as number:
        yield number


class TestContract(SensorContract):
    constructor = ModbusSensor

    @pytest.fixture(autouse=True)
    def server(self, port: int) -> None:
        self.port = port

    def options(self) -> Mapping[str, Any]:
        return {"host": "127.0.0.1", "tcp_port": self.port, "series": T}


def tcp(port: int, *series: dict[str, Any], timeout_s: float = 5.0, **options: Any) -> AnySensor:
    return make("modbus", timeout_s=timeout_s, host="127.0.0.1", tcp_port=port, series=list(series), **options)


def test_every_form_and_table(port: int) -> None:
    series = [
        {"name": "scaled", "address": 3, "scale": 0.1},
        {"name": "signed", "address": 10, "form": "int16", "type": "int64"},
        {"name": "float", "address": 20, "form": "float32"},
        {"name": "swapped", "address": 22, "form": "float32", "order": "CDAB"},
        {"name": "long", "address": 30, "form": "int64", "type": "int64"},
        {"name": "bit", "address": 5, "bit": 2, "type": "bool"},
        {"name": "none", "address": 40, "absent": 0x8000},
        {"name": "input", "table": "input", "address": 5},
        {"name": "coil", "table": "coil", "address": 2, "type": "bool"},
        {"name": "discrete", "table": "discrete", "address": 1, "type": "bool"},
    ]
    assert read(tcp(port, *series)) == [
        0.3, -1, 21.5, 21.5, -5_000_000_000, True, Bad("the device says that it has none"), 1234.0, True, True,
    ]  # fmt: skip


def test_what_the_device_does_not_have_is_bad_and_the_rest_is_not(port: int) -> None:
    sensor = tcp(port, {"name": "a", "address": 9}, {"name": "b", "address": 12}, {"name": "c", "address": 20})
    missing = Bad("the device answers: illegal data address (2)")
    assert read(sensor) == [9.0, missing, float(FLOAT[0])]


def test_a_gap_that_the_device_refuses_is_asked_around_from_then_on(port: int) -> None:
    sensor = tcp(port, {"name": "a", "address": 10}, {"name": "b", "address": 20}, gap_max=20)
    assert is_sampled(sensor)
    sensor.open()
    assert sensor.read(0) == [65535.0, float(FLOAT[0])]
    assert len(sensor._blocks) == 2  # type: ignore[attr-defined]
    assert sensor.read(1) == [65535.0, float(FLOAT[0])]
    sensor.close()


def test_a_device_that_comes_back_is_read_again() -> None:
    port = free_port()
    sensor = tcp(port, *T)
    assert is_sampled(sensor)
    sensor.open()
    with pytest.raises(SensorFailedError, match=f"127.0.0.1:{port} cannot be opened"):
        sensor.read(0)
    for _ in range(2):
        with tcp_server(port=port):
            assert sensor.read(0) == [3.0]
        with pytest.raises(SensorFailedError):
            sensor.read(0)
    sensor.close()


def test_two_devices_behind_one_gateway_share_its_connection() -> None:
    with tcp_server(1, 2) as port:
        sensors = [tcp(port, *T, device_id=number) for number in (1, 2)]
        for sensor in sensors:
            sensor.open()
        assert [each.users for each in _lines.values()] == [2]
        for sensor in sensors:
            assert is_sampled(sensor)
            assert sensor.read(0) == [3.0]
            sensor.close()


def test_rtu_over_a_serial_wire() -> None:
    with wire() as (ours, theirs):
        server = lambda: ModbusSerialServer(devices(1, 7), port=theirs, framer=FramerType.RTU, baudrate=19200)  # noqa: E731
        with serving(server):
            series = [*T, {"name": "f", "address": 20, "form": "float32"}]
            assert read(make("modbus", port=ours, parity="none", device_id=7, series=series)) == [3.0, 21.5]


def test_a_device_that_is_silent_on_the_wire_is_a_failure_within_the_limit() -> None:
    with wire() as (ours, _), pytest.raises(SensorFailedError, match=f"{ours}: device 1: .*[Nn]o response"):
        read(make("modbus", timeout_s=0.5, port=ours, parity="none", series=T))


def test_rtu_by_way_of_a_serial_server() -> None:
    with tcp_server(framer=FramerType.RTU) as port:
        assert read(tcp(port, *T, rtu_over_tcp=True)) == [3.0]


@given(st.sampled_from(["uint16", "int16", "uint32", "int32", "uint64", "int64"]), st.data())
def test_every_number_of_every_form_in_every_order_is_what_it_was(form: str, data: st.DataObject) -> None:
    bits = int(form.strip("uint"))
    low, high = (0, 2**bits - 1) if form.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    number = data.draw(st.integers(low, min(high, 2**63 - 1)))
    order = data.draw(st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]))
    sent = number.to_bytes(bits // 8, "big", signed=form.startswith("i"))
    words = [sent[at : at + 2] for at in range(0, len(sent), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    registers = [int.from_bytes(word, "big") for word in words]
    series = ModbusSeriesOptions(name="a", address=0, form=form, order=order, type="int64")
    assert series.given(registers) == number


@given(
    st.lists(
        st.tuples(st.integers(0, 65531), st.sampled_from(["uint16", "uint32", "float64"])), min_size=1, max_size=40
    ),
    st.integers(0, 124),
)
def test_requests_cover_every_series_once_and_are_never_too_long(wanted: list[tuple[int, str]], gap_max: int) -> None:
    series = [ModbusSeriesOptions(name=f"s{n}", address=at, form=form) for n, (at, form) in enumerate(wanted)]
    made = list(blocks(series, gap_max))
    assert sorted(each.name for block in made for each in block) == sorted(each.name for each in series)
    for block in made:
        assert max(each.address + each.count for each in block) - block[0].address <= 125


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"series": T}, "name either host"),
        ({"host": "a", "port": "b", "series": T}, "name either host"),
        ({"host": "a", "series": [{"name": "t", "address": 70000}]}, "address must be from 0 to 65535"),
        ({"host": "a", "series": [{"name": "t", "address": 1, "table": "coil"}]}, 'its type must be "bool"'),
        ({"host": "a", "series": [{"name": "t", "address": 1, "type": "bool", "bit": 16}]}, "bit of t must be from 0"),
        ({"host": "a", "series": [{"name": "t", "address": 65535, "form": "uint32"}]}, "ends behind the last address"),
    ],
)
def test_options_that_cannot_be_are_misuse(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        make("modbus", **options)


def test_the_sample_is_in_order(port: int, tmp_path: Path) -> None:
    changes = (('"192.168.1.20"', f'"127.0.0.1"\ntcp_port = {port}'),)
    assert check(sample("modbus", tmp_path, *changes)) == []
