"""The rules of MQTT that span connections, without I/O: sessions, take-over, wills, subscriptions, routing.

One connection's bytes are in connection.py, one session's messages in session.py; gateway.py has the sockets.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hub.authority import OURS
from hub.connection import Connection, Hold, Route, State
from hub.gateway_settings import GatewaySettings
from hub.intake import Authority, Client, Intake, Message, OnTaken
from hub.quiet import Quiet
from hub.retained import Kept, RetainedMessages
from hub.session import OnDelivered, Outgoing, QueueBudget, Session
from hub.subscriptions import TOPIC_LEVELS_MAX, Held, SubscriptionTree, parse_filter
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
    "sessions_evicted",
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
    ) -> None:
        self.settings = settings
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self.now_ns = clock.monotonic_ns
        self.undurable_bytes = 0
        self.stopping = False
        self.connections: set[Connection] = set()
        """Every one that has not ended, or whose link is not gone yet."""
        self._intake = intake
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
        self._reading_paused = False
        self._to_flush: list[Connection] = []

    # -- connections -------------------------------------------------------------------------------------------------

    def open(self, connection: Connection) -> None:
        """A connection was made."""
        self.connections.add(connection)
        self.counters["connections"] = len(self.connections)
        if len(self.connections) > self.settings.connections_max or self.stopping:
            self.counters["refused_full"] += 1
            self._say("full", "refused %s: %d connections are open", connection.address, len(self.connections) - 1)
            connection.finish("there are too many connections")

    def closed(self, connection: Connection, reason: str) -> None:
        """Its link is gone."""
        connection.finish(reason)
        self.connections.discard(connection)
        self.counters["connections"] = len(self.connections)

    def on_connect(self, connection: Connection, packet: Connect) -> None:
        connection.version = packet.version
        properties: Properties = {}
        client_id = packet.client_id
        if not client_id:
            client_id = properties[Property.ASSIGNED_CLIENT_IDENTIFIER] = f"auto-{secrets.token_hex(8)}"
        client = Client(client_id, packet.username, connection.address, packet.version)
        refusal = self._refusal(client, packet)
        if refusal is not None:
            self.counters["refused_connects"] += 1
            self._say(connection.address.rpartition(":")[0], "refused %s (%r): %s", connection.address,
                      client_id[:80], refusal.name)  # fmt: skip
            connection.send(Connack(False, refusal))
            connection.finish("its CONNECT was refused")
            return
        self._take_over(client_id, packet)
        session, present = self._session(client_id, packet)
        connection.will = packet.will
        connection.packet_bytes_max = _number(packet.properties, Property.MAXIMUM_PACKET_SIZE, 0)
        self._grant(connection, packet, session, properties)
        self._connected[client_id] = connection
        self.counters["connects"] += 1
        answer = Connack(present, Reason.SUCCESS, properties if packet.version >= 5 else {})
        connection.welcome(
            client, session, answer, receive_maximum=_number(packet.properties, Property.RECEIVE_MAXIMUM, 65_535)
        )
        if self._reading_paused:
            connection.hold(Hold.DISK)
        self._intake.connected(client)

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
        if connection.will is not None and not self.stopping:
            self._leave_will(client, connection.will, session)
        self._intake.disconnected(client, reason)
        if session.expiry_s == 0:
            self._forget(session)
        else:
            self._absent[client.client_id] = self.now_ns() + session.expiry_s * _SECOND_NS

    # -- messages in -------------------------------------------------------------------------------------------------

    def route_of(self, client: Client, topic: str) -> Route:
        """Where a client's messages on `topic` go, and whether they may. MalformedPacket for too many levels."""
        if topic.count("/") >= TOPIC_LEVELS_MAX:
            raise MalformedPacket(
                f"a topic has at most {TOPIC_LEVELS_MAX} levels, not {topic.count('/') + 1}",
                reason=Reason.TOPIC_NAME_INVALID,
            )
        return Route(topic, self._authority.may_publish(client, topic), self._intake.wants(topic))

    def on_refused(self, connection: Connection, topic: str) -> None:
        self.counters["refused_topics"] += 1
        who = connection.client.client_id[:80] if connection.client else "?"
        self._say(who, "%r may not publish to %r; a device has penstock/v1/ITS-ID/ alone", who, topic[:100])

    def take(self, client: Client, messages: Sequence[Message], size: int, on_taken: OnTaken) -> None:
        """Hand messages to the pipeline; read from nobody while too much waits for the disk."""
        self.counters["messages_in"] += len(messages)
        self.undurable_bytes += size
        if self.undurable_bytes > self.settings.undurable_bytes_max and not self._reading_paused:
            self._reading_paused = True
            self.counters["reading_pauses"] += 1
            for connection in self.connections:
                connection.hold(Hold.DISK)
        self._intake.take(client, messages, on_taken)

    def on_durable(self, size: int) -> None:
        """That much does not wait for the disk any more."""
        self.undurable_bytes -= size
        if self._reading_paused and self.undurable_bytes < self.settings.undurable_bytes_max // 2:
            self._reading_paused = False
            if not self.stopping:
                for connection in list(self.connections):
                    connection.release(Hold.DISK)
        if self.stopping and not self.undurable_bytes:
            self._wake()

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

    def route(self, topic: str, packet: Publish, *, sender: str | None) -> int:
        """Give a message to everybody who subscribed to it; returns how many sessions took it."""
        if sender is not None:
            self.counters["messages_in"] += 1
        now_ns = self.now_ns()
        expiry_s = packet.properties.get(Property.MESSAGE_EXPIRY_INTERVAL)
        expires_ns = now_ns + expiry_s * _SECOND_NS if isinstance(expiry_s, int) else None
        common = {name: value for name, value in packet.properties.items() if name not in _NOT_ROUTED}
        if packet.retain:
            kept = Publish(topic, packet.payload, packet.qos, 0, True, False, common)
            if not self._retained.keep(kept, expires_ns):
                self.counters["refused_retained"] += 1
                self._say("retained", "there is no room to retain %r; see hub.mqtt.retained_*_max", topic[:100])
        reached = 0
        for client_id, match in self._tree.match(topic, self._connected.__contains__).items():
            if match.no_local and client_id == sender:
                continue
            properties = common
            if match.identifiers:
                properties = {**common, Property.SUBSCRIPTION_IDENTIFIER: list(match.identifiers)}
            retain = packet.retain and match.retain_as_published
            message = Outgoing(topic, packet.payload, min(packet.qos, match.qos), retain, properties, expires_ns)
            reached += self._deliver(client_id, message)
        return reached

    def publish_to(
        self, client_id: str, topic: str, payload: bytes, qos: int, on_delivered: OnDelivered | None
    ) -> bool:
        """A message for one client, if it is there and subscribed to the topic."""
        granted = self._tree.qos_of(client_id, topic)
        if granted is None or client_id not in self._connected:
            return False
        return self._deliver(client_id, Outgoing(topic, payload, min(qos, granted), on_delivered=on_delivered))

    def _deliver(self, client_id: str, message: Outgoing) -> bool:
        connection = self._connected.get(client_id)
        if connection is None and message.qos == 0:
            return False
        if not self._enqueue(self._sessions[client_id], message):
            return False
        if connection is not None:
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
        for each in packet.subscriptions:
            reason, wants_retained = self._subscribe(session, client, each, identifier)
            reasons.append(reason)
            if wants_retained:
                retained += self._retained_for(each, identifier)
        connection.send(Suback(packet.packet_id, tuple(reasons)))
        for message in retained:
            self._enqueue(session, message, count=False)
        connection.pump()

    def on_unsubscribe(self, connection: Connection, packet: Unsubscribe) -> None:
        session = connection.session
        reasons = []
        for topic_filter in packet.topic_filters:
            known = session.subscriptions.pop(topic_filter, None) is not None
            if known:
                self._tree.remove(session.client_id, topic_filter)
            reasons.append(Reason.SUCCESS if known else Reason.NO_SUBSCRIPTION_EXISTED)
        connection.send(Unsuback(packet.packet_id, tuple(reasons)))

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
        for connection in list(self.connections):
            self._guarded(connection, lambda each: each.check_time(now_ns))
        for client_id in [client_id for client_id, ends_ns in self._absent.items() if ends_ns <= now_ns]:
            self._forget(self._sessions[client_id])
        for pending in [each for each in self._wills.values() if each.due_ns <= now_ns]:
            self._publish_will(pending.client, pending.will)

    def to_flush(self, connection: Connection) -> None:
        """It has something to write."""
        if not self._to_flush:
            self._wake()
        self._to_flush.append(connection)

    def flush(self) -> None:
        """Let every connection write what was gathered for it."""
        waiting, self._to_flush = self._to_flush, []
        for connection in waiting:
            self._guarded(connection, Connection.flush)

    def _guarded(self, connection: Connection, work: Callable[[Connection], None]) -> None:
        """A defect of ours that one client brings to light must not reach the others."""
        try:
            work(connection)
        except Exception:
            _log.exception("the connection of %s failed", connection.address)
            connection.finish("a defect of the hub")

    def connected_clients(self) -> list[Client]:
        return [each.client for each in self._connected.values() if each.client is not None]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _refusal(self, client: Client, packet: Connect) -> Reason | None:
        client_id = client.client_id
        nameless = not packet.client_id and packet.version < 5 and not packet.clean_start
        if len(client_id.encode()) > CLIENT_ID_BYTES_MAX or nameless:
            return Reason.CLIENT_IDENTIFIER_NOT_VALID
        if Property.AUTHENTICATION_METHOD in packet.properties:
            return Reason.BAD_AUTHENTICATION_METHOD
        if not self._authority.admit(client, packet.password):
            return Reason.NOT_AUTHORIZED
        if packet.will is not None and not self._authority.may_publish(client, packet.will.topic):
            return Reason.NOT_AUTHORIZED
        if client_id not in self._sessions and len(self._sessions) >= self.settings.sessions_max and not self._absent:
            return Reason.SERVER_BUSY
        return None

    def _take_over(self, client_id: str, packet: Connect) -> None:
        """The client is here again: its older connection ends, and no will is due that waited for its return."""
        older = self._connected.get(client_id)
        if older is not None:
            self.counters["takeovers"] += 1
            older.end(Reason.SESSION_TAKEN_OVER, "another connection took over its client id")
        if not packet.clean_start:
            self._wills.pop(client_id, None)

    def _session(self, client_id: str, packet: Connect) -> tuple[Session, bool]:
        """The client's session, and whether it was there before."""
        found = self._sessions.get(client_id)
        if found is not None and packet.clean_start:
            self._forget(found)
            found = None
        self._absent.pop(client_id, None)
        if found is not None:
            return found, True
        if len(self._sessions) >= self.settings.sessions_max:
            self.counters["sessions_evicted"] += 1
            self._forget(self._sessions[next(iter(self._absent))])
        session = self._sessions[client_id] = Session(
            client_id,
            inflight_max=self.settings.inflight_max,
            queue_messages_max=self.settings.session_queue_messages_max,
            queue_bytes_max=self.settings.session_queue_bytes_max,
            budget=self._budget,
        )
        return session, False

    def _grant(self, connection: Connection, packet: Connect, session: Session, properties: Properties) -> None:
        """What the client asked for, as far as the limits allow; where not, it is told."""
        settings = self.settings
        connection.keepalive_s = packet.keepalive_s
        if packet.version < 5:
            session.expiry_s = 0 if packet.clean_start else settings.session_expiry_s_max
            return
        asked_s = _number(packet.properties, Property.SESSION_EXPIRY_INTERVAL, 0)
        session.expiry_s = min(asked_s, settings.session_expiry_s_max)
        if session.expiry_s != asked_s:
            properties[Property.SESSION_EXPIRY_INTERVAL] = session.expiry_s
        if not 0 < packet.keepalive_s <= settings.keepalive_s_max:
            connection.keepalive_s = properties[Property.SERVER_KEEP_ALIVE] = settings.keepalive_s_max
        properties[Property.RECEIVE_MAXIMUM] = settings.receive_maximum
        properties[Property.MAXIMUM_PACKET_SIZE] = settings.packet_bytes_max
        properties[Property.TOPIC_ALIAS_MAXIMUM] = settings.topic_alias_maximum

    def _leave_will(self, client: Client, will: Will, session: Session) -> None:
        delay_s = min(_number(will.properties, Property.WILL_DELAY_INTERVAL, 0), session.expiry_s)
        if delay_s == 0:
            self._publish_will(client, will)
        else:
            self._wills[client.client_id] = _PendingWill(client, will, self.now_ns() + delay_s * _SECOND_NS)

    def _publish_will(self, client: Client, will: Will) -> None:
        self._wills.pop(client.client_id, None)
        if not self._intake.wants(will.topic):
            packet = Publish(will.topic, will.payload, will.qos, 0, will.retain, False, will.properties)
            self.route(will.topic, packet, sender=client.client_id)
            return
        size = len(will.payload)

        def on_taken(error: Exception | None) -> None:
            self.on_durable(size)
            if error is not None:
                self.counters["intake_refusals"] += 1

        self.take(client, [Message(will.topic, will.payload, will.qos, will.retain)], size, on_taken)

    def _forget(self, session: Session) -> None:
        """The session ends; a will that waited for that is due."""
        client_id = session.client_id
        for topic_filter in session.subscriptions:
            self._tree.remove(client_id, topic_filter)
        self._absent.pop(client_id, None)
        self._sessions.pop(client_id, None)
        session.discard()
        pending = self._wills.get(client_id)
        if pending is not None:
            self._publish_will(pending.client, pending.will)

    def _say(self, key: str, text: str, *values: object) -> None:
        held_back = self._quiet.due(key)
        if held_back is not None:
            _log.warning(text + (f" ({held_back} times more before)" if held_back else ""), *values)


def _number(properties: Properties, name: Property, default: int) -> int:
    value = properties.get(name, default)
    return value if isinstance(value, int) else default
