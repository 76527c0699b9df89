"""How a message of QoS 2 is known again after a restart, on whatever stream it went to.

Its record carries a mark as a header: a number that is given once, the packet identifier, and the client id. When the
hub starts, it reads what the streams got since the log of sessions last said how far it knows them: a mark that it
does not know is a message that was taken, though its client was perhaps never told. It is not taken twice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from streams.errors import PenstockError
from streams.log import DamagedRange
from streams.record import Header, Record

HEADER = "mqtt.mark"
_HEAD = struct.Struct(">QH")

Place = tuple[str, int]


class Mark(NamedTuple):
    """A mark, taken apart."""

    number: int
    packet_id: int
    client_id: str


class Reader(Protocol):
    """What is read of one partition (see EventLog.reader)."""

    @property
    def earliest(self) -> int: ...

    @property
    def end(self) -> int: ...

    def read(self, offset: int) -> list[Record]: ...


def make_mark(number: int, packet_id: int, client_id: str) -> bytes:
    return _HEAD.pack(number & 0xFFFFFFFFFFFFFFFF, packet_id) + client_id.encode()


def header(mark: bytes) -> Header:
    """The header that a record of the message carries."""
    return HEADER, mark


def read_mark(mark: bytes) -> Mark:
    number, packet_id = _HEAD.unpack_from(mark)
    return Mark(number, packet_id, mark[_HEAD.size :].decode())


def marks_since(readers: Mapping[Place, Reader], positions: Mapping[Place, int]) -> Iterator[bytes]:
    """The marks that streams hold from these positions on; a stream without a position is not looked at."""
    for place, reader in readers.items():
        at = positions.get(place)
        if at is None:
            continue
        at = max(at, reader.earliest)
        end = reader.end
        while at < end:
            try:
                records = reader.read(at)
            except DamagedRange as damage:
                at = damage.resume
                continue
            except PenstockError:
                break
            if not records:
                break
            for record in records:
                for name, value in record.headers:
                    if name == HEADER and len(value) > _HEAD.size:
                        yield value
            at = records[-1].offset + 1
