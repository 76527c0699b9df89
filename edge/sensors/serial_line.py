"""Lines from a serial port (scales, meters, microcontrollers), by pyserial; also over TCP, by a `socket://` URL."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from edge.inlet import Inlet
from edge.sensors.library import library
from edge.sensors.lines import LineSplitter, TextOptions, TextReader
from edge.sensors.sensor import SensorContext, SensorFailedError, Series
from streams.errors import JunkError
from streams.settings import setting

_LOOK_S = 0.25


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SerialOptions(TextOptions):
    """Which port, and how to read its lines."""

    port: str = setting(doc="/dev/serial/by-id/... (stays the same), /dev/ttyUSB0, or socket://HOST:PORT.")
    baud_rate: int = setting(9600, "Bits a second.", minimum=50, maximum=4_000_000)
    data_bits: int = setting(8, "Bits of a character.", minimum=5, maximum=8)
    parity: str = setting("none", "The check bit.", choices=("none", "even", "odd", "mark", "space"))
    stop_bits: int = setting(1, "Bits after a character.", minimum=1, maximum=2)
    line_end: str = setting("\n", "What ends a line; a carriage return before it is left out.")
    ask: str = setting("", "Text to send at each interval, to a device that speaks when it is asked.")
    silence_s_max: float = setting(0.0, "A series without a value for so long is BAD; 0: never.", minimum=0)

    def __post_init__(self) -> None:
        TextOptions.__post_init__(self)
        if not self.line_end:
            raise ValueError("line_end is empty: name what ends a line")


class SerialSensor:
    """Listens to the port; one that is pulled out is opened again when it is back."""

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(SerialOptions)
        self._reader = TextReader(self._options)
        self.name = context.name
        self.silence_s_max = self._options.silence_s_max
        self._interval_s = context.interval_s

    def open(self) -> Sequence[Series]:
        library("serial", extra="sensors-serial")
        return [each.declare(None) for each in self._options.series]

    def run(self, inlet: Inlet) -> None:
        try:
            with self._port() as port:
                self._listen(port, inlet)
        except (OSError, ValueError) as error:  # pyserial's own errors are OSErrors
            raise SensorFailedError(f"{self._options.port}: {error}") from None

    def close(self) -> None:
        pass

    def _port(self) -> Any:
        options = self._options
        serial = library("serial", extra="sensors-serial")
        return serial.serial_for_url(
            options.port,
            baudrate=options.baud_rate,
            bytesize=options.data_bits,
            parity=options.parity[0].upper(),
            stopbits=options.stop_bits,
            timeout=_LOOK_S,
            write_timeout=5.0,
            **({"exclusive": True} if options.port.startswith("/") else {}),
        )

    def _listen(self, port: Any, inlet: Inlet) -> None:
        lines = LineSplitter(self._options.line_end.encode(), skip_first=not self._options.ask)
        ask_at = time.monotonic()
        while not inlet.stopping:
            if self._options.ask and time.monotonic() >= ask_at:
                port.write(self._options.ask.encode())
                ask_at = max(ask_at + self._interval_s, time.monotonic())
            for line in lines.feed(port.read(max(1, port.in_waiting))):
                if line is None:
                    inlet.not_understood("", "a line is too long")
                elif line:
                    self._put(line, inlet)

    def _put(self, line: str, inlet: Inlet) -> None:
        try:
            inlet.put(self._reader.read(line))
        except JunkError as error:
            inlet.not_understood(line, str(error))
