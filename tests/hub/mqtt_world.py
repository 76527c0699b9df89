"""The broker without sockets, in virtual time: links in memory, an intake that answers when it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from hub.authority import DefaultAuthority
from hub.broker import Broker, OnKept
from hub.connection import Connection
from hub.gateway_settings import GatewaySettings
from hub.intake import Client, Message, OnTaken
from hub.session_entries import Entry, from_record, to_record
from streams.clock import ManualClock
from streams.mqtt import (
    Acknowledge,
    Connack,
    Connect,
    Packet,
    PacketType,
    Publish,
    Reason,
    Suback,
    Subscribe,
    Subscription,
    decode,
    encode,
)
from streams.names import parse_topic
from streams.record import NewRecord, Record

T = TypeVar("T")


class MemoryIntake:
    """An intake that keeps what it takes. `prompt`: it answers at once; otherwise when `settle` is called."""

    def __init__(self) -> None:
        self.prompt = True
        self.taken: list[tuple[str, Message]] = []
        self.waiting: list[OnTaken] = []
        self.history: list[str] = []

    def wants(self, topic: str) -> bool:
        parsed = parse_topic(topic)
        return parsed is not None and parsed.channel != "commands"

    def take(self, client: Client, messages: Sequence[Message], on_taken: OnTaken) -> None:
        self.history.append(f"take {client.client_id} {len(messages)}")
        self.taken += [(client.client_id, message) for message in messages]
        if self.prompt:
            on_taken(None)
        else:
            self.waiting.append(on_taken)

    def settle(self, error: Exception | None = None, *, which: int = 0) -> None:
        self.waiting.pop(which)(error)

    def connected(self, client: Client) -> None:
        self.history.append(f"connected {client.client_id}")

    def disconnected(self, client: Client, reason: str) -> None:
        self.history.append(f"disconnected {client.client_id}: {reason}")

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for _, message in self.taken]


class MemoryLink:
    """What an asyncio transport is to a connection. `stuck`: the client takes nothing."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.writes = 0
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after the end"
        self.writes += 1
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class MemoryClient:
    """The far end of a connection, by hand: sends packets, reads what came."""

    def __init__(self, world: World, version: int) -> None:
        self.world = world
        self.version = version
        self.later: list[Packet] = []
        """What came behind the first answer of `connect` or `subscribe`."""
        self.link = MemoryLink()
        self.connection = Connection(world.broker, self.link, "192.0.2.1:5")
        world.broker.open(self.connection)

    @property
    def closed(self) -> bool:
        return self.link.closed

    def send(self, *packets: Packet) -> None:
        """All in one read of the socket."""
        self.send_bytes(b"".join(encode(packet, self.version) for packet in packets))

    def send_bytes(self, data: bytes) -> None:
        self.connection.receive(data)
        self.world.settle()

    def read(self) -> list[Packet]:
        """Every packet that came since the last call."""
        self.world.settle()
        packets: list[Packet] = []
        while (found := decode(bytes(self.link.sent), version=self.version)) is not None:
            packets.append(found[0])
            del self.link.sent[: found[1]]
        assert not self.link.sent, "half a packet"
        return packets

    def read_one(self, kind: type[T]) -> T:
        """The one packet that came, which is of this kind."""
        packets = self.read()
        assert len(packets) == 1, packets
        assert isinstance(packets[0], kind)
        return packets[0]

    def subscribe(self, *filters: str, qos: int = 1, **options: Any) -> tuple[int, ...]:
        self.send(Subscribe(9, tuple(Subscription(each, qos, **options) for each in filters)))
        first, *rest = self.read()
        assert isinstance(first, Suback)
        self.later = rest
        return first.reasons

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 0, packet_id: int = 1, **more: Any) -> None:
        self.send(Publish(topic, payload, qos, packet_id if qos else 0, **more))

    def acknowledge(self, packet_id: int, kind: PacketType = PacketType.PUBACK) -> None:
        self.send(Acknowledge(kind, packet_id))

    def messages(self) -> list[Publish]:
        """The messages that came; nothing else did."""
        packets = self.read()
        assert all(isinstance(each, Publish) for each in packets), packets
        return [each for each in packets if isinstance(each, Publish)]

    def payloads(self) -> list[bytes]:
        return [each.payload for each in self.messages()]

    def vanish(self) -> None:
        """The connection breaks."""
        self.world.broker.closed(self.connection, "connection reset")
        self.world.settle()


class MemoryDisk:
    """What the broker remembers. `prompt`: it is on disk at once; otherwise when `settle` is called."""

    def __init__(self, prompt: bool = True) -> None:
        self.prompt = prompt
        self.records: list[Record] = []
        """On disk: they survive a crash."""
        self.waiting: list[tuple[list[NewRecord], OnKept | None]] = []

    def keep(self, entries: Sequence[Entry], on_kept: OnKept | None = None) -> None:
        self.waiting.append(([to_record(entry, 0) for entry in entries], on_kept))
        if self.prompt:
            self.settle()

    def settle(self, count: int | None = None, error: Exception | None = None) -> None:
        """The first `count` that wait are on disk, or cannot be written."""
        for _ in range(len(self.waiting) if count is None else min(count, len(self.waiting))):
            records, on_kept = self.waiting.pop(0)
            if error is None:
                self._write(records)
            if on_kept is not None:
                on_kept(error)

    def crash(self, survivors: int = 0) -> None:
        """The process is killed; of what waited, the first ones reached the disk all the same."""
        for records, _ in self.waiting[:survivors]:
            self._write(records)
        self.waiting.clear()

    def entries(self) -> list[Entry]:
        return [from_record(record) for record in self.records]

    def _write(self, records: Sequence[NewRecord]) -> None:
        self.records += [Record(len(self.records) + at, *record) for at, record in enumerate(records)]


class World:
    """A broker and its clients."""

    def __init__(self, disk: MemoryDisk | None = None, **settings: Any) -> None:
        self.clock = ManualClock(monotonic_ns=1_000_000_000)
        self.intake = MemoryIntake()
        self.settings = GatewaySettings(**{"sys_interval_s": 0, **settings})
        self.wakes = 0
        self.disk = disk
        self.broker = self._start()

    def _start(self) -> Broker:
        self.wakes = 0
        return Broker(
            self.settings,
            intake=self.intake,
            authority=DefaultAuthority(self.settings),
            clock=self.clock,
            wake=self._on_wake,
            memory=self.disk,
        )

    def restart(self, away_s: float = 1.0, *, survivors: int = 0, marks: Sequence[bytes] = ()) -> None:
        """Kill the broker, and start it again from what is on disk, with the marks that other streams have."""
        assert self.disk is not None
        self.disk.crash(survivors)
        self.clock.advance(away_s)
        self.broker = self._start()
        for entry in self.disk.entries():
            self.broker.restore(entry)
        for mark in marks:
            self.broker.restore_mark(mark)
        self.broker.restored()

    @property
    def counters(self) -> dict[str, int]:
        return self.broker.counters

    def client(self, client_id: str = "c", version: int = 4, **connect: Any) -> MemoryClient:
        """A client that is connected."""
        client, answer = self.connect(client_id, version, **connect)
        assert answer.reason == Reason.SUCCESS
        return client

    def connect(self, client_id: str = "c", version: int = 4, **connect: Any) -> tuple[MemoryClient, Connack]:
        client = MemoryClient(self, version)
        client.send(Connect(client_id, version, **connect))
        first, *rest = client.read()
        assert isinstance(first, Connack)
        client.later = rest
        return client, first

    def pass_time(self, seconds: float, *, step_s: float = 0.5) -> None:
        """Let time pass as the gateway notices it."""
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            self.broker.tick()
            self.settle()

    def settle(self) -> None:
        """What the event loop does when it comes round."""
        while self.wakes:
            self.wakes = 0
            self.broker.flush()

    def _on_wake(self) -> None:
        self.wakes += 1
