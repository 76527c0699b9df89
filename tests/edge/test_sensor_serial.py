"""The serial sensor on one end of a real pseudo terminal, the device in the test's hands on the other."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import tty
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.inspection import check
from edge.sensors.contract import SensorContract
from edge.sensors.sensor import SensorFailedError
from edge.sensors.serial_line import SerialSensor
from streams.errors import MisuseError
from tests.edge.opened import Heard, make, running, wait_for
from tests.edge.samples import sample

WEIGHT = [{"name": "weight", "unit": "kg"}]
PATTERN = r"(?P<weight>-?[\d.]+) kg"


class Line:
    """A pseudo terminal: `port` for the sensor, `say` and `hear` for the device."""

    def __init__(self) -> None:
        self.device, self.end = pty.openpty()
        tty.setraw(self.end)
        self.port = os.ttyname(self.end)
        os.set_blocking(self.device, False)
        self._heard = b""

    def say(self, data: bytes) -> None:
        os.write(self.device, data)

    def hear(self) -> bytes:
        with contextlib.suppress(OSError):
            self._heard += os.read(self.device, 4096)
        return self._heard

    def settle(self, heard: Heard, line: bytes) -> None:
        """Say `line` until it is heard: what was said before the port was opened is not."""

        def is_heard() -> bool:
            if not heard.all():
                self.say(b"\n" + line + b"\n")
            return bool(heard.all())

        wait_for(is_heard)

    def unplug(self) -> None:
        for end in (self.device, self.end):
            os.close(end)
        self.device = self.end = -1


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    if line.device >= 0:
        line.unplug()


class TestContract(SensorContract):
    constructor = SerialSensor

    @pytest.fixture(autouse=True)
    def _line(self, line: Line) -> None:
        self.line = line

    def options(self) -> Mapping[str, Any]:
        return {"port": self.line.port, "format": "pattern", "pattern": PATTERN, "series": WEIGHT}

    def provoke(self) -> None:
        self.line.say(b"12.5 kg\r\n")


def test_json_lines(line: Line) -> None:
    with running(make("serial", port=line.port, series=[{"name": "t"}, {"name": "h"}])) as heard:
        line.settle(heard, b'{"t": -1}')
        line.say(b'{"t": 2, "h": 40}\nboot ok\n{"t"')
        line.say(b": 3}\n")
        said = heard.until(lambda said: ("t", 3.0) in said)
        assert [each for each in said if each != ("t", -1.0)] == [("t", 2.0), ("h", 40.0), ("t", 3.0)]
        assert heard.inlet.not_understood_count == 1


def test_by_way_of_a_serial_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = f"socket://127.0.0.1:{server.getsockname()[1]}"
        with running(make("serial", port=port, format="pattern", pattern=PATTERN, series=WEIGHT)) as heard:
            device, _ = server.accept()
            with device:

                def is_heard() -> bool:
                    device.sendall(b"12.6 kg\r\n")
                    return bool(heard.all())

                wait_for(is_heard)
                assert heard.values(1) == [12.6]


def test_a_device_that_speaks_when_asked(line: Line) -> None:
    sensor = make(
        "serial", interval_s=0.05, port=line.port, ask="P\r\n", format="pattern", pattern=PATTERN, series=WEIGHT
    )
    with running(sensor) as heard:
        wait_for(lambda: line.hear().count(b"P\r\n") >= 2)
        line.say(b"1.5 kg\r\n")
        assert heard.values(1) == [1.5], "nothing was cut: it speaks when it is asked"


def test_a_port_that_is_not_there_or_is_pulled_out_is_a_failure_that_names_it(line: Line) -> None:
    with running(make("serial", port="/dev/no-such-port", series=WEIGHT)) as heard:
        wait_for(lambda: heard.failure is not None)
        assert "/dev/no-such-port" in str(heard.failure)
    with running(make("serial", port=line.port, format="value", series=WEIGHT)) as heard:
        line.settle(heard, b"1")
        line.unplug()
        wait_for(lambda: heard.failure is not None)
        assert isinstance(heard.failure, SensorFailedError)


def test_bad_options_are_misuse() -> None:
    with pytest.raises(MisuseError, match="line_end is empty"):
        make("serial", port="/dev/x", line_end="", series=WEIGHT)
    with pytest.raises(MisuseError, match="parity must be one of none, even"):
        make("serial", port="/dev/x", parity="N", series=WEIGHT)


def test_the_sample_is_in_order(line: Line, tmp_path: Path) -> None:
    port = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"
    settings = sample("serial", tmp_path, (port, line.port))
    assert check(settings) == []
