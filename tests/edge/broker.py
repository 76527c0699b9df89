"""The other end of an agent's connection, in the test's hands: it answers as it is told, also wrongly.

It speaks just enough MQTT 3.1.1 and 5 for one agent. What a real broker does is tested with mosquitto and with the hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import struct
from collections.abc import AsyncIterator, Callable

from streams.names import HUB_PROPERTY


@dataclasses.dataclass(slots=True)
class Published:
    """What the agent sent: `number` is its packet identifier, `connection` counts connections from 0."""

    topic: str
    payload: bytes
    number: int
    connection: int

    @property
    def channel(self) -> str:
        return self.topic.rsplit("/", 1)[1]


class Broker:
    """`puback` decides for each message: a reason code to answer with (0 is success), or None for silence."""

    def __init__(self) -> None:
        self.versions = {4, 5}
        self.close_on_wrong_version = False
        self.answers_connect = True
        self.receive_maximum: int | None = None
        self.is_hub = True
        """Whether it says that it is the hub's own gateway (MQTT 5)."""
        self.puback: Callable[[Published], int | None] = lambda message: 0
        self.published: list[Published] = []
        self.acknowledged: list[int] = []
        self.connects: list[int] = []
        self.wills: list[bytes] = []
        self.clean_ends = 0
        self.port = 0
        self._writer: asyncio.StreamWriter | None = None
        self._version = 5
        self._changed = asyncio.Event()

    def channel(self, name: str) -> list[bytes]:
        """Payloads published on one channel, in order."""
        return [message.payload for message in self.published if message.channel == name]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that came in makes `condition` true."""
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

    def send(self, topic: str, payload: bytes, number: int = 1) -> None:
        """Publish to the agent with QoS 1."""
        body = struct.pack(">H", len(topic)) + topic.encode() + struct.pack(">H", number)
        self.raw(0x32, body + (b"\0" if self._version == 5 else b"") + payload)

    def raw(self, head: int, body: bytes) -> None:
        assert self._writer is not None, "the agent is connected"
        self._writer.write(bytes([head]) + _length(len(body)) + body)

    def write(self, data: bytes) -> None:
        assert self._writer is not None, "the agent is connected"
        self._writer.write(data)

    def hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readexactly(1))[0]
                body = await reader.readexactly(await _read_length(reader))
                self._take(head, body, writer)
                self._changed.set()
        writer.close()
        self._changed.set()

    def _take(self, head: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        kind = head >> 4
        if kind == 1:
            self._connect(body, writer)
        elif kind == 3:
            self._publish(body)
        elif kind == 4:
            self.acknowledged.append(struct.unpack_from(">H", body)[0])
        elif kind == 8:
            self.raw(0x90, body[:2] + (b"\0" if self._version == 5 else b"") + b"\1" * 3)
        elif kind == 12:
            self.raw(0xD0, b"")
        elif kind == 14:
            self.clean_ends += 1

    def _connect(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        version = body[6]
        self.connects.append(version)
        self._writer, self._version = writer, version
        if not self.answers_connect:
            return
        if version not in self.versions:
            if self.close_on_wrong_version:
                writer.close()
            else:
                self.raw(0x20, b"\0\x84\0" if version == 5 else b"\0\1")
            return
        properties = b"" if self.receive_maximum is None else b"\x21" + struct.pack(">H", self.receive_maximum)
        if self.is_hub:
            properties += b"\x26" + b"".join(struct.pack(">H", len(each)) + each.encode() for each in HUB_PROPERTY)
        self.raw(0x20, b"\0\0" + (bytes([len(properties)]) + properties if version == 5 else b""))

    def _publish(self, body: bytes) -> None:
        size = struct.unpack_from(">H", body)[0]
        topic = body[2 : 2 + size].decode()
        number = struct.unpack_from(">H", body, 2 + size)[0]
        at = 4 + size + (1 if self._version == 5 else 0)  # the agent sends no properties
        message = Published(topic, body[at:], number, len(self.connects) - 1)
        self.published.append(message)
        if (code := self.puback(message)) is not None:
            self.answer(message, code)

    def answer(self, message: Published, code: int = 0) -> None:
        """Send the PUBACK of a message."""
        self.raw(0x40, struct.pack(">H", message.number) + (bytes([code]) if code else b""))


@contextlib.asynccontextmanager
async def broker(port: int = 0) -> AsyncIterator[Broker]:
    """A broker on a free port of loopback, for as long as the context lasts."""
    peer = Broker()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", port)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        peer.hang_up()
        server.close()


def _length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, byte = size >> 7, size & 127
        out.append(byte | (128 if size else 0))
        if not size:
            return bytes(out)


async def _read_length(reader: asyncio.StreamReader) -> int:
    size = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return size
