"""A network in memory: streams of bytes between machines, late, cut into other pieces, and broken off.

What may happen to a connection:
* Bytes arrive in order, after a delay, in pieces that have nothing to do with those that were sent.
* It breaks at any moment. What was under way is lost in both directions; each end notices at its own time, and the one
  may still believe in the connection while the other has a new one. So a message may have arrived though nobody
  acknowledged it, and is sent again: duplicates and reordering of whole messages come from this.
* It hangs: nothing arrives for a while, then everything.
* Nobody listens: the connection is refused.

What TCP promises is kept: within a connection nothing is lost, doubled, changed or reordered.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

from tests.simulation.loop import Factory, VirtualLoop

_handles = itertools.count(1_000_000)


class Pipe:
    """One direction of a connection."""

    def __init__(self, network: Network, deliver: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._network = network
        self._deliver = deliver
        self._end = end
        self._pieces: list[bytes] = []
        self._closing = False
        self._scheduled = False
        self.broken = False

    def send(self, data: bytes) -> None:
        if self.broken or self._closing:
            return
        self._pieces.append(bytes(data))
        self._schedule()

    def close(self) -> None:
        """Let the other end see the end once everything has arrived."""
        self._closing = True
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and not self.broken:
            self._scheduled = True
            self._network.loop.call_later(self._network.delay_s(), self._arrive)

    def _arrive(self) -> None:
        self._scheduled = False
        if self.broken:
            return
        data = b"".join(self._pieces)
        size = self._network.piece(len(data))
        self._pieces = [data[size:]] if size < len(data) else []
        if size:
            self._deliver(data[:size])
        if self._pieces:
            self._schedule()
        elif self._closing and not self.broken:
            self.broken = True
            self._end()


class Connection:
    """Both directions, and the two ends."""

    def __init__(self, network: Network, protocol: asyncio.BaseProtocol, owner: str, address: tuple[str, int]) -> None:
        self.network, self.owner = network, owner
        self.client = ClientSocket(self, address)
        self.server = ServerTransport(self, protocol, address)
        self.up = Pipe(network, self.server.receive, self.server.end)
        self.down = Pipe(network, self.client.receive, self.client.end)

    def cut(self) -> None:
        """Break it off: what is under way is lost, each end is told at its own time."""
        self.up.broken = self.down.broken = True
        loop, dice = self.network.loop, self.network.dice
        loop.call_later(dice.expovariate(1 / 0.5), self.client.reset)
        loop.call_later(dice.expovariate(1 / 0.5), self.server.reset)

    def client_died(self) -> None:
        """The client's process is gone; the server hears of it later, or only when it writes."""
        self.client.silence()
        self.up.broken = self.down.broken = True
        self.network.loop.call_later(self.network.dice.expovariate(1 / 0.5), self.server.reset)

    def server_died(self) -> None:
        """The server's process is gone."""
        self.server.silence()
        self.up.broken = self.down.broken = True
        self.network.loop.call_later(self.network.dice.expovariate(1 / 0.2), self.client.reset)


class ClientSocket:
    """What paho takes for a socket; the event loop calls back when there is something to read."""

    def __init__(self, connection: Connection, address: tuple[str, int]) -> None:
        self._connection = connection
        self._address = address
        self._handle = next(_handles)
        self._buffer = bytearray()
        self._ended = self._reset = self._silent = False
        self._notified = False

    def recv(self, size: int, *_: Any) -> bytes:
        if self._reset:
            raise ConnectionResetError("the simulated connection is broken")
        if not self._buffer:
            if self._ended:
                return b""
            raise BlockingIOError
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._notify()
        return data

    def send(self, data: bytes, *_: Any) -> int:
        if self._reset or self._silent or self._handle < 0:
            raise ConnectionResetError("the simulated connection is broken")
        self._connection.up.send(data)
        return len(data)

    def close(self) -> None:
        if self._handle >= 0:
            self._connection.network.loop.remove_reader(self._handle)
            self._handle = -1
            self._connection.up.close()
            self._connection.down.broken = True

    def fileno(self) -> int:
        return self._handle

    def getpeername(self) -> tuple[str, int]:
        return self._address

    def setblocking(self, flag: bool) -> None: ...

    def settimeout(self, value: float | None) -> None: ...

    def setsockopt(self, *args: Any) -> None: ...

    def receive(self, data: bytes) -> None:
        self._buffer += data
        self._notify()

    def end(self) -> None:
        self._ended = True
        self._notify()

    def reset(self) -> None:
        self._reset = True
        self._notify()

    def silence(self) -> None:
        self._silent = True

    def watched(self) -> None:
        """The loop watches from now on: tell it of what came before."""
        self._notify()

    def _notify(self) -> None:
        if not self._notified and (self._buffer or self._ended or self._reset) and not self._silent:
            self._notified = True
            self._connection.network.loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._notified = False
        if self._silent or self._handle < 0:
            return
        reader = self._connection.network.loop.readers.get(self._handle)
        if reader is not None:
            callback, args = reader
            callback(*args)
            if (self._ended or self._reset) and self._handle in self._connection.network.loop.readers:
                self._notify()


class ServerTransport(asyncio.Transport):
    """The server's end: what its protocol takes for a TCP transport."""

    def __init__(self, connection: Connection, protocol: asyncio.BaseProtocol, address: tuple[str, int]) -> None:
        super().__init__({"peername": address, "sockname": ("127.0.0.1", 1883), "socket": None})
        self._connection = connection
        self._protocol: Any = protocol
        self._paused = self._closing = self._silent = self._lost = False
        self._waiting: list[bytes] = []

    def start(self) -> None:
        self._protocol.connection_made(self)

    # what the protocol calls

    def write(self, data: Any) -> None:
        if not self._closing and not self._silent:
            self._connection.down.send(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._connection.down.close()
            self._connection.up.broken = True
            self._lose(None)

    def abort(self) -> None:
        self._closing = True
        self._connection.cut()
        self._lose(None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self._connection.network.loop.call_soon(self.receive, data)

    def is_reading(self) -> bool:
        return not self._paused

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    # what the network calls

    def receive(self, data: bytes) -> None:
        if self._silent or self._closing:
            return
        if self._paused:
            self._waiting.append(data)
        elif isinstance(self._protocol, asyncio.BufferedProtocol):
            self._fill(data)
        else:
            self._protocol.data_received(data)

    def _fill(self, data: bytes) -> None:
        while data and not self._closing:
            buffer = self._protocol.get_buffer(len(data))
            size = min(len(buffer), len(data))
            memoryview(buffer).cast("B")[:size] = data[:size]
            self._protocol.buffer_updated(size)
            data = data[size:]

    def end(self) -> None:
        if not self._silent and not self._closing:
            self._protocol.eof_received()
            self.close()

    def reset(self) -> None:
        self._closing = True
        self._lose(ConnectionResetError("the simulated connection is broken"))

    def silence(self) -> None:
        self._silent = True

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._connection.network.forget(self._connection)
            self._connection.network.loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        if not self._silent:
            self._protocol.connection_lost(error)


class Network:
    """Who listens, who is connected, and how bad it is."""

    def __init__(self, loop: VirtualLoop, dice: random.Random, *, delay_s: float = 0.01) -> None:
        self.loop, self.dice = loop, dice
        self._mean_delay_s = delay_s
        self._hung_until_s = 0.0
        self._listeners: dict[int, Factory] = {}
        self.connections: list[Connection] = []
        self.cuts = 0
        self.down = False
        loop.listen = self.listen

    def listen(self, port: int, factory: Factory | None) -> None:
        """Let `factory` make the protocols of connections to `port`; None: nobody listens."""
        if factory is None:
            self._listeners.pop(port, None)
        else:
            self._listeners[port] = factory

    def listens(self, port: int) -> bool:
        return port in self._listeners

    def connect(self, port: int, owner: str) -> ClientSocket:
        """Connect to `port`. ConnectionRefusedError when nobody listens, or the network is down."""
        factory = self._listeners.get(port)
        if factory is None or self.down:
            raise ConnectionRefusedError(f"nobody listens on the simulated port {port}")
        connection = Connection(self, factory(), owner, ("10.0.0.1", 40000 + self.dice.randrange(20000)))
        self.connections.append(connection)
        connection.server.start()
        return connection.client

    def cut(self, connection: Connection) -> None:
        self.cuts += 1
        connection.cut()

    def hang(self, seconds: float) -> None:
        """Let nothing arrive for a while."""
        self._hung_until_s = self.loop.time() + seconds

    def mend(self) -> None:
        """No more accidents."""
        self.down = False
        self._hung_until_s = 0.0

    def forget(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)

    def delay_s(self) -> float:
        return self.dice.expovariate(1 / self._mean_delay_s) + max(0.0, self._hung_until_s - self.loop.time())

    def piece(self, size: int) -> int:
        """How much of what has been sent arrives at once."""
        return size if self.dice.random() < 0.8 else self.dice.randint(0 if size == 0 else 1, size)
