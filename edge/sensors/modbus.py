"""Modbus RTU (a serial bus) and TCP, by pymodbus: registers and coils as series.

Source: MODBUS Application Protocol 1.1b3. Neighbours are read together; where a device refuses that, one by one.
"""

from __future__ import annotations

import dataclasses
import struct
import time
from collections.abc import Iterable, Sequence
from typing import Any

from edge.sensors.declared import SeriesOptions, unique
from edge.sensors.library import library
from edge.sensors.modbus_line import BIT_TABLES, ILLEGAL_ADDRESS, Line, RefusedError, release, take
from edge.sensors.sensor import Bad, Given, SensorContext, Series
from streams.settings import setting

_FORMS = {"uint16": "H", "int16": "h", "uint32": "I", "int32": "i", "uint64": "Q", "int64": "q",
          "float32": "f", "float64": "d"}  # fmt: skip
_REGISTERS_MAX, _BITS_MAX = 125, 2000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModbusSeriesOptions(SeriesOptions):
    """One register, or several together, or one bit."""

    table: str = setting("holding", "Where it is.", choices=("holding", "input", "coil", "discrete"))
    address: int = setting(doc="Counted from 0; 40001 of a manual is holding 0.", minimum=0, maximum=65535)
    form: str = setting("uint16", "What the registers hold.", choices=tuple(_FORMS))
    order: str = setting("ABCD", "Order of the bytes; CDAB: low word first.", choices=("ABCD", "CDAB", "BADC", "DCBA"))
    bit: int | None = setting(None, "Take this bit of the register (0 is the lowest); the type is bool.")
    absent: int | None = setting(None, "The raw value by which the device says that it has none, such as 0x8000.")

    def __post_init__(self) -> None:
        SeriesOptions.__post_init__(self)
        is_bit = self.table in BIT_TABLES or self.bit is not None
        if is_bit and self.type != "bool":
            raise ValueError(f'series {self.name} is one bit: its type must be "bool"')
        if self.bit is not None and (self.form != "uint16" or not 0 <= self.bit < 16):
            raise ValueError(f"bit of {self.name} must be from 0 to 15, of a register in form uint16")
        if self.address + self.count > 65536:
            raise ValueError(f"series {self.name} ends behind the last address, 65535")

    @property
    def count(self) -> int:
        """How many registers or bits it takes."""
        return 1 if self.table in BIT_TABLES else struct.calcsize(">" + _FORMS[self.form]) // 2

    @property
    def step(self) -> float | None:
        """The smallest step of a value, where the form tells."""
        if self.resolution is not None or self.type in ("bool", "text") or self.form.startswith("float"):
            return self.resolution
        return abs(self.scale)

    def given(self, raw: Sequence[int]) -> Given:
        """The value in the registers or the bit."""
        if self.table in BIT_TABLES:
            return self.value(bool(raw[0]))
        number = self._number(raw)
        if number == self.absent:
            return Bad("the device says that it has none")
        return self.value(bool(int(number) >> self.bit & 1) if self.bit is not None else number)

    def _number(self, registers: Sequence[int]) -> float:
        words = [register.to_bytes(2, "little" if self.order in ("BADC", "DCBA") else "big") for register in registers]
        if self.order in ("CDAB", "DCBA"):
            words.reverse()
        number: float = struct.unpack(">" + _FORMS[self.form], b"".join(words))[0]
        return number


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModbusOptions:
    """Where the device is, and what to read."""

    host: str = setting("", "Modbus TCP: host name or address.")
    tcp_port: int = setting(502, "Its TCP port.", minimum=1, maximum=65535)
    rtu_over_tcp: bool = setting(False, "The host passes on serial messages as they are.")
    port: str = setting("", "Modbus RTU: the serial port, /dev/serial/by-id/...")
    baud_rate: int = setting(19200, "Bits a second.", minimum=50, maximum=4_000_000)
    parity: str = setting("even", "The check bit.", choices=("none", "even", "odd"))
    stop_bits: int = setting(1, "Bits after a character; 2 where there is no parity.", minimum=1, maximum=2)
    device_id: int = setting(1, "The device on the line (unit, slave).", minimum=0, maximum=255)
    gap_max: int = setting(8, "Series so many registers apart are read together.", minimum=0, maximum=124)
    series: tuple[ModbusSeriesOptions, ...] = setting((), "What to read, one table a series.")

    def __post_init__(self) -> None:
        unique(self.series)
        if bool(self.host) == bool(self.port):
            raise ValueError("name either host (Modbus TCP) or port (Modbus RTU)")

    @property
    def line(self) -> str:
        return f"{self.host}:{self.tcp_port}" if self.host else self.port


Block = tuple[ModbusSeriesOptions, ...]
"""Series of one table that are read in one request, by address."""


class ModbusSensor:
    """One device. Several on one line take turns; one that is dead costs the others its time limit, ever less often."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(ModbusOptions)
        self.name = context.name
        self.interval_s = context.interval_s
        self.timeout_s = context.timeout_s
        self._blocks: list[Block] = []
        self._line: Line | None = None

    def open(self) -> Sequence[Series]:
        library("pymodbus.client", extra="sensors-modbus")
        self._blocks = list(blocks(self._options.series, self._options.gap_max))
        if self._line is None:
            self._line = take(self._options.line, self._client)
        return [
            dataclasses.replace(each.declare(self.interval_s), resolution=each.step) for each in self._options.series
        ]

    def read(self, time_ns: int) -> Sequence[Given]:
        deadline = time.monotonic() + self.timeout_s * 0.9
        found: dict[str, Given] = {}
        for block in list(self._blocks):
            try:
                found |= self._read(block, deadline)
            except RefusedError as error:
                if error.code not in ILLEGAL_ADDRESS or len(block) == 1:
                    found |= {each.name: Bad(str(error)) for each in block}
                    continue
                found |= self._read_singly(block, deadline)
        return [found[each.name] for each in self._options.series]

    def close(self) -> None:
        if self._line is not None:
            release(self._line)
        self._line = None

    def _read(self, block: Block, deadline: float) -> dict[str, Given]:
        assert self._line is not None, "read comes after open"
        start = block[0].address
        count = max(each.address + each.count for each in block) - start
        raw = self._line.ask(block[0].table, start, count, self._options.device_id, deadline=deadline)
        return {each.name: each.given(raw[each.address - start :][: each.count]) for each in block}

    def _read_singly(self, block: Block, deadline: float) -> dict[str, Given]:
        """The device has no such stretch: from now on ask for each series of it alone."""
        at = self._blocks.index(block)
        singles: list[Block] = [(each,) for each in block]
        self._blocks[at : at + 1] = singles
        found: dict[str, Given] = {}
        for single in singles:
            try:
                found |= self._read(single, deadline)
            except RefusedError as error:
                found[single[0].name] = Bad(str(error))
        return found

    def _client(self, timeout_s: float) -> Any:
        modbus = library("pymodbus.client", extra="sensors-modbus")
        framer = library("pymodbus", extra="sensors-modbus").FramerType
        options = self._options
        if options.host:
            return modbus.ModbusTcpClient(
                options.host,
                port=options.tcp_port,
                framer=framer.RTU if options.rtu_over_tcp else framer.SOCKET,
                timeout=timeout_s,
                retries=0,
            )
        library("serial", extra="sensors-modbus")
        return modbus.ModbusSerialClient(
            options.port,
            framer=framer.RTU,
            baudrate=options.baud_rate,
            parity=options.parity[0].upper(),
            stopbits=options.stop_bits,
            timeout=timeout_s,
            retries=0,
        )


def blocks(series: Iterable[ModbusSeriesOptions], gap_max: int) -> Iterable[Block]:
    """Series that are near each other, as one request each; a request takes what the protocol allows at most."""
    block: list[ModbusSeriesOptions] = []
    end = 0
    for each in sorted(series, key=lambda each: (each.table, each.address)):
        limit = _BITS_MAX if each.table in BIT_TABLES else _REGISTERS_MAX
        if block and (
            each.table != block[0].table
            or each.address - end > gap_max
            or each.address + each.count - block[0].address > limit
        ):
            yield tuple(block)
            block, end = [], 0
        block.append(each)
        end = max(end, each.address + each.count)
    if block:
        yield tuple(block)
