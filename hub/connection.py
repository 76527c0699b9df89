"""One client's connection, without I/O: bytes come in, bytes go out through a `Link`. The way of a PUBLISH is short.

What a device publishes for the pipeline is collected over one read of the socket and handed to the intake in one call;
it is acknowledged when the intake says that all of it is on disk. Acknowledgements leave in the order in which the
messages came (5.0, 4.6), so an answer that could be given at once waits behind those that cannot.

What is to be sent is gathered until the event loop has come round, so that one client's answers leave in one write.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, IntFlag
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hub.intake import Client, Message
from hub.session import Session
from streams.mqtt import (
    Acknowledge,
    Auth,
    Connack,
    Connect,
    Disconnect,
    MalformedPacket,
    Packet,
    PacketType,
    Property,
    Publish,
    Reason,
    Subscribe,
    Unsubscribe,
    Will,
    encode,
)
from streams.mqtt.decode import decode_body, read_length

if TYPE_CHECKING:
    from hub.broker import Broker

CONNECT_BYTES_MAX = 64 << 10
"""A client that nobody knows yet may not make the hub hold more than this."""
TOPICS_KNOWN_MAX = 64
OUT_BYTES_MAX = 256 << 10
UNANSWERED_MAX = 10_000
_SECOND_NS = 1_000_000_000
_CONNECT = PacketType.CONNECT << 4
_PUBLISH = PacketType.PUBLISH << 4
_PINGREQ = PacketType.PINGREQ << 4
_PINGRESP = bytes((PacketType.PINGRESP << 4, 0))
_PUBACK = bytes((PacketType.PUBACK << 4, 2))
_PUBREC = bytes((PacketType.PUBREC << 4, 2))


class Link(Protocol):
    """The way to the client, as far as a connection uses it. An asyncio transport is one."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None:
        """Send what was written, then end."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class State(Enum):
    NEW = "waits for CONNECT"
    CONNECTED = "connected"
    ENDED = "ended"


class Hold(IntFlag):
    """Why nothing is read from the client now."""

    NOTHING = 0
    DISK = 1
    CLIENT = 2
    """It does not take what it is sent."""
    ANSWERS = 4
    """Too many of its messages are not acknowledged yet."""


class Route(NamedTuple):
    """Where messages of a topic go."""

    topic: str
    allowed: bool
    to_pipeline: bool


class _Take:
    """Messages that were handed to the intake together, and the answers that wait for it."""

    __slots__ = ("answers", "connection", "count", "done", "ids", "session", "size")

    def __init__(
        self, connection: Connection, session: Session, answers: bytes, count: int, ids: list[int], size: int
    ) -> None:
        self.connection = connection
        self.session = session
        self.answers = answers
        self.count = count
        """Answers in it."""
        self.ids = ids
        """Identifiers of its messages of QoS 2."""
        self.size = size
        self.done = False

    def on_taken(self, error: Exception | None) -> None:
        self.connection.on_taken(self, error)


class Connection:
    """See the head of this file. Times are of the monotonic clock."""

    def __init__(self, broker: Broker, link: Link, address: str) -> None:
        self._broker = broker
        self._link = link
        self._counters = broker.counters
        self._settings = broker.settings
        self.address = address
        self.state = State.NEW
        self.version = 4
        self.client: Client | None = None
        self.will: Will | None = None
        self.keepalive_s = 0
        self.packet_bytes_max = 0
        """Largest packet that the client takes; 0: any."""
        self.heard_ns = broker.now_ns()
        self.ended_ns = 0
        self._session: Session | None = None
        self._hold = Hold.NOTHING
        self._stalled_ns: int | None = None
        self._rest = bytearray()
        self._needed = 0
        """Bytes that must be in `_rest` before it is worth another look."""
        self._routes: dict[bytes, Route] = {}
        self._aliases: dict[int, str] = {}
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._takes: deque[_Take] = deque()
        self._unanswered = 0
        self._batch: list[Message] = []
        self._answers: list[bytes] = []
        self._ids: list[int] = []

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    @property
    def ended(self) -> bool:
        return self.state is State.ENDED

    # -- in ----------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes came from the client, cut anywhere."""
        if self.ended:
            return
        self.heard_ns = self._broker.now_ns()
        self._counters["bytes_in"] += len(data)
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        try:
            at = self._read(data)
        except MalformedPacket as error:
            self._hand_over()  # what came before it is good
            self._broker.on_malformed(self, error, data)
            return
        self._hand_over()
        if at < len(data) and not self.ended:
            self._rest += data[at:]

    def _read(self, data: bytes) -> int:
        """Handle every whole packet; returns where the first that is not whole begins."""
        at, end = 0, len(data)
        while end - at >= 2 and not self.ended:
            first, length, start = data[at], data[at + 1], at + 2
            if first != _CONNECT and self.state is State.NEW:  # known before a length that means nothing has come
                raise MalformedPacket("the first packet must be a CONNECT", reason=Reason.PROTOCOL_ERROR)
            if length & 0x80:
                header = read_length(data, at)
                if header is None:
                    self._needed = end - at + 1
                    return at
                start, length = header
            stop = start + length
            if stop > end:
                self._check_size(stop - at)
                self._needed = stop - at
                return at
            if first == _PINGREQ and not length and self.state is State.CONNECTED:
                self.send_bytes(_PINGRESP)
            elif first & 0xF0 == _PUBLISH and self.state is State.CONNECTED:
                if stop - at > self._settings.packet_bytes_max or not self._publish_known(data, first, start, stop):
                    self._check_size(stop - at)
                    self._on_publish(decode_body(first, data[start:stop], self.version))
            else:
                self._check_size(stop - at)
                self._on_packet(decode_body(first, data[start:stop], self.version))
            at = stop
        self._needed = 2
        return at

    def _check_size(self, size: int) -> None:
        limit = self._settings.packet_bytes_max
        if self.state is State.NEW:
            limit = min(limit, CONNECT_BYTES_MAX)
        if size > limit:
            text = f"a packet of {size} bytes is above the limit of {limit}"
            raise MalformedPacket(text, reason=Reason.PACKET_TOO_LARGE)

    def _publish_known(self, data: bytes, first: int, start: int, stop: int) -> bool:
        """A PUBLISH of QoS 0 or 1, without properties, for the pipeline, on a topic that was used before.

        Nearly all are; anything else is False and goes the long way, which knows every rule.
        """
        if first & 5 or first & 0b1010 == 0b1000 or stop < start + 4:  # retained, QoS 2, or a duplicate of QoS 0
            return False
        at = start + 2 + (data[start] << 8 | data[start + 1])
        route = self._routes.get(data[start + 2 : at])
        if route is None or not route.to_pipeline or not route.allowed:
            return False
        qos = first >> 1 & 1
        if qos:
            packet_id = data[at : at + 2]
            at += 2
            if at > stop or packet_id == b"\0\0":
                return False
        if self.version == 5:
            if at >= stop or data[at] or (qos and self._is_full()):
                return False
            at += 1
        elif at > stop:
            return False
        self._batch.append(Message(route.topic, data[at:stop], qos))
        if qos:
            self._answers.append(_PUBACK + packet_id)
        return True

    def _on_publish(self, packet: Packet) -> None:
        assert isinstance(packet, Publish)
        topic = self._resolve_alias(packet)
        route = self._route(topic)
        if packet.qos and self.version == 5 and self._is_full():
            raise MalformedPacket(
                f"more than {self._settings.receive_maximum} messages are unacknowledged",
                reason=Reason.RECEIVE_MAXIMUM_EXCEEDED,
            )
        if Property.SUBSCRIPTION_IDENTIFIER in packet.properties:
            raise MalformedPacket("a client must not send a subscription identifier", reason=Reason.PROTOCOL_ERROR)
        if not route.allowed:
            self._refuse(packet, topic)
        elif packet.qos == 2 and (known := self.session.begin_taking(packet.packet_id)) is not None:
            self._counters["duplicates"] += 1
            if known:  # otherwise the answer follows when it is on disk
                self._answer(_PUBREC + packet.packet_id.to_bytes(2, "big"))
        elif route.to_pipeline:
            self._collect(packet, topic)
        else:
            self._pass_on(packet, topic)

    def _collect(self, packet: Publish, topic: str) -> None:
        self._batch.append(Message(topic, packet.payload, packet.qos, packet.retain))
        if packet.qos:
            self._answers.append((_PUBACK if packet.qos == 1 else _PUBREC) + packet.packet_id.to_bytes(2, "big"))
        if packet.qos == 2:
            self._ids.append(packet.packet_id)

    def _pass_on(self, packet: Publish, topic: str) -> None:
        assert self.client is not None
        reached = self._broker.route(topic, packet, sender=self.client.client_id)
        if packet.qos == 2:
            self.session.end_taking(packet.packet_id, taken=True)
        if packet.qos:
            kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
            reason = Reason.SUCCESS if reached else Reason.NO_MATCHING_SUBSCRIBERS
            self._answer(encode(Acknowledge(kind, packet.packet_id, reason), self.version))

    def _refuse(self, packet: Publish, topic: str) -> None:
        """A topic that is not the client's. 3.1.1 has no word for it but the end, and a PUBACK would be a lie."""
        self._broker.on_refused(self, topic)
        if not packet.qos:
            return
        if self.version < 5:
            self.end(Reason.NOT_AUTHORIZED, f"it may not publish to {topic[:100]!r}")
            return
        kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
        self._answer(encode(Acknowledge(kind, packet.packet_id, Reason.NOT_AUTHORIZED), self.version))

    def _resolve_alias(self, packet: Publish) -> str:
        alias = packet.properties.get(Property.TOPIC_ALIAS)
        if not isinstance(alias, int):
            return packet.topic
        if alias > self._settings.topic_alias_maximum:
            raise MalformedPacket(
                f"the topic alias {alias} is above what was granted", reason=Reason.TOPIC_ALIAS_INVALID
            )
        if packet.topic:
            self._aliases[alias] = packet.topic
        elif alias not in self._aliases:
            raise MalformedPacket(f"the topic alias {alias} was never set", reason=Reason.TOPIC_ALIAS_INVALID)
        return self._aliases[alias]

    def _route(self, topic: str) -> Route:
        """Judged once for a topic and connection."""
        name = topic.encode()
        route = self._routes.get(name)
        if route is None:
            assert self.client is not None
            if len(self._routes) >= TOPICS_KNOWN_MAX:
                self._routes.clear()
            route = self._routes[name] = self._broker.route_of(self.client, topic)
        return route

    def _is_full(self) -> bool:
        return self._unanswered + len(self._answers) + self.session.taken >= self._settings.receive_maximum

    def _on_packet(self, packet: Packet) -> None:
        if self.state is State.NEW:
            assert isinstance(packet, Connect), "nothing else was let through"
            self._broker.on_connect(self, packet)
            return
        match packet:
            case Acknowledge():
                self._on_acknowledge(packet)
            case Subscribe():
                self._broker.on_subscribe(self, packet)
            case Unsubscribe():
                self._broker.on_unsubscribe(self, packet)
            case Disconnect():
                self._broker.on_disconnect(self, packet)
            case Auth():
                raise MalformedPacket("no authentication exchange was begun", reason=Reason.PROTOCOL_ERROR)
            case _:
                name = type(packet).__name__.upper()
                raise MalformedPacket(f"a client must not send {name} now", reason=Reason.PROTOCOL_ERROR)

    def _on_acknowledge(self, packet: Acknowledge) -> None:
        session, packet_id, failed = self.session, packet.packet_id, packet.reason >= 0x80
        match packet.kind:
            case PacketType.PUBACK:
                session.on_puback(packet_id, failed=failed)
            case PacketType.PUBREC:
                known = session.on_pubrec(packet_id, failed=failed)
                if not failed:
                    self._answer_release(PacketType.PUBREL, packet_id, known)
            case PacketType.PUBREL:
                self._answer_release(PacketType.PUBCOMP, packet_id, session.on_pubrel(packet_id))
            case _:
                session.on_pubcomp(packet_id)
        self.pump()

    def _answer_release(self, kind: PacketType, packet_id: int, known: bool) -> None:
        reason = Reason.SUCCESS if known else Reason.PACKET_IDENTIFIER_NOT_FOUND
        self.send(Acknowledge(kind, packet_id, reason))

    # -- the pipeline ------------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Give the intake what came with this read."""
        if not self._batch or self.client is None:
            return
        messages, answers, ids = self._batch, self._answers, self._ids
        self._batch, self._answers, self._ids = [], [], []
        size = sum([len(message.payload) for message in messages]) + 100 * len(messages)
        take = _Take(self, self.session, b"".join(answers), len(answers), ids, size)
        self._takes.append(take)
        self._unanswered += take.count
        if self._unanswered > UNANSWERED_MAX:
            self.hold(Hold.ANSWERS)
        self._broker.take(self.client, messages, size, take.on_taken)

    def on_taken(self, take: _Take, error: Exception | None) -> None:
        """The intake has everything of `take` on disk, or cannot have it."""
        self._broker.on_durable(take.size)
        for packet_id in take.ids:
            take.session.end_taking(packet_id, taken=error is None)
        if error is not None:
            self._broker.on_intake_refusal(self, take.count, error)
        elif self.ended:
            self._broker.answer_elsewhere(take.session, b"".join(_PUBREC + n.to_bytes(2, "big") for n in take.ids))
        else:
            take.done = True
            self._release_answers()

    def _release_answers(self) -> None:
        takes = self._takes
        while takes and takes[0].done:
            take = takes.popleft()
            self._unanswered -= take.count
            self.send_bytes(take.answers)
        if self._hold & Hold.ANSWERS and self._unanswered < UNANSWERED_MAX // 2:
            self.release(Hold.ANSWERS)

    def _answer(self, data: bytes) -> None:
        """Answer a PUBLISH behind the answers to those before it."""
        if self._batch:
            self._answers.append(data)
        elif self._takes:
            take = _Take(self, self.session, data, 1, [], 0)
            take.done = True
            self._takes.append(take)
            self._unanswered += 1
            if self._unanswered > UNANSWERED_MAX:
                self.hold(Hold.ANSWERS)
        else:
            self.send_bytes(data)

    # -- out ---------------------------------------------------------------------------------------------------------

    def welcome(self, client: Client, session: Session, answer: Connack, *, receive_maximum: int) -> None:
        """The CONNECT is accepted: answer it, then send again what the client has not acknowledged before."""
        self.client, self._session = client, session
        self.state = State.CONNECTED
        self.send(answer)
        for packet in session.resume(receive_maximum=receive_maximum):
            self.send(packet)
        self.pump()

    def send(self, packet: Packet) -> None:
        self.send_bytes(encode(packet, self.version))

    def send_bytes(self, data: bytes) -> None:
        if self.ended or not data:
            return
        if not self._out:
            self._broker.to_flush(self)
        self._out.append(data)
        self._out_bytes += len(data)

    def pump(self) -> None:
        """Take messages out of the session, as far as the client's window and the socket allow."""
        session = self._session
        if session is None or self.state is not State.CONNECTED or not session.has_waiting:
            return
        now_ns = self._broker.now_ns()
        while self._stalled_ns is None and self._out_bytes < OUT_BYTES_MAX:
            packet = session.next(now_ns)
            if packet is None:
                return
            data = encode(packet, self.version)
            if self.packet_bytes_max and len(data) > self.packet_bytes_max:
                self._counters["too_large_for_client"] += 1
                session.abandon(packet.packet_id)
                continue
            self._counters["messages_out"] += 1
            self.send_bytes(data)

    def flush(self) -> None:
        """Write what was gathered; then there may be room for more."""
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            self._counters["bytes_out"] += len(data)
            self._link.write(data)
        self.pump()

    def on_stalled(self) -> None:
        """The client takes less than it is sent: nothing more is sent, and nothing read that would need an answer."""
        self._stalled_ns = self._broker.now_ns()
        self.hold(Hold.CLIENT)

    def on_drained(self) -> None:
        self._stalled_ns = None
        self.release(Hold.CLIENT)
        self.pump()

    # -- time and the end --------------------------------------------------------------------------------------------

    def hold(self, why: Hold) -> None:
        """Read nothing from the client until `why` is released."""
        if not self._hold and not self.ended:
            self._link.pause_reading()
        self._hold |= why

    def release(self, why: Hold) -> None:
        if not self._hold & why:
            return
        self._hold &= ~why
        if not self._hold and not self.ended:
            self.heard_ns = self._broker.now_ns()  # its silence was ours
            self._link.resume_reading()

    def check_time(self, now_ns: int) -> None:
        """End the connection when the client was silent, or deaf, for too long."""
        if self.ended:
            return
        settings = self._settings
        if self._stalled_ns is not None and now_ns - self._stalled_ns > settings.send_timeout_s * _SECOND_NS:
            self._counters["send_timeouts"] += 1
            self.end(Reason.UNSPECIFIED_ERROR, f"it took nothing for {settings.send_timeout_s:g} s")
        if self._hold or self.ended:
            return
        silent_ns = now_ns - self.heard_ns
        if self.state is State.NEW and silent_ns > settings.connect_timeout_s * _SECOND_NS:
            self._counters["connect_timeouts"] += 1
            self.end(Reason.KEEP_ALIVE_TIMEOUT, f"no CONNECT within {settings.connect_timeout_s:g} s")
        elif self.keepalive_s and silent_ns > 1.5 * self.keepalive_s * _SECOND_NS:
            self._counters["keepalive_timeouts"] += 1
            self.end(Reason.KEEP_ALIVE_TIMEOUT, f"nothing was heard for 1.5 keep-alives of {self.keepalive_s} s")

    def end(self, reason: int, text: str) -> None:
        """End the connection from our side; MQTT 5 is told why."""
        if self.state is State.CONNECTED and self.version >= 5:
            self.send(Disconnect(reason, {Property.REASON_STRING: text[:200]}))
        self.finish(text)

    def finish(self, text: str) -> None:
        """The connection ends; `text` says why. Nothing more comes in or goes out."""
        if self.ended:
            return
        self._hand_over()
        if self._out:
            self._link.write(b"".join(self._out))
            self._out.clear()
        was_connected = self.state is State.CONNECTED
        self.state = State.ENDED
        self.ended_ns = self._broker.now_ns()
        self._link.close()
        if was_connected:
            self._broker.on_left(self, text)
