"""One client's connection, without I/O: bytes come in, bytes go out through a `Link`. The way of a PUBLISH is short.

What a device publishes for the pipeline is collected over one read of the socket and handed to the intake in one call;
it is acknowledged when the intake says that all of it is on disk. Acknowledgements leave in the order in which the
messages came (5.0, 4.6), so an answer that could be given at once waits behind those that cannot.

What is to be sent is gathered until the event loop has come round, so that one client's answers leave in one write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hub.intake import Client, Message
from hub.rate import Rate
from hub.session import Session
from hub.session_entries import Entry, Received, Released, Taken
from streams.mqtt import (
    Acknowledge,
    Auth,
    Connack,
    Connect,
    Disconnect,
    MalformedPacket,
    Packet,
    PacketType,
    Properties,
    Property,
    Publish,
    Reason,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Will,
    encode,
)
from streams.mqtt.decode import decode_body, read_length
from streams.mqtt.encode import encode_publish

if TYPE_CHECKING:
    from hub.broker import Broker

CONNECT_BYTES_MAX = 64 << 10
"""A client that nobody knows yet may not make the hub hold more than this."""
TOPICS_KNOWN_MAX = 64
OUT_BYTES_MAX = 256 << 10
UNANSWERED_MAX = 10_000
CHECK_NS_MAX = 15_000_000_000
"""No connection is left unlooked at for longer."""
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


class _Gone:
    """The link of a connection that has none any more: so that the two do not keep each other in memory."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


_GONE = _Gone()


class State(Enum):
    NEW = "waits for CONNECT"
    CONNECTED = "connected"
    ENDED = "ended"


class Hold:
    """Why nothing is read from the client now: bits. An enum would cost more than all else on the way of a message."""

    NOTHING = 0
    DISK = 1
    CLIENT = 2
    """It does not take what it is sent."""
    ANSWERS = 4
    """Too many of its messages are not acknowledged yet."""
    RATE = 8
    """It sends more than it may."""


class Route(NamedTuple):
    """Where messages of a topic go."""

    topic: str
    allowed: bool
    to_pipeline: bool


class Mark(NamedTuple):
    """A message of QoS 2 that came in, and what it is known by on the stream that it goes to (marks.py)."""

    packet_id: int
    mark: bytes | None


class _Answers:
    """Answers that leave together, once what they promise is true: their place in the queue of a connection."""

    __slots__ = ("connection", "count", "data", "done", "ids", "session", "size")

    def __init__(
        self, connection: Connection, session: Session, data: bytes, count: int, ids: Sequence[Mark] = (), size: int = 0
    ) -> None:
        self.connection = connection
        self.session = session
        self.data = data
        self.count = count
        """Messages of QoS 1 and 2 that they answer."""
        self.ids = ids
        """Of its messages of QoS 2."""
        self.size = size
        self.done = False

    def on_taken(self, error: Exception | None) -> None:
        """The intake has everything on disk, or cannot have it."""
        if error is None and not self.ids:
            self.connection.on_next_taken(self)
        else:
            self.connection.on_taken(self, error)


class Connection:
    """See the head of this file. Times are of the monotonic clock."""

    def __init__(self, broker: Broker, link: Link, address: str, *, certificate: str | None = None) -> None:
        self._broker = broker
        self._link: Link = link
        self._counters = broker.counters
        self._settings = broker.settings
        self._packet_bytes_max = broker.settings.packet_bytes_max
        self.address = address
        self.certificate = certificate
        """The name in the certificate that the client showed."""
        self.state = State.NEW
        self.version = 4
        self.client: Client | None = None
        self.will: Will | None = None
        self.keepalive_s = 0
        self.packet_bytes_max = 0
        """Largest packet that the client takes; 0: any."""
        self.receive_maximum = 0
        """Messages of QoS 1 and 2 that it may have unacknowledged (5.0)."""
        self.aliases_max = 0
        """Topic aliases that it takes."""
        self.wants_reasons = False
        """It takes reason strings wherever they may stand (5.0, 3.1.2.11.7)."""
        self.heard_ns = broker.now_ns()
        self.ended_ns = 0
        self.check_tick: int | None = None
        """When the broker looks at it next."""
        self.welcomed = False
        """Its CONNACK is on its way: now it may be sent messages."""
        self._session: Session | None = None
        self._hold = Hold.NOTHING
        self._stalled_ns: int | None = None
        self._rate: Rate | None = None
        self._rest = b""
        self._needed = 0
        """Bytes that must be in `_rest` before it is worth another look."""
        self._parts: list[bytes] = []
        """What came behind `_rest`."""
        self._known: dict[bytes, str] = {}
        """Topics for the pipeline that are the client's."""
        self._routes: dict[str, Route] = {}
        self._aliases: dict[int, str] = {}
        self._aliases_out: dict[str, int] = {}
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._answers: deque[_Answers] = deque()
        self._unanswered = 0
        self._batch: list[Message] = []
        self._batch_answers: list[bytes] = []
        self._batch_ids: list[Mark] = []
        self._parked = False
        """`_rest` waits until fewer of its messages are unacknowledged."""
        self._early: list[bytes] = []
        """What is to be sent behind its CONNACK."""

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
        if self.state is State.ENDED:
            return
        broker = self._broker
        self.heard_ns = broker.next_tick_ns
        broker.bytes_in += len(data)
        if self._parked:
            self._rest += data
            return
        if self._rest:
            self._parts.append(data)
            self._needed -= len(data)
            if self._needed > 0:
                return
            data = b"".join((self._rest, *self._parts))
            self._rest = b""
            self._parts.clear()
        try:
            at = self._read(data)
        except MalformedPacket as error:
            self._hand_over()  # what came before it is good
            self._broker.on_malformed(self, error, data)
            return
        if self._batch:
            self._hand_over()
        if at < len(data) and not self.ended:
            self._rest = data[at:]
        if self._rate is not None:
            self._check_rate()

    def _read(self, data: bytes) -> int:
        """Handle every whole packet; returns where the first that is not whole begins.

        Nearly all are a PUBLISH of QoS 0 or 1, without properties, not retained, for the pipeline, on a topic that was
        used before. They are taken here; anything else goes the long way, which knows every rule.
        """
        at, end = 0, len(data)
        known = self._known
        while end - at >= 2:
            first, length, start = data[at], data[at + 1], at + 2
            if length & 0x80:
                if end - at >= 3 and data[start] < 0x80 and data[start]:
                    length, start = (length & 0x7F) | data[start] << 7, start + 1
                else:
                    if first != _CONNECT and self.state is State.NEW:  # before a length that means nothing has come
                        raise MalformedPacket("the first packet must be a CONNECT", reason=Reason.PROTOCOL_ERROR)
                    header = read_length(data, at)
                    if header is None:
                        self._needed = 1
                        return at
                    start, length = header
            stop = start + length
            if stop > end:
                if first != _CONNECT and self.state is State.NEW:
                    raise MalformedPacket("the first packet must be a CONNECT", reason=Reason.PROTOCOL_ERROR)
                self._check_size(stop - at)
                self._needed = stop - end
                return at
            if first & 0xF5 == _PUBLISH and length > 4 and known:
                body = start + 2 + (data[start] << 8 | data[start + 1])
                topic = known.get(data[start + 2 : body])
                if topic is not None and first != _PUBLISH | 8:
                    qos = first >> 1 & 1
                    if qos:
                        packet_id = data[body : body + 2]
                        body += 2
                    plain = body <= stop and stop - at <= self._packet_bytes_max and (not qos or packet_id != b"\0\0")
                    if plain and self.receive_maximum:
                        plain = body < stop and not data[body] and not (qos and self._is_full())
                        body += 1
                    if plain:
                        self._batch.append(Message(topic, data[body:stop], qos))
                        if qos:
                            self._batch_answers.append(_PUBACK + packet_id)
                        at = stop
                        continue
            if self.receive_maximum and first & 0xF0 == _PUBLISH and first & 6 and self._is_full():
                name_end = start + 2 + (data[start] << 8 | data[start + 1]) if length > 2 else start
                if first & 6 == 2 or not self.session.is_taking(int.from_bytes(data[name_end : name_end + 2], "big")):
                    self._park()
                    return at
            self._on_any(first, data, at, start, stop)
            if self.ended:
                break
            at = stop
        self._needed = 2 - (end - at)
        return at

    def _park(self) -> None:
        """It has as many messages unacknowledged as it may (5.0, 3.3.4), and sends one more.

        Where it is we who owe it acknowledgements, it waits for them: paho-mqtt, for one, sends all that gathered while
        it was away as soon as it is back. Where it owes us releases, nothing but the end is left.
        """
        if not self._unanswered and not self._batch_answers:
            raise MalformedPacket(
                f"more than {self.receive_maximum} messages are not released",
                reason=Reason.RECEIVE_MAXIMUM_EXCEEDED,
            )
        self._counters["receive_maximum_waits"] += 1
        self._parked = True
        self.hold(Hold.ANSWERS)

    def _go_on(self) -> None:
        """After `_park`, when there is room again."""
        if self._parked and not self.ended and not (self._unanswered and self._is_full()):
            self._parked = False
            data, self._rest = self._rest, b""
            self.release(Hold.ANSWERS)
            self.receive(data)

    def _on_any(self, first: int, data: bytes, at: int, start: int, stop: int) -> None:
        """Handle the packet from `at` to `stop`, whose body begins at `start`."""
        if first != _CONNECT and self.state is State.NEW:
            raise MalformedPacket("the first packet must be a CONNECT", reason=Reason.PROTOCOL_ERROR)
        if first == _PINGREQ and start == stop:
            self.send_bytes(_PINGRESP)
            return
        self._check_size(stop - at)
        packet = decode_body(first, data[start:stop], self.version)
        if isinstance(packet, Publish):
            self._on_publish(packet)
        else:
            self._on_packet(packet)

    def _check_size(self, size: int) -> None:
        limit = self._packet_bytes_max
        if self.state is State.NEW:
            limit = min(limit, CONNECT_BYTES_MAX)
        if size > limit:
            self._counters["oversized_packets"] += 1
            text = f"a packet of {size} bytes is above the limit of {limit}"
            raise MalformedPacket(text, reason=Reason.PACKET_TOO_LARGE)

    def _on_publish(self, packet: Publish) -> None:
        topic = self._resolve_alias(packet)
        route = self._route(topic)
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
        content_type = packet.properties.get(Property.CONTENT_TYPE)
        mark = None
        if packet.qos == 2:
            if self.session.kept:
                mark = self._broker.mark(self.session, packet.packet_id)
            self._batch_ids.append(Mark(packet.packet_id, mark))
        self._batch.append(
            Message(
                topic,
                packet.payload,
                packet.qos,
                packet.retain,
                content_type if isinstance(content_type, str) else None,
                mark,
            )
        )
        if packet.qos:
            kind = _PUBACK if packet.qos == 1 else _PUBREC
            self._batch_answers.append(kind + packet.packet_id.to_bytes(2, "big"))

    def _pass_on(self, packet: Publish, topic: str) -> None:
        """To those who subscribed. It is acknowledged when those of them who may be absent are sure to get it."""
        assert self.client is not None
        sender, session = self.client.client_id, self.session
        if self._rate is not None:
            self._rate.spend(1)
        if not packet.qos:
            self._broker.route(topic, packet, sender=sender)
            return
        kept: list[Exception | None] = []
        answers: _Answers | None = None

        def on_kept(error: Exception | None) -> None:
            kept.append(error)
            if answers is not None:
                self.on_taken(answers, error)

        extra = [Taken(sender, packet.packet_id)] if packet.qos == 2 and session.kept else []
        routed = self._broker.route(topic, packet, sender=sender, extra=extra, on_kept=on_kept)
        kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
        reason = Reason.SUCCESS if routed.reached else Reason.NO_MATCHING_SUBSCRIBERS
        data = encode(Acknowledge(kind, packet.packet_id, reason), self.version)
        if not routed.waits:
            if packet.qos == 2:
                session.end_taking(packet.packet_id, taken=True)
            self._answer(data)
            return
        answers = self.reserve(1, [Mark(packet.packet_id, None)] if packet.qos == 2 else (), len(packet.payload))
        answers.data = data
        self._broker.add_undurable(answers.size)
        if kept:
            self.on_taken(answers, kept[0])

    def _refuse(self, packet: Publish, topic: str) -> None:
        """A topic that is not the client's. 3.1.1 has no word for it but the end, and a PUBACK would be a lie."""
        self._broker.on_refused(self, topic)
        if not packet.qos:
            return
        if self.version < 5:
            self.end(Reason.NOT_AUTHORIZED, f"it may not publish to {topic[:100]!r}")
            return
        kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
        text = f"you may not publish to {topic[:100]}" if self.wants_reasons else ""
        properties: Properties = {Property.REASON_STRING: text} if text else {}
        refusal = Acknowledge(kind, packet.packet_id, Reason.NOT_AUTHORIZED, properties)
        self._answer(self._fitting(refusal) or encode(replace(refusal, properties={}), self.version))

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
        route = self._routes.get(topic)
        if route is None:
            assert self.client is not None
            if len(self._routes) >= TOPICS_KNOWN_MAX:
                self._routes.clear()
                self._known.clear()
            route = self._routes[topic] = self._broker.route_of(self.client, topic)
            if route.allowed and route.to_pipeline:
                self._known[topic.encode()] = topic
        return route

    def _is_full(self) -> bool:
        return self._unanswered + len(self._batch_answers) + self.session.taken >= self.receive_maximum

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
                self._on_pubrec(session, packet_id, failed)
            case PacketType.PUBREL:
                self._on_pubrel(session, packet_id)
            case _:
                session.on_pubcomp(packet_id)
        if session.settled:
            self._broker.to_settle(session)
        if session.has_waiting:
            self.pump()

    def _on_pubrec(self, session: Session, packet_id: int, failed: bool) -> None:
        """A release promises that the message will not be sent again: it must be on disk before it goes out."""
        if failed:
            session.on_pubrec(packet_id, failed=True)
            return
        due = session.receives(packet_id)
        if not due:
            known = Reason.SUCCESS if due is False else Reason.PACKET_IDENTIFIER_NOT_FOUND
            self.send(Acknowledge(PacketType.PUBREL, packet_id, known))
            return

        def go_on() -> None:
            session.on_pubrec(packet_id)

        self._answer_when_kept(session, Received(session.client_id, (packet_id,)), PacketType.PUBREL, packet_id, go_on)

    def _on_pubrel(self, session: Session, packet_id: int) -> None:
        """After PUBCOMP the client may use the number for another message: it must be free on disk too."""
        if not session.release(packet_id):
            self.send(Acknowledge(PacketType.PUBCOMP, packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND))
            return

        def go_on() -> None:
            session.on_released(packet_id)

        def go_back() -> None:
            session.on_released(packet_id, released=False)

        entry = Released(session.client_id, (packet_id,))
        self._answer_when_kept(session, entry, PacketType.PUBCOMP, packet_id, go_on, go_back)

    def _answer_when_kept(
        self,
        session: Session,
        entry: Entry,
        kind: PacketType,
        packet_id: int,
        go_on: Callable[[], None],
        go_back: Callable[[], None] = lambda: None,
    ) -> None:
        if not session.kept:
            go_on()
            self.send(Acknowledge(kind, packet_id))
            return
        answers = self.reserve(0)
        answers.data = encode(Acknowledge(kind, packet_id), self.version)

        def on_kept(error: Exception | None) -> None:
            if error is None:
                go_on()
            else:
                go_back()
            self.on_kept(answers, error)

        self._broker.keep([entry], on_kept)

    # -- the pipeline ------------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Give the intake what came with this read."""
        messages = self._batch
        if not messages or self.client is None:
            return
        if self._rate is not None:
            self._rate.spend(len(messages))
        data = self._batch_answers
        count = len(data)
        if len(messages) == 1:
            size = len(messages[0].payload) + 100
        else:
            size = sum([len(message.payload) for message in messages]) + 100 * len(messages)
        answers = _Answers(self, self.session, data[0] if count == 1 else b"".join(data), count, (), size)
        self._batch, self._batch_answers = [], []
        if self._batch_ids:
            answers.ids, self._batch_ids = self._batch_ids, []
        self._answers.append(answers)
        self._unanswered += count
        if self._unanswered > UNANSWERED_MAX:
            self.hold(Hold.ANSWERS)
        broker = self._broker
        broker.messages_in += len(messages)
        broker.undurable_bytes += size
        if broker.undurable_bytes > broker.undurable_bytes_max:
            broker.add_undurable(0)
        broker.intake.take(self.client, messages, answers.on_taken)

    def on_next_taken(self, answers: _Answers) -> None:
        """`on_taken`, as it goes nearly always: nothing waits before these answers, nothing else is to be sent."""
        waiting = self._answers
        if self._out or self._hold or len(waiting) != 1 or not self.welcomed or self.state is State.ENDED:
            self.on_taken(answers, None)
            return
        waiting.clear()
        self._unanswered = 0
        broker, data = self._broker, answers.data
        broker.undurable_bytes -= answers.size
        if broker.reading_paused or broker.stopping:
            broker.on_durable(0)
        if data:
            broker.bytes_out += len(data)
            self._link.write(data)

    def on_taken(self, answers: _Answers, error: Exception | None) -> None:
        """Messages are on disk, or cannot be."""
        self._broker.on_durable(answers.size)
        session = answers.session
        if answers.ids:
            self._broker.on_taken_once(session, answers.ids, taken=error is None)
        if error is not None:
            self._broker.on_intake_refusal(self, answers.count, error)
        elif self.state is State.ENDED:
            if answers.ids:
                data = b"".join([_PUBREC + each.packet_id.to_bytes(2, "big") for each in answers.ids])
                self._broker.answer_elsewhere(session, data)
        else:
            answers.done = True
            self._release_answers()

    def on_kept(self, answers: _Answers, error: Exception | None) -> None:
        """What the answers promise is on disk, or cannot be."""
        if error is not None:
            self._broker.on_intake_refusal(self, 0, error)
        elif self.state is not State.ENDED:
            answers.done = True
            self._release_answers()

    def _release_answers(self) -> None:
        if not self.welcomed:
            return
        waiting = self._answers
        while waiting and waiting[0].done:
            answers = waiting.popleft()
            self._unanswered -= answers.count
            self.send_bytes(answers.data)
        if self._hold & Hold.ANSWERS:
            if self._parked:
                self._broker.to_flush(self)
            elif self._unanswered < UNANSWERED_MAX // 2:
                self.release(Hold.ANSWERS)

    def reserve(self, count: int, ids: Sequence[Mark] = (), size: int = 0) -> _Answers:
        """A place in the queue for answers that are not ready yet; behind all that came before."""
        self._hand_over()
        answers = _Answers(self, self.session, b"", count, ids, size)
        self._answers.append(answers)
        self._unanswered += count
        if self._unanswered > UNANSWERED_MAX:
            self.hold(Hold.ANSWERS)
        return answers

    def _answer(self, data: bytes) -> None:
        """Answer a PUBLISH behind the answers to those before it."""
        if self._batch:
            self._batch_answers.append(data)
        elif self._answers:
            answers = self.reserve(1)
            answers.data, answers.done = data, True
        else:
            self.send_bytes(data)

    # -- out ---------------------------------------------------------------------------------------------------------

    def accept(self, client: Client, session: Session) -> None:
        """The CONNECT is accepted; what the client sends is taken, but it is sent nothing before its `welcome`."""
        self.client, self._session = client, session
        self.state = State.CONNECTED
        limit = self._settings.client_messages_per_s_max
        if limit:
            self._rate = Rate(limit, self._broker.now_ns())

    def welcome(self, answer: Connack, releases: Sequence[Acknowledge]) -> None:
        """Answer the CONNECT, then send again what the client has not acknowledged before."""
        if self.ended:
            return
        self.welcomed = True
        self.send(answer)
        self.send_bytes(b"".join(self._early))
        self._early.clear()
        for packet in releases:
            self.send(packet)
        self._release_answers()
        self.pump()

    def refuse(self, reason: Reason, text: str) -> None:
        """Answer the CONNECT with a refusal, and end."""
        self.welcomed = True
        properties: Properties = {Property.REASON_STRING: text} if self.version >= 5 and text else {}
        self.send(Connack(False, reason, properties))
        self.finish(f"its CONNECT was refused: {text or reason.name}")

    def send(self, packet: Packet) -> None:
        data = self._fitting(packet)
        if data is None:  # only what explains can be left out (5.0, 3.2.2.3.6)
            assert isinstance(packet, (Acknowledge, Connack, Disconnect, Auth, Suback, Unsuback))
            data = encode(replace(packet, properties=_needed_of(packet)), self.version)
        self.send_bytes(data)

    def encoded(self, packet: Packet) -> bytes:
        return encode(packet, self.version)

    def _fitting(self, packet: Packet) -> bytes | None:
        """The bytes of a packet; None when the client does not take that many."""
        data = encode(packet, self.version)
        return None if self.packet_bytes_max and len(data) > self.packet_bytes_max else data

    def send_bytes(self, data: bytes) -> None:
        if not data or self.state is State.ENDED:
            return
        if not self.welcomed and self.state is State.CONNECTED:
            self._early.append(data)
            return
        if not self._out:
            self._broker.to_flush(self)
        self._out.append(data)
        self._out_bytes += len(data)

    def pump(self) -> None:
        """Take messages out of the session, as far as the client's window and the socket allow."""
        session = self._session
        if session is None or not self.welcomed or self.state is not State.CONNECTED or not session.has_waiting:
            return
        now_ns = self._broker.now_ns()
        while self._stalled_ns is None and self._out_bytes < OUT_BYTES_MAX:
            packet = session.next(now_ns)
            if packet is None:
                break
            data = self._encoded_publish(packet)
            if self.packet_bytes_max and len(data) > self.packet_bytes_max:
                self._counters["too_large_for_client"] += 1
                session.abandon(packet.packet_id)
                continue
            self._counters["messages_out"] += 1
            self.send_bytes(data)
        if session.settled:
            self._broker.to_settle(session)

    def _encoded_publish(self, packet: Publish) -> bytes:
        """With an alias instead of its topic, where the client takes one (5.0, 3.3.2.3.4)."""
        if not self.aliases_max:
            return encode_publish(packet, self.version)
        aliases = self._aliases_out
        alias = aliases.get(packet.topic)
        if alias is not None:
            packet = replace(packet, topic="", properties={**packet.properties, Property.TOPIC_ALIAS: alias})
        elif len(aliases) < self.aliases_max:
            number = len(aliases) + 1
            named = replace(packet, properties={**packet.properties, Property.TOPIC_ALIAS: number})
            data = encode_publish(named, self.version)
            if not self.packet_bytes_max or len(data) <= self.packet_bytes_max:
                aliases[packet.topic] = number
            return data
        return encode_publish(packet, self.version)

    def flush(self) -> None:
        """Write what was gathered; then there may be room for more."""
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._out_bytes = 0
            self._broker.bytes_out += len(data)
            self._link.write(data)
        session = self._session
        if session is not None and session.has_waiting:
            self.pump()
        if self._parked:
            self._go_on()

    def on_stalled(self) -> None:
        """The client takes less than it is sent: nothing more is sent, and nothing read that would need an answer."""
        self._stalled_ns = self._broker.now_ns()
        self._counters["stalls"] += 1
        self.hold(Hold.CLIENT)
        self._broker.check_soon(self, self._settings.send_timeout_s)

    def on_drained(self) -> None:
        self._stalled_ns = None
        self.release(Hold.CLIENT)
        self.pump()

    # -- time and the end --------------------------------------------------------------------------------------------

    def hold(self, why: int) -> None:
        """Read nothing from the client until `why` is released."""
        if not self._hold and not self.ended:
            self._link.pause_reading()
        self._hold |= why

    def release(self, why: int) -> None:
        if not self._hold & why:
            return
        self._hold &= ~why
        if not self._hold and not self.ended:
            self.heard_ns = self._broker.now_ns()  # its silence was ours
            self._broker.check_soon(self, 1.5 * self.keepalive_s or self._settings.connect_timeout_s)
            self._link.resume_reading()

    def check_time(self, now_ns: int) -> int | None:
        """End the connection when the client was silent, or deaf, for too long; returns when to look again."""
        if self.ended:
            return None
        settings = self._settings
        again_ns = now_ns + CHECK_NS_MAX
        if self._stalled_ns is not None:
            due_ns = self._stalled_ns + round(settings.send_timeout_s * _SECOND_NS)
            if now_ns > due_ns:
                self._counters["send_timeouts"] += 1
                self.end(Reason.UNSPECIFIED_ERROR, f"it took nothing for {settings.send_timeout_s:g} s")
                return None
            again_ns = min(again_ns, due_ns)
        if self._hold & Hold.RATE:
            self._check_rate()
        if self._hold:
            return again_ns
        if self.state is State.NEW:
            due_ns = self.heard_ns + round(settings.connect_timeout_s * _SECOND_NS)
            counter, reason = "connect_timeouts", f"no CONNECT within {settings.connect_timeout_s:g} s"
        elif self.keepalive_s:
            due_ns = self.heard_ns + round(1.5 * self.keepalive_s * _SECOND_NS)
            counter, reason = "keepalive_timeouts", f"nothing was heard for 1.5 keep-alives of {self.keepalive_s} s"
        else:
            return again_ns
        if now_ns > due_ns:
            self._counters[counter] += 1
            self.end(Reason.KEEP_ALIVE_TIMEOUT, reason)
            return None
        return min(again_ns, due_ns)

    def _check_rate(self) -> None:
        """Read nothing for a while from a client that sends more than it may."""
        assert self._rate is not None
        wait_ns = self._rate.wait_ns(self._broker.now_ns())
        if wait_ns > 0:
            if not self._hold & Hold.RATE:
                self._counters["rate_pauses"] += 1
            self.hold(Hold.RATE)
            self._broker.check_soon(self, wait_ns / _SECOND_NS)
        else:
            self.release(Hold.RATE)

    def end(self, reason: int, text: str) -> None:
        """End the connection from our side; MQTT 5 is told why."""
        if self.state is State.CONNECTED and self.welcomed and self.version >= 5:
            self.send(Disconnect(reason, {Property.REASON_STRING: text[:200]}))
        self.finish(text)

    def on_gone(self) -> None:
        """Its link is gone."""
        self._link = _GONE

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


def _needed_of(packet: Acknowledge | Connack | Disconnect | Auth | Suback | Unsuback) -> Properties:
    """The properties of a packet without those that only explain."""
    explain = (Property.REASON_STRING, Property.USER_PROPERTY)
    return {name: value for name, value in packet.properties.items() if name not in explain}
