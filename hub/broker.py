"""The rules of MQTT that span connections, without I/O: sessions, take-over, wills, subscriptions, routing.

One connection's bytes are in connection.py, one session's messages in session.py; gateway.py has the sockets.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hub.authority import OURS
from hub.connection import CHECK_NS_MAX, Connection, Hold, Mark, Route, State
from hub.gateway_settings import GatewaySettings
from hub.intake import Authority, Client, Intake, Message, OnTaken
from hub.marks import make_mark, read_mark
from hub.quiet import Quiet
from hub.retained import Kept, RetainedMessages
from hub.session import OnDelivered, Outgoing, QueueBudget, Session
from hub.session_entries import (
    Ended,
    Entry,
    Opened,
    Queued,
    Received,
    Released,
    Retained,
    Scanned,
    Settled,
    Subscribed,
    Taken,
    Target,
    Unsubscribed,
)
from hub.subscriptions import TOPIC_LEVELS_MAX, Held, SubscriptionTree, parse_filter
from hub.system_topics import system_topics
from streams.clock import Clock
from streams.mqtt import (
    Connack,
    Connect,
    Disconnect,
    MalformedPacket,
    Properties,
    Property,
    Publish,
    Reason,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)

_log = logging.getLogger("penstock.hub.gateway")

CLIENT_ID_BYTES_MAX = 256
COUNTERS = (
    "connections", "connects", "bytes_in", "bytes_out", "messages_in", "messages_out", "malformed_packets", "takeovers",
    "refused_full", "refused_connects", "refused_topics", "refused_retained", "keepalive_timeouts", "connect_timeouts",
    "send_timeouts", "intake_refusals", "queue_drops", "duplicates", "too_large_for_client", "reading_pauses",
    "sessions_evicted", "sessions_restored", "oversized_packets", "stalls", "rate_pauses", "refused_half_open",
    "receive_maximum_waits",
)  # fmt: skip
_NOT_ROUTED = frozenset(
    {
        Property.TOPIC_ALIAS,
        Property.SUBSCRIPTION_IDENTIFIER,
        Property.MESSAGE_EXPIRY_INTERVAL,
        Property.WILL_DELAY_INTERVAL,
    }
)
_HINTS = ((b"\x16\x03", "it speaks TLS"), (b"GET ", "it speaks HTTP"), (b"POST ", "it speaks HTTP"))
_SECOND_NS = 1_000_000_000


TICK_NS = 500_000_000
"""How often `tick` is called; what a client does counts as done at the end of the tick, never too early."""

OnKept = Callable[[Exception | None], None]


class Memory(Protocol):
    """What remembers across a restart."""

    def keep(self, entries: Sequence[Entry], on_kept: OnKept | None = None) -> None:
        """Remember entries, in order. `on_kept` is called once they are on disk, or with the error."""
        ...


class NoMemory:
    """Remembers nothing, and says so at once."""

    def keep(self, entries: Sequence[Entry], on_kept: OnKept | None = None) -> None:
        if on_kept is not None:
            on_kept(None)


class Routed(NamedTuple):
    """What became of a message: how many sessions took it, and whether something must be on disk first."""

    reached: int
    waits: bool


@dataclass(slots=True)
class _PendingWill:
    client: Client
    will: Will
    due_ns: int


class Broker:
    """Everything that connections share. `wake` is called when there is something to flush: call `flush` soon."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        intake: Intake,
        authority: Authority,
        clock: Clock,
        wake: Callable[[], None],
        memory: Memory | None = None,
    ) -> None:
        self.settings = settings
        self.memory: Memory = memory or NoMemory()
        self._counted: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self.bytes_in = self.bytes_out = self.messages_in = 0
        """Counted apart, because they are with every message."""
        self.now_ns = clock.monotonic_ns
        self._wall_ns = clock.time_ns
        self.next_tick_ns = clock.monotonic_ns() + TICK_NS
        self.undurable_bytes = 0
        self.undurable_bytes_max = settings.undurable_bytes_max
        self.stopping = False
        self.connections: set[Connection] = set()
        """Every one that has not ended, or whose link is not gone yet."""
        self.intake = intake
        self._authority = authority
        self._wake = wake
        self._quiet = Quiet(clock)
        self._connected: dict[str, Connection] = {}
        self._sessions: dict[str, Session] = {}
        self._absent: dict[str, int] = {}
        """Sessions without a client, longest absent first: client id to the monotonic time at which they end."""
        self._wills: dict[str, _PendingWill] = {}
        self._budget = QueueBudget(settings.queues_bytes_max)
        self._tree = SubscriptionTree(hidden={OURS})
        self._retained = RetainedMessages(
            messages_max=settings.retained_messages_max, bytes_max=settings.retained_bytes_max, hidden={OURS}
        )
        self.reading_paused = False
        self._to_flush: list[Connection] = []
        self._to_settle: dict[str, Session] = {}
        self._wheel: dict[int, dict[Connection, None]] = {}
        """Connections by the tick at which they are to be looked at."""
        self._unmet: dict[Connection, None] = {}
        """Those that have not said CONNECT, the oldest first."""
        self._started_ns = clock.monotonic_ns()
        self._sys_due_ns = 0
        self._mark = secrets.randbits(64)
        self._seen_marks: set[bytes] = set()
        self._present: set[str] = set()
        """While sessions are restored: whose client was connected."""

    @property
    def counters(self) -> Counter[str]:
        """What happened so far; "connections" is how many there are now."""
        counted = self._counted
        counted["bytes_in"], counted["bytes_out"] = self.bytes_in, self.bytes_out
        counted["messages_in"] = self.messages_in
        return counted

    # -- connections -------------------------------------------------------------------------------------------------

    def open(self, connection: Connection) -> None:
        """A connection was made."""
        self.connections.add(connection)
        self.counters["connections"] = len(self.connections)
        if len(self.connections) > self.settings.connections_max or self.stopping:
            self.counters["refused_full"] += 1
            self._say("full", "refused %s: %d connections are open", connection.address, len(self.connections) - 1)
            connection.finish("there are too many connections")
            return
        self._unmet[connection] = None
        if len(self._unmet) > self.settings.half_open_max:
            oldest = next(iter(self._unmet))
            self.counters["refused_half_open"] += 1
            self._say("half open", "closed %s: %d connections have not said CONNECT", oldest.address, len(self._unmet))
            del self._unmet[oldest]
            oldest.finish("too many connections have not said CONNECT")
        self.check_soon(connection, self.settings.connect_timeout_s)

    def closed(self, connection: Connection, reason: str) -> None:
        """Its link is gone."""
        connection.finish(reason)
        self._unfile(connection)
        self._unmet.pop(connection, None)
        self.connections.discard(connection)
        self.counters["connections"] = len(self.connections)
        connection.on_gone()

    def on_connect(self, connection: Connection, packet: Connect) -> None:
        self._unmet.pop(connection, None)
        connection.version = packet.version
        connection.packet_bytes_max = _number(packet.properties, Property.MAXIMUM_PACKET_SIZE, 0)
        properties: Properties = {}
        client_id = packet.client_id
        if not client_id:
            client_id = properties[Property.ASSIGNED_CLIENT_IDENTIFIER] = f"auto-{secrets.token_hex(8)}"
        client = Client(client_id, packet.username, connection.address, packet.version, connection.certificate)
        refusal, why = self._refusal(client, packet)
        if refusal is not None:
            self.counters["refused_connects"] += 1
            self._say(connection.address.rpartition(":")[0], "refused %s (%r): %s", connection.address,
                      client_id[:80], why or refusal.name)  # fmt: skip
            connection.refuse(refusal, why)
            return
        self._take_over(client_id, packet)
        session, present = self._session(client, packet)
        connection.will = packet.will
        was_logged = session.logged
        self._grant(connection, packet, session, properties)
        connection.accept(client, session)
        self._connected[client_id] = connection
        self.counters["connects"] += 1
        releases = session.resume(receive_maximum=_number(packet.properties, Property.RECEIVE_MAXIMUM, 65_535))
        answer = Connack(present, Reason.SUCCESS, properties if packet.version >= 5 else {})
        if self.reading_paused:
            connection.hold(Hold.DISK)
        self.check_soon(connection, connection.keepalive_s * 1.5 or 3600)
        self.intake.connected(client)
        if not (session.kept or was_logged or packet.will is not None):
            connection.welcome(answer, releases)
            return
        session.logged = True
        opened = self._opened(session, is_new=not present, connected=True, will=packet.will)

        def on_kept(error: Exception | None) -> None:
            if error is None:
                connection.welcome(answer, releases)
            elif not connection.ended:
                self.counters["intake_refusals"] += 1
                self._say("intake", "%r cannot be welcomed: %s", client_id[:80], error)
                connection.will = None
                connection.refuse(Reason.SERVER_UNAVAILABLE, "what you are promised could not be stored; try again")

        self.keep([opened], on_kept)

    def on_disconnect(self, connection: Connection, packet: Disconnect) -> None:
        if packet.reason != Reason.DISCONNECT_WITH_WILL:
            connection.will = None
        expiry_s = packet.properties.get(Property.SESSION_EXPIRY_INTERVAL)
        if isinstance(expiry_s, int):
            if connection.session.expiry_s == 0 and expiry_s:
                raise MalformedPacket("a session that ends now cannot be kept", reason=Reason.PROTOCOL_ERROR)
            connection.session.expiry_s = min(expiry_s, self.settings.session_expiry_s_max)
        connection.finish("the client said goodbye")

    def on_malformed(self, connection: Connection, error: MalformedPacket, data: bytes) -> None:
        """Bytes that are not MQTT, or against its rules, end the connection they came on, and nothing else."""
        if connection.ended:
            return
        self.counters["malformed_packets"] += 1
        who = "nobody yet"
        if connection.client is not None:
            who = repr(connection.client.client_id[:80])
        hint = next((f" ({hint})" for start, hint in _HINTS if data.startswith(start)), "")
        self._say(
            connection.address.rpartition(":")[0], "closed %s, %s: %s%s", connection.address, who, error,
            hint if connection.state is State.NEW else "",
        )  # fmt: skip
        if connection.state is State.NEW and error.reason == Reason.UNSUPPORTED_PROTOCOL_VERSION:
            connection.send(Connack(False, error.reason))
        connection.end(error.reason, str(error))

    def on_left(self, connection: Connection, reason: str) -> None:
        """A connection that was accepted has ended."""
        client, session = connection.client, connection.session
        assert client is not None
        if self._connected.get(client.client_id) is connection:
            del self._connected[client.client_id]
        _log.debug("%r left: %s", client.client_id, reason)
        self._settle_now(session)
        if not self.stopping:
            self._leave(connection, client, session, reason)
        else:  # the log keeps it as it was: its will is due when the hub is back and the client is not
            self.intake.disconnected(client, reason)

    def _leave(self, connection: Connection, client: Client, session: Session, reason: str) -> None:
        if connection.will is not None:
            self._leave_will(client, connection.will, session)
        self.intake.disconnected(client, reason)
        if not session.kept:
            self._forget(session)
            return
        self._absent[client.client_id] = self.now_ns() + session.expiry_s * _SECOND_NS
        self.keep([self._opened(session, connected=False)])

    # -- messages in -------------------------------------------------------------------------------------------------

    def route_of(self, client: Client, topic: str) -> Route:
        """Where a client's messages on `topic` go, and whether they may. MalformedPacket for too many levels."""
        if topic.count("/") >= TOPIC_LEVELS_MAX:
            raise MalformedPacket(
                f"a topic has at most {TOPIC_LEVELS_MAX} levels, not {topic.count('/') + 1}",
                reason=Reason.TOPIC_NAME_INVALID,
            )
        return Route(topic, self._authority.may_publish(client, topic), self.intake.wants(topic))

    def on_refused(self, connection: Connection, topic: str) -> None:
        self.counters["refused_topics"] += 1
        who = connection.client.client_id[:80] if connection.client else "?"
        self._say(who, "%r may not publish to %r; a device has penstock/v1/ITS-ID/ alone", who, topic[:100])

    def take(self, client: Client, messages: Sequence[Message], size: int, on_taken: OnTaken) -> None:
        """Hand messages to the pipeline; read from nobody while too much waits for the disk."""
        self.messages_in += len(messages)
        self.add_undurable(size)
        self.intake.take(client, messages, on_taken)

    def add_undurable(self, size: int) -> None:
        """That much waits for the disk."""
        self.undurable_bytes += size
        if self.undurable_bytes > self.settings.undurable_bytes_max and not self.reading_paused:
            self.reading_paused = True
            self.counters["reading_pauses"] += 1
            for connection in self.connections:
                connection.hold(Hold.DISK)

    def on_durable(self, size: int) -> None:
        """That much does not wait for the disk any more."""
        self.undurable_bytes -= size
        if self.reading_paused and self.undurable_bytes < self.settings.undurable_bytes_max // 2:
            self.reading_paused = False
            if not self.stopping:
                for connection in list(self.connections):
                    connection.release(Hold.DISK)
        if self.stopping and not self.undurable_bytes:
            self._wake()

    def mark(self, session: Session, packet_id: int) -> bytes:
        """What a message of QoS 2 is known by on the stream that it goes to."""
        self._mark += 1
        return make_mark(self._mark, packet_id, session.client_id)

    def on_taken_once(self, session: Session, marks: Sequence[Mark], *, taken: bool) -> None:
        """Messages of QoS 2 are where they belong, or could not be brought there."""
        for each in marks:
            session.end_taking(each.packet_id, taken=taken)
        if taken and session.kept:
            entries = [Taken(session.client_id, packet_id, mark) for packet_id, mark in marks if mark]
            if entries:
                self.keep(entries)

    def on_intake_refusal(self, connection: Connection, count: int, error: Exception) -> None:
        """What a client sent could not be taken: it keeps it, and must come again."""
        self.counters["intake_refusals"] += max(count, 1)
        self._say("intake", "messages of %s are not acknowledged: %s", connection.address, error)
        connection.end(Reason.IMPLEMENTATION_SPECIFIC_ERROR, "the message could not be stored; send it again later")

    def answer_elsewhere(self, session: Session, answers: bytes) -> None:
        """What came on a connection that has ended is answered on the one that its client has now."""
        connection = self._connected.get(session.client_id)
        if connection is not None and connection.session is session:
            connection.send_bytes(answers)

    def route(
        self,
        topic: str,
        packet: Publish,
        *,
        sender: str | None,
        extra: Sequence[Entry] = (),
        on_kept: OnKept | None = None,
    ) -> Routed:
        """Give a message to everybody who subscribed to it.

        `extra` is remembered together with it. When something must be on disk, `on_kept` is called once it is.
        """
        if sender is not None:
            self.messages_in += 1
        now_ns = self.now_ns()
        expiry_s = packet.properties.get(Property.MESSAGE_EXPIRY_INTERVAL)
        expires_ns = now_ns + expiry_s * _SECOND_NS if isinstance(expiry_s, int) else None
        common = {name: value for name, value in packet.properties.items() if name not in _NOT_ROUTED}
        entries: list[Entry] = list(extra)
        if packet.retain:
            entries += self._retain(topic, packet, common, expires_ns)
        given: list[tuple[Connection | None, Session, Outgoing]] = []
        targets: list[Target] = []
        for client_id, match in self._tree.match(topic, self._connected.__contains__).items():
            qos = min(packet.qos, match.qos)
            connection = self._connected.get(client_id)
            if (match.no_local and client_id == sender) or (connection is None and not qos):
                continue
            properties = common
            if match.identifiers:
                properties = {**common, Property.SUBSCRIPTION_IDENTIFIER: list(match.identifiers)}
            retain = packet.retain and match.retain_as_published
            session = self._sessions[client_id]
            message = Outgoing(topic, packet.payload, qos, retain, properties, expires_ns, share=match.share)
            if not self._enqueue(session, message):
                continue
            given.append((connection, session, message))
            if qos and session.kept:
                message.logged = True
                targets.append(Target(client_id, message.packet_id, qos, retain, match.identifiers))
        if targets:
            kept = Publish(topic, packet.payload, 0, 0, packet.retain, False, common)
            entries.append(Queued(kept, tuple(targets), self._wall_ms(expires_ns)))
        if entries:
            self._keep_given(entries, [each for each in given if each[2].qos == 2], on_kept)
        for connection, _, _ in given:
            if connection is not None:
                connection.pump()
        return Routed(len(given), bool(entries))

    def _retain(self, topic: str, packet: Publish, common: Properties, expires_ns: int | None) -> list[Entry]:
        kept = Publish(topic, packet.payload, packet.qos, 0, True, False, common)
        if not self._retained.keep(kept, expires_ns):
            self.counters["refused_retained"] += 1
            self._say("retained", "there is no room to retain %r; see hub.mqtt.retained_*_max", topic[:100])
            return [Retained(topic, None)]
        return [Retained(topic, kept if packet.payload else None, self._wall_ms(expires_ns))]

    def _keep_given(
        self,
        entries: Sequence[Entry],
        once: Sequence[tuple[Connection | None, Session, Outgoing]],
        on_kept: OnKept | None,
    ) -> None:
        """Remember a message. Those who must not get it twice get it when it is on disk, or not at all."""
        for _, _, message in once:
            message.held = True

        def on_all_kept(error: Exception | None) -> None:
            for _, session, message in once:
                message.held = False
                if error is not None:
                    session.withdraw(message)
                connection = self._connected.get(session.client_id)
                if connection is not None:
                    connection.pump()
            if on_kept is not None:
                on_kept(error)

        self.keep(entries, on_all_kept if once or on_kept else None)

    def publish_to(
        self, client_id: str, topic: str, payload: bytes, qos: int, on_delivered: OnDelivered | None
    ) -> bool:
        """A message for one client, if it is there and subscribed to the topic."""
        granted = self._tree.qos_of(client_id, topic)
        connection = self._connected.get(client_id)
        if granted is None or connection is None:
            return False
        # not remembered: whoever asks for it will ask again after a restart; so it cannot be of QoS 2
        message = Outgoing(topic, payload, min(qos, granted, 1), on_delivered=on_delivered)
        if not self._enqueue(connection.session, message):
            return False
        connection.pump()
        return True

    def _enqueue(self, session: Session, message: Outgoing, *, count: bool = True) -> bool:
        if session.enqueue(message, count=count):
            return True
        self.counters["queue_drops"] += 1
        self._say(
            f"queue {session.client_id}",
            "%r takes its messages too slowly: one is dropped, %d wait; see hub.mqtt.session_queue_*_max",
            session.client_id[:80],
            session.unsettled,
        )
        return False

    # -- subscriptions -----------------------------------------------------------------------------------------------

    def on_subscribe(self, connection: Connection, packet: Subscribe) -> None:
        client, session = connection.client, connection.session
        assert client is not None
        identifiers = packet.properties.get(Property.SUBSCRIPTION_IDENTIFIER)
        identifier = identifiers[0] if isinstance(identifiers, list) else None
        reasons: list[int] = []
        retained: list[Outgoing] = []
        held: list[Held] = []
        for each in packet.subscriptions:
            reason, wants_retained = self._subscribe(session, client, each, identifier)
            reasons.append(reason)
            if reason < 0x80:
                held.append(Held(each, identifier))
            if wants_retained:
                retained += self._retained_for(each, identifier)
        answer = Suback(packet.packet_id, tuple(reasons))
        entries: list[Entry] = [Subscribed(session.client_id, tuple(held))] if held and session.kept else []
        taken = [message for message in retained if self._enqueue(session, message, count=False)]
        if entries:
            entries += self._queue_entries(session, taken)
        self._answer_when_kept(connection, answer, entries, [message for message in taken if message.qos == 2])

    def _queue_entries(self, session: Session, messages: Sequence[Outgoing]) -> Iterator[Entry]:
        for message in messages:
            if message.qos:
                message.logged = True
                yield self._queued(session.client_id, message)

    def _answer_when_kept(
        self,
        connection: Connection,
        answer: Suback | Unsuback,
        entries: Sequence[Entry],
        once: Sequence[Outgoing] = (),
    ) -> None:
        if not entries:
            connection.send(answer)
            connection.pump()
            return
        session = connection.session
        answers = connection.reserve(0)
        for message in once:
            message.held = True

        def on_kept(error: Exception | None) -> None:
            for message in once:
                message.held = False
            answers.data = connection.encoded(answer)
            connection.on_kept(answers, error)
            now = self._connected.get(session.client_id)
            if now is not None and now.session is session:
                now.pump()

        self.keep(entries, on_kept)

    def on_unsubscribe(self, connection: Connection, packet: Unsubscribe) -> None:
        session = connection.session
        reasons = []
        gone = []
        for topic_filter in packet.topic_filters:
            known = session.subscriptions.pop(topic_filter, None) is not None
            if known:
                gone.append(topic_filter)
                self._tree.remove(session.client_id, topic_filter)
            reasons.append(Reason.SUCCESS if known else Reason.NO_SUBSCRIPTION_EXISTED)
        answer = Unsuback(packet.packet_id, tuple(reasons))
        entries = [Unsubscribed(session.client_id, tuple(gone))] if gone and session.kept else []
        self._answer_when_kept(connection, answer, entries)

    def _subscribe(
        self, session: Session, client: Client, each: Subscription, identifier: int | None
    ) -> tuple[int, bool]:
        """The answer, and whether retained messages follow."""
        share, levels = parse_filter(each.topic_filter)
        if share is not None and each.no_local:
            raise MalformedPacket("a shared subscription cannot be no-local", reason=Reason.PROTOCOL_ERROR)
        if not self._authority.may_subscribe(client, "/".join(levels)):
            self.counters["refused_topics"] += 1
            who = client.client_id[:80]
            self._say(who, "%r may not subscribe to %r", who, each.topic_filter[:100])
            return Reason.NOT_AUTHORIZED, False
        is_new = each.topic_filter not in session.subscriptions
        if is_new and len(session.subscriptions) >= self.settings.subscriptions_max:
            self.counters["refused_topics"] += 1
            return Reason.QUOTA_EXCEEDED, False
        held = Held(each, identifier)
        session.subscriptions[each.topic_filter] = held
        self._tree.add(session.client_id, held)
        return each.qos, share is None and (each.retain_handling == 0 or (each.retain_handling == 1 and is_new))

    def _retained_for(self, each: Subscription, identifier: int | None) -> list[Outgoing]:
        _, levels = parse_filter(each.topic_filter)
        more: Properties = {} if identifier is None else {Property.SUBSCRIPTION_IDENTIFIER: [identifier]}

        def outgoing(kept: Kept) -> Outgoing:
            message = kept.message
            properties = {**message.properties, **more}
            qos = min(message.qos, each.qos)
            return Outgoing(message.topic, message.payload, qos, True, properties, kept.expires_ns)

        return [outgoing(kept) for kept in self._retained.matching(levels, self.now_ns())]

    # -- time --------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Once in a while: end who was silent for too long, forget sessions and publish wills whose time has come."""
        now_ns = self.now_ns()
        self.next_tick_ns = now_ns + TICK_NS
        _ = self.counters  # up to date for who follows it
        now_tick = now_ns // TICK_NS
        for tick in sorted(tick for tick in self._wheel if tick <= now_tick):
            for connection in self._wheel.pop(tick):
                connection.check_tick = None
                self._guarded(connection, lambda each: self._check(each, now_ns))
        while self._absent:  # in no order: each has its own time
            over = [client_id for client_id, ends_ns in self._absent.items() if ends_ns <= now_ns]
            if not over:
                break
            for client_id in over:
                self._forget(self._sessions[client_id])
        for pending in [each for each in self._wills.values() if each.due_ns <= now_ns]:
            self._publish_will(pending.client, pending.will)
        if self.settings.sys_interval_s and now_ns >= self._sys_due_ns:
            self._sys_due_ns = now_ns + round(self.settings.sys_interval_s * _SECOND_NS)
            self._publish_system_topics(now_ns)

    def _publish_system_topics(self, now_ns: int) -> None:
        found = system_topics(
            self.counters,
            uptime_s=(now_ns - self._started_ns) // _SECOND_NS,
            clients_connected=len(self._connected),
            sessions=len(self._sessions),
            subscriptions=self._tree.count,
            retained=len(self._retained),
            kept_bytes=self._budget.used,
        )
        for topic, payload in found.items():
            self._retained.keep(Publish(topic, payload, retain=True), None)
            self.route(topic, Publish(topic, payload), sender=None)

    def _check(self, connection: Connection, now_ns: int) -> None:
        again_ns = connection.check_time(now_ns)
        if again_ns is not None:
            self.check_soon(connection, (again_ns - now_ns) / _SECOND_NS)

    def check_soon(self, connection: Connection, in_s: float) -> None:
        """Look at a connection then, or before."""
        wait_ns = min(max(round(in_s * _SECOND_NS), 0), CHECK_NS_MAX)
        tick = (self.now_ns() + wait_ns) // TICK_NS + 1
        filed = connection.check_tick
        if connection.ended or (filed is not None and filed <= tick):
            return
        self._unfile(connection)
        connection.check_tick = tick
        self._wheel.setdefault(tick, {})[connection] = None

    def _unfile(self, connection: Connection) -> None:
        if connection.check_tick is not None:
            bucket = self._wheel.get(connection.check_tick)
            if bucket is not None:
                bucket.pop(connection, None)
            connection.check_tick = None

    def to_flush(self, connection: Connection) -> None:
        """It has something to write."""
        if not self._to_flush and not self._to_settle:
            self._wake()
        self._to_flush.append(connection)

    def flush(self) -> None:
        """Let every connection write what was gathered for it."""
        waiting, self._to_flush = self._to_flush, []
        for connection in waiting:
            try:
                connection.flush()
            except Exception:
                self._failed(connection)
        if self._to_settle:
            sessions, self._to_settle = self._to_settle, {}
            for session in sessions.values():
                self._settle_now(session)

    def to_settle(self, session: Session) -> None:
        """Messages have left it, which the log must be told: at the end of this turn of the loop."""
        if not self._to_flush and not self._to_settle:
            self._wake()
        self._to_settle[session.client_id] = session

    def _settle_now(self, session: Session) -> None:
        if session.settled:
            ids, session.settled = tuple(session.settled), []
            self.keep([Settled(session.client_id, ids)])

    def keep(self, entries: Sequence[Entry], on_kept: OnKept | None = None) -> None:
        """Remember entries; what left sessions before is remembered before them."""
        if self._to_settle:
            sessions, self._to_settle = self._to_settle, {}
            settled = [Settled(each.client_id, tuple(each.settled)) for each in sessions.values() if each.settled]
            for session in sessions.values():
                session.settled = []
            entries = [*settled, *entries]
        self.memory.keep(entries, on_kept)

    def _guarded(self, connection: Connection, work: Callable[[Connection], None]) -> None:
        """A defect of ours that one client brings to light must not reach the others."""
        try:
            work(connection)
        except Exception:
            self._failed(connection)

    def _failed(self, connection: Connection) -> None:
        _log.exception("the connection of %s failed", connection.address)
        connection.finish("a defect of the hub")

    def connected_clients(self) -> list[Client]:
        return [each.client for each in self._connected.values() if each.client is not None]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _refusal(self, client: Client, packet: Connect) -> tuple[Reason | None, str]:
        client_id = client.client_id
        nameless = not packet.client_id and packet.version < 5 and not packet.clean_start
        if len(client_id.encode()) > CLIENT_ID_BYTES_MAX or nameless:
            return Reason.CLIENT_IDENTIFIER_NOT_VALID, "a client id has 1 to 256 bytes"
        if Property.AUTHENTICATION_METHOD in packet.properties:
            return Reason.BAD_AUTHENTICATION_METHOD, "use a user name and password, or a certificate"
        if not self._authority.admit(client, packet.password):
            return Reason.NOT_AUTHORIZED, ""
        if packet.will is not None:
            if not self._authority.may_publish(client, packet.will.topic):
                return Reason.NOT_AUTHORIZED, "its will is on a topic that is not its own"
            if packet.will.topic.count("/") >= TOPIC_LEVELS_MAX:
                return Reason.TOPIC_NAME_INVALID, f"a topic has at most {TOPIC_LEVELS_MAX} levels"
        if client_id not in self._sessions and len(self._sessions) >= self.settings.sessions_max and not self._absent:
            return Reason.SERVER_BUSY, "there are too many sessions"
        return None, ""

    def _take_over(self, client_id: str, packet: Connect) -> None:
        """The client is here again: its older connection ends, and no will is due that waited for its return."""
        older = self._connected.get(client_id)
        if older is not None:
            self.counters["takeovers"] += 1
            older.end(Reason.SESSION_TAKEN_OVER, "another connection took over its client id")
        if not packet.clean_start:
            self._wills.pop(client_id, None)

    def _session(self, client: Client, packet: Connect) -> tuple[Session, bool]:
        """The client's session, and whether it was there before. Nobody gets the session of another user."""
        client_id = client.client_id
        owner = client.certificate or client.username
        found = self._sessions.get(client_id)
        if found is not None and (packet.clean_start or found.owner != owner):
            self._forget(found)
            found = None
        self._absent.pop(client_id, None)
        if found is not None:
            self._check_subscriptions(client, found)
            return found, True
        if len(self._sessions) >= self.settings.sessions_max:
            self.counters["sessions_evicted"] += 1
            self._forget(self._sessions[next(iter(self._absent))])
        session = self._new_session(client_id)
        session.owner = owner
        return session, False

    def _new_session(self, client_id: str) -> Session:
        session = self._sessions[client_id] = Session(
            client_id,
            inflight_max=self.settings.inflight_max,
            queue_messages_max=self.settings.session_queue_messages_max,
            queue_bytes_max=self.settings.session_queue_bytes_max,
            budget=self._budget,
        )
        return session

    def _check_subscriptions(self, client: Client, session: Session) -> None:
        """The rules may have changed since the client subscribed."""
        for topic_filter in list(session.subscriptions):
            _, levels = parse_filter(topic_filter)
            if not self._authority.may_subscribe(client, "/".join(levels)):
                del session.subscriptions[topic_filter]
                self._tree.remove(session.client_id, topic_filter)
                self.keep([Unsubscribed(session.client_id, (topic_filter,))])

    def _grant(self, connection: Connection, packet: Connect, session: Session, properties: Properties) -> None:
        """What the client asked for, as far as the limits allow; where not, it is told."""
        settings = self.settings
        connection.keepalive_s = packet.keepalive_s
        session.version = packet.version
        if packet.version < 5:
            session.expiry_s = 0 if packet.clean_start else settings.session_expiry_s_max
            return
        connection.aliases_max = min(
            _number(packet.properties, Property.TOPIC_ALIAS_MAXIMUM, 0), settings.topic_alias_maximum
        )
        connection.wants_reasons = bool(_number(packet.properties, Property.REQUEST_PROBLEM_INFORMATION, 1))
        asked_s = _number(packet.properties, Property.SESSION_EXPIRY_INTERVAL, 0)
        session.expiry_s = min(asked_s, settings.session_expiry_s_max)
        if session.expiry_s != asked_s:
            properties[Property.SESSION_EXPIRY_INTERVAL] = session.expiry_s
        if not 0 < packet.keepalive_s <= settings.keepalive_s_max:
            connection.keepalive_s = properties[Property.SERVER_KEEP_ALIVE] = settings.keepalive_s_max
        connection.receive_maximum = properties[Property.RECEIVE_MAXIMUM] = self._receive_maximum()
        properties[Property.MAXIMUM_PACKET_SIZE] = settings.packet_bytes_max
        properties[Property.TOPIC_ALIAS_MAXIMUM] = settings.topic_alias_maximum

    def _receive_maximum(self) -> int:
        """Smaller the more waits for the disk: a hub that falls behind lets its clients send less at once."""
        free = max(0.0, 1.0 - self.undurable_bytes / self.settings.undurable_bytes_max)
        return max(1, round(self.settings.receive_maximum * free))

    def _leave_will(self, client: Client, will: Will, session: Session) -> None:
        delay_s = min(_number(will.properties, Property.WILL_DELAY_INTERVAL, 0), session.expiry_s)
        if delay_s == 0:
            self._publish_will(client, will)
        else:
            self._wills[client.client_id] = _PendingWill(client, will, self.now_ns() + delay_s * _SECOND_NS)

    def _publish_will(self, client: Client, will: Will) -> None:
        self._wills.pop(client.client_id, None)
        session = self._sessions.get(client.client_id)
        done: list[Entry] = []
        if session is not None and session.logged and session.client_id not in self._connected:
            done.append(self._opened(session, connected=False))  # without the will
        if not self.intake.wants(will.topic):
            packet = Publish(will.topic, will.payload, will.qos, 0, will.retain, False, will.properties)
            self.route(will.topic, packet, sender=client.client_id, extra=done)
            return
        size = len(will.payload)

        def on_taken(error: Exception | None) -> None:
            self.on_durable(size)
            if error is not None:
                self.counters["intake_refusals"] += 1
            elif done:
                self.keep(done)

        self.take(client, [Message(will.topic, will.payload, will.qos, will.retain)], size, on_taken)

    def _forget(self, session: Session) -> None:
        """The session ends; a will that waited for that is due, and what was shared goes to another who shares it."""
        client_id = session.client_id
        for topic_filter in session.subscriptions:
            self._tree.remove(client_id, topic_filter)
        self._absent.pop(client_id, None)
        self._sessions.pop(client_id, None)
        self._to_settle.pop(client_id, None)
        for message in session.discard():
            if message.share is not None and message.qos == 1:
                self._share_again(message.share, message)
        pending = self._wills.get(client_id)
        if pending is not None:
            self._publish_will(pending.client, pending.will)
        if session.logged:
            self.keep([Ended(client_id)])

    def _share_again(self, share: str, message: Outgoing) -> None:
        """Give another holder of a shared subscription what the one before did not acknowledge (5.0, 4.8.2)."""
        found = self._tree.match_share(share, self._connected.__contains__)
        if found is None:
            return
        client_id, held = found
        session, connection = self._sessions[client_id], self._connected.get(client_id)
        properties = {name: value for name, value in message.properties.items() if name not in _NOT_ROUTED}
        if held.identifier is not None:
            properties[Property.SUBSCRIPTION_IDENTIFIER] = [held.identifier]
        again = Outgoing(
            message.topic, message.payload, min(1, held.options.qos), message.retain, properties, message.expires_ns,
            share=share,
        )  # fmt: skip
        if (connection is None and not again.qos) or not self._enqueue(session, again):
            return
        if again.qos and session.kept:
            again.logged = True
            self.keep([self._queued(client_id, again)])
        if connection is not None:
            connection.pump()

    # -- a restart of the hub ----------------------------------------------------------------------------------------

    def _opened(self, session: Session, *, connected: bool, is_new: bool = False, will: Will | None = None) -> Opened:
        pending = self._wills.get(session.client_id)
        if pending is not None and not connected:
            will = pending.will
        return Opened(
            session.client_id,
            session.version,
            session.expiry_s,
            owner=session.owner,
            is_new=is_new,
            connected=connected,
            ends_ms=None if connected else self._wall_ms(self._absent.get(session.client_id)),
            will=will,
            will_due_ms=self._wall_ms(pending.due_ns) if pending is not None and not connected else None,
        )

    def _queued(self, client_id: str, message: Outgoing) -> Queued:
        identifiers = message.properties.get(Property.SUBSCRIPTION_IDENTIFIER)
        properties = {name: each for name, each in message.properties.items() if name not in _NOT_ROUTED}
        target = Target(
            client_id,
            message.packet_id,
            message.qos,
            message.retain,
            tuple(identifiers) if isinstance(identifiers, list) else (),
        )
        kept = Publish(message.topic, message.payload, 0, 0, message.retain, False, properties)
        return Queued(kept, (target,), self._wall_ms(message.expires_ns))

    def entries_of_session(self, client_id: str) -> list[Entry]:
        """All that is remembered of a session, as if it had just been made. Empty when there is none any more."""
        session = self._sessions.get(client_id)
        if session is None or not session.logged:
            return []
        connection = self._connected.get(client_id)
        will = connection.will if connection is not None else None
        opened = self._opened(session, connected=connection is not None, is_new=True, will=will)
        entries: list[Entry] = [opened]
        if session.subscriptions:
            entries.append(Subscribed(client_id, tuple(session.subscriptions.values())))
        received = []
        for message, has in session.unsettled_messages():
            if message.logged:
                entries.append(self._queued(client_id, message))
                if has:
                    received.append(message.packet_id)
        if received:
            entries.append(Received(client_id, tuple(received)))
        return entries + [Taken(client_id, packet_id) for packet_id in session.taken_ids()]

    def entry_of_retained(self, topic: str) -> Retained | None:
        """The retained message of a topic."""
        kept = self._retained.find(topic)
        return None if kept is None else Retained(topic, kept.message, self._wall_ms(kept.expires_ns))

    @property
    def kept_bytes(self) -> int:
        """About how much is remembered."""
        return self._budget.used + self._retained.bytes + 500 * len(self._sessions)

    def restore(self, entry: Entry) -> None:
        """Fold what was remembered before the start, in order; then call `restored`."""
        match entry:
            case Opened():
                self._restore_opened(entry)
            case Ended(client_id):
                self._wills.pop(client_id, None)
                if (session := self._sessions.get(client_id)) is not None:
                    session.logged = False
                    self._forget(session)
            case Queued():
                self._restore_queued(entry)
            case Retained(topic, message, expires_ms):
                gone = Publish(topic, b"", retain=True)
                self._retained.keep(message or gone, self._own_ns(expires_ms))
            case Scanned():
                self._seen_marks.clear()
            case _:
                session = self._sessions.get(entry.client_id)
                if session is not None:
                    self._restore_session(session, entry)

    def _restore_session(
        self, session: Session, entry: Subscribed | Unsubscribed | Settled | Received | Taken | Released
    ) -> None:
        match entry:
            case Subscribed(client_id, held):
                for each in held:
                    session.subscriptions[each.options.topic_filter] = each
                    self._tree.add(client_id, each)
            case Unsubscribed(client_id, topic_filters):
                for topic_filter in topic_filters:
                    if session.subscriptions.pop(topic_filter, None) is not None:
                        self._tree.remove(client_id, topic_filter)
            case Settled(_, packet_ids):
                for packet_id in packet_ids:
                    session.forget(packet_id)
            case Received(_, packet_ids):
                for packet_id in packet_ids:
                    session.restore_received(packet_id)
            case Taken(_, packet_id, mark):
                session.end_taking(packet_id, taken=True)
                if mark:
                    self._seen_marks.add(mark)
            case Released(_, packet_ids):
                for packet_id in packet_ids:
                    session.release(packet_id)
                    session.on_released(packet_id)

    def _restore_opened(self, entry: Opened) -> None:
        client_id = entry.client_id
        session = self._sessions.get(client_id)
        self._wills.pop(client_id, None)
        if session is not None and entry.is_new:
            session.logged = False
            self._forget(session)
            session = None
        if session is None:
            session = self._new_session(client_id)
        session.logged, session.owner, session.version = True, entry.owner, entry.version
        session.expiry_s = entry.expiry_s
        if entry.connected:
            self._present.add(client_id)
            session.restore_connection()
        else:
            self._present.discard(client_id)
        now_ns = self.now_ns()
        ends_ns = self._own_ns(entry.ends_ms)
        self._absent[client_id] = now_ns + entry.expiry_s * _SECOND_NS if ends_ns is None else ends_ns
        if entry.will is not None:
            delay_s = min(_number(entry.will.properties, Property.WILL_DELAY_INTERVAL, 0), entry.expiry_s)
            due_ns = self._own_ns(entry.will_due_ms)
            if due_ns is None:
                due_ns = now_ns + delay_s * _SECOND_NS
            self._wills[client_id] = _PendingWill(
                Client(client_id, entry.owner, "-", entry.version), entry.will, due_ns
            )

    def _restore_queued(self, entry: Queued) -> None:
        expires_ns = self._own_ns(entry.expires_ms)
        for target in entry.targets:
            session = self._sessions.get(target.client_id)
            if session is None:
                continue
            properties = dict(entry.message.properties)
            if target.identifiers:
                properties[Property.SUBSCRIPTION_IDENTIFIER] = list(target.identifiers)
            message = Outgoing(
                entry.message.topic, entry.message.payload, target.qos, target.retain, properties, expires_ns,
                packet_id=target.packet_id, logged=True,
            )  # fmt: skip
            session.restore(message, connected=target.client_id in self._present)

    def restore_mark(self, data: bytes) -> None:
        """A message of QoS 2 stands on another stream; perhaps its client was never told."""
        if data in self._seen_marks:
            return
        mark = read_mark(data)
        session = self._sessions.get(mark.client_id)
        if session is not None:
            session.end_taking(mark.packet_id, taken=True)
            self.keep([Taken(mark.client_id, mark.packet_id, data)])

    def restored(self) -> None:
        """Everything was folded: whoever was connected is absent now."""
        self._seen_marks.clear()
        absent = [self._opened(self._sessions[name], connected=False) for name in self._present & self._sessions.keys()]
        self._present.clear()
        if absent:
            self.keep(absent)
        for session in self._sessions.values():
            session.restored()
        self.counters["sessions_restored"] = len(self._sessions)
        self.tick()

    def _wall_ms(self, own_ns: int | None) -> int | None:
        """A monotonic time as milliseconds since 1970."""
        return None if own_ns is None else (self._wall_ns() + own_ns - self.now_ns()) // 1_000_000

    def _own_ns(self, wall_ms: int | None) -> int | None:
        """The other way round."""
        return None if wall_ms is None else wall_ms * 1_000_000 - self._wall_ns() + self.now_ns()

    def _say(self, key: str, text: str, *values: object) -> None:
        held_back = self._quiet.due(key)
        if held_back is not None:
            _log.warning(text + (f" ({held_back} times more before)" if held_back else ""), *values)


def _number(properties: Properties, name: Property, default: int) -> int:
    value = properties.get(name, default)
    return value if isinstance(value, int) else default
