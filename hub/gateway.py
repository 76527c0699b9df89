"""The hub's MQTT server: connections, sessions, subscriptions, wills, and the way into the pipeline.

The rules of MQTT that span connections stand here; one connection's bytes are in connection.py, a session's messages
in session.py.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Sequence

from hub.connection import Connection, Route
from hub.gateway_settings import GatewaySettings
from hub.intake import Authority, Client, Intake, Message, OnTaken
from hub.quiet import Quiet
from hub.retained import RetainedMessages
from hub.session import OnDelivered, Outgoing, Session
from hub.subscriptions import Held, SubscriptionTree, check_filter
from streams.clock import Clock
from streams.errors import MisuseError
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

TICK_S = 0.5
STOP_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0
NEVER_S = 0xFFFFFFFF
CLIENT_ID_BYTES_MAX = 256
_COUNTERS = (
    "connections", "connects", "bytes_in", "bytes_out", "messages_in", "messages_out", "malformed_packets", "takeovers",
    "refused_full", "refused_connects", "refused_topics", "keepalive_timeouts", "connect_timeouts", "intake_refusals",
    "queue_drops", "too_large_for_client", "reading_pauses",
)  # fmt: skip
_NOT_ROUTED = (Property.TOPIC_ALIAS, Property.SUBSCRIPTION_IDENTIFIER, Property.MESSAGE_EXPIRY_INTERVAL)


class Gateway:
    """An MQTT 3.1.1 and 5.0 server. All methods are called in the event loop."""

    def __init__(self, settings: GatewaySettings, *, intake: Intake, authority: Authority, clock: Clock) -> None:
        self.settings = settings
        self._intake = intake
        self._authority = authority
        self._clock = clock
        self._quiet = Quiet(clock)
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._open: set[Connection] = set()
        self._connected: dict[str, Connection] = {}
        self._sessions: dict[str, Session] = {}
        self._wills: dict[str, asyncio.TimerHandle] = {}
        self._tree = SubscriptionTree()
        self._retained = RetainedMessages(
            messages_max=settings.retained_messages_max, bytes_max=settings.retained_bytes_max
        )
        self._undurable_bytes = 0
        self._reading_paused = False
        self._stopping = False
        self.counters: Counter[str] = Counter(dict.fromkeys(_COUNTERS, 0))

    # -- starting and stopping ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. MisuseError, with the remedy, when the port is taken or not ours to take."""
        loop = asyncio.get_running_loop()
        host, port = self.settings.host, self.settings.port
        try:
            self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=4096)
        except OSError as error:
            why = "is taken by another process" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
            raise MisuseError(
                f"port {port} on {host} {why}; stop that one, or choose another with hub.mqtt.port (--mqtt-port)"
            ) from None
        self._ticker = asyncio.create_task(self._tick(), name="gateway timeouts")

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Take no more, let what was taken be acknowledged within a bound, say goodbye."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        if self._ticker is not None:
            self._ticker.cancel()
        for connection in self._open:
            connection.pause_reading()
        await self._until(lambda: not self._undurable_bytes)
        for handle in self._wills.values():
            handle.cancel()
        for connection in list(self._open):
            connection.close(Reason.SERVER_SHUTTING_DOWN, "the hub stops")
        await self._until(lambda: not self._open)

    async def _until(self, done: Callable[[], bool]) -> None:
        deadline_s = self.now_s() + STOP_TIMEOUT_S
        while not done() and self.now_s() < deadline_s:  # noqa: ASYNC110  # several things end it, none of them ours
            await asyncio.sleep(0.01)

    # -- what the hub may do -----------------------------------------------------------------------------------------

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> int:
        """Publish to all subscribers; returns how many sessions took it."""
        properties: Properties = {} if expiry_s is None else {Property.MESSAGE_EXPIRY_INTERVAL: expiry_s}
        return self.route(topic, Publish(topic, payload, qos, 0, retain, False, properties), sender=None)

    def publish_to(
        self, client_id: str, topic: str, payload: bytes, *, qos: int = 1, on_delivered: OnDelivered | None = None
    ) -> bool:
        """Publish to one client that is connected and subscribed to the topic; False when it is not, or has no room.

        `on_delivered(True)` after its acknowledgement, `on_delivered(False)` when its session ended before.
        """
        connection = self._connected.get(client_id)
        if connection is None or connection.session is None or not self._tree.wants(client_id, topic):
            return False
        if not self._enqueue(connection.session, Outgoing(topic, payload, qos, on_delivered=on_delivered)):
            return False
        connection.send_waiting()
        return True

    def connected_clients(self) -> list[Client]:
        return [each.client for each in self._connected.values() if each.client is not None]

    # -- time --------------------------------------------------------------------------------------------------------

    def now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    def now_ns(self) -> int:
        return self._clock.monotonic_ns()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.check_times()
            except Exception:  # one bad session must not stop the clock of all others
                _log.exception("the timeouts of the gateway failed")

    def check_times(self) -> None:
        """Close who was silent for too long, forget sessions whose time is over."""
        now_s, now_ns = self.now_s(), self.now_ns()
        for connection in list(self._open):
            silent_s = now_s - connection.heard_s
            if connection.session is None:
                if silent_s > self.settings.connect_timeout_s:
                    self.counters["connect_timeouts"] += 1
                    connection.close(Reason.KEEP_ALIVE_TIMEOUT, "no CONNECT came")
            elif connection.keepalive_s and silent_s > 1.5 * connection.keepalive_s:
                self.counters["keepalive_timeouts"] += 1
                connection.close(Reason.KEEP_ALIVE_TIMEOUT, "nothing was heard for one and a half keep-alives")
        for session in [each for each in self._sessions.values() if each.ends_ns is not None]:
            if session.ends_ns is not None and session.ends_ns <= now_ns:
                self._forget(session)

    # -- connections -------------------------------------------------------------------------------------------------

    def on_open(self, connection: Connection) -> None:
        self._open.add(connection)
        self.counters["connections"] = len(self._open)
        if len(self._open) > self.settings.connections_max or self._stopping:
            self.counters["refused_full"] += 1
            self._say("full", "refused %s: %d connections are open", connection.address, len(self._open) - 1)
            connection.close(Reason.SERVER_BUSY, "")

    def on_connect(self, connection: Connection, packet: Connect) -> None:
        connection.version = packet.version
        client_id = packet.client_id
        properties: Properties = {}
        if not client_id:
            client_id = f"auto-{secrets.token_hex(8)}"
            properties[Property.ASSIGNED_CLIENT_IDENTIFIER] = client_id
        client = Client(client_id, packet.username, connection.address, packet.version)
        refusal = self._refusal(client, packet)
        if refusal is not None:
            self.counters["refused_connects"] += 1
            connection.send(Connack(False, refusal))
            connection.close(refusal, "")
            return
        older = self._connected.get(client_id)
        if older is not None:
            self.counters["takeovers"] += 1
            older.close(Reason.SESSION_TAKEN_OVER, "another connection took this client id")
            self.on_lost(older, "another connection took over")
        if (will := self._wills.pop(client_id, None)) is not None:
            will.cancel()
        session, present = self._session(client_id, packet)
        connection.client, connection.session, connection.will = client, session, packet.will
        connection.packet_bytes_max = _number(packet.properties, Property.MAXIMUM_PACKET_SIZE, 0)
        self._grant(connection, packet, session, properties)
        self._connected[client_id] = connection
        self.counters["connects"] += 1
        window = _number(packet.properties, Property.RECEIVE_MAXIMUM, 65_535)
        self._intake.connected(client)
        connection.welcome(
            Connack(present, 0, properties if packet.version >= 5 else {}),
            session.resumed(self.now_ns(), receive_maximum=window),
        )
        if self._reading_paused:
            connection.pause_reading()

    def on_disconnect(self, connection: Connection, packet: Disconnect) -> None:
        session = connection.session
        assert session is not None
        if packet.reason != Reason.DISCONNECT_WITH_WILL:
            connection.will = None
        expiry_s = packet.properties.get(Property.SESSION_EXPIRY_INTERVAL)
        if isinstance(expiry_s, int):
            if session.expiry_s == 0 and expiry_s:
                raise MalformedPacket("a session that was to end cannot be kept at the end", reason=0x82)
            session.expiry_s = min(expiry_s, self.settings.session_expiry_s_max)
        self._left(connection, "the client said goodbye")
        connection.goodbye()

    def on_lost(self, connection: Connection, reason: str) -> None:
        self._open.discard(connection)
        self.counters["connections"] = len(self._open)
        self._left(connection, reason)

    def on_malformed(self, connection: Connection, error: MalformedPacket) -> None:
        self.counters["malformed_packets"] += 1
        who = connection.client.client_id if connection.client else "somebody"
        self._say(connection.address.rsplit(":", 1)[0], "closed %s (%s): %s", connection.address, who, error)
        if connection.session is None and error.reason == Reason.UNSUPPORTED_PROTOCOL_VERSION:
            connection.send(Connack(False, error.reason))

    def on_refused(self, connection: Connection, topic: str) -> None:
        self.counters["refused_topics"] += 1
        who = connection.client.client_id if connection.client else "?"
        self._say(
            who, "%s may not use the topic %r; below penstock/ a client has penstock/v1/ITS-ID/", who, topic[:100]
        )

    def close_later(self, transport: asyncio.Transport) -> None:
        """A peer that does not read its goodbye is cut off."""
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, transport.abort)

    # -- subscriptions -----------------------------------------------------------------------------------------------

    def on_subscribe(self, connection: Connection, packet: Subscribe) -> None:
        session, client = connection.session, connection.client
        assert session is not None and client is not None
        identifiers = packet.properties.get(Property.SUBSCRIPTION_IDENTIFIER)
        identifier = identifiers[0] if isinstance(identifiers, list) else None
        reasons: list[int] = []
        retained: list[Outgoing] = []
        for each in packet.subscriptions:
            reason, is_new = self._subscribe(session, client, each, identifier)
            reasons.append(reason)
            if reason < 0x80 and (each.retain_handling == 0 or (each.retain_handling == 1 and is_new)):
                retained += [
                    Outgoing(kept.topic, kept.payload, min(kept.qos, each.qos), True, _routed(kept.properties))
                    for kept in self._retained.matching(each.topic_filter, self.now_ns())
                ]
        connection.send(Suback(packet.packet_id, tuple(reasons)))
        for message in retained:
            self._enqueue(session, message)
        connection.send_waiting()

    def on_unsubscribe(self, connection: Connection, packet: Unsubscribe) -> None:
        session = connection.session
        assert session is not None
        reasons = []
        for topic_filter in packet.topic_filters:
            check_filter(topic_filter)
            known = session.subscriptions.pop(topic_filter, None) is not None
            self._tree.remove(session.client_id, topic_filter)
            reasons.append(Reason.SUCCESS if known else Reason.NO_SUBSCRIPTION_EXISTED)
        connection.send(Unsuback(packet.packet_id, tuple(reasons)))

    def _subscribe(
        self, session: Session, client: Client, each: Subscription, identifier: int | None
    ) -> tuple[int, bool]:
        share, levels = check_filter(each.topic_filter)
        if not self._authority.may_subscribe(client, "/".join(levels)):
            self.counters["refused_topics"] += 1
            self._say(client.client_id, "%s may not subscribe to %r", client.client_id, each.topic_filter[:100])
            return Reason.NOT_AUTHORIZED, False
        is_new = each.topic_filter not in session.subscriptions
        if is_new and len(session.subscriptions) >= self.settings.subscriptions_max:
            return Reason.QUOTA_EXCEEDED, False
        if share is not None and each.no_local:
            raise MalformedPacket("a shared subscription cannot be no-local", reason=0x82)
        held = Held(each, identifier)
        session.subscriptions[each.topic_filter] = held
        self._tree.add(session.client_id, held)
        return each.qos, is_new

    # -- messages ----------------------------------------------------------------------------------------------------

    def route_of(self, client: Client, topic: str) -> Route:
        """Where a client's messages on `topic` go, and whether they may."""
        return Route(topic, self._authority.may_publish(client, topic), self._intake.wants(topic))

    def take(self, client: Client, messages: Sequence[Message], size: int, on_taken: OnTaken) -> None:
        """Hand messages to the pipeline; stop reading from everybody while too much waits for the disk."""
        self.counters["messages_in"] += len(messages)
        self._undurable_bytes += size
        if self._undurable_bytes > self.settings.undurable_bytes_max and not self._reading_paused:
            self._reading_paused = True
            self.counters["reading_pauses"] += 1
            for connection in self._open:
                connection.pause_reading()
        self._intake.take(client, messages, on_taken)

    def on_durable(self, size: int) -> None:
        """That much does not wait for the disk any more."""
        self._undurable_bytes -= size
        if self._reading_paused and self._undurable_bytes < self.settings.undurable_bytes_max // 2:
            self._reading_paused = False
            if not self._stopping:
                for connection in self._open:
                    connection.resume_reading()

    def route(self, topic: str, packet: Publish, *, sender: str | None) -> int:
        """Give a message to everybody who subscribed to it; returns to how many."""
        now_ns = self.now_ns()
        if packet.retain:
            kept = Publish(topic, packet.payload, packet.qos, 0, True, False, packet.properties)
            self._retained.keep(kept, now_ns)
        expiry_s = packet.properties.get(Property.MESSAGE_EXPIRY_INTERVAL)
        expires_ns = now_ns + expiry_s * 1_000_000_000 if isinstance(expiry_s, int) else None
        common = _routed(packet.properties)
        reached = 0
        for client_id, match in self._tree.match(topic).items():
            session = self._sessions.get(client_id)
            if session is None or (match.no_local and client_id == sender):
                continue
            properties = common
            if match.identifiers:
                properties = {**common, Property.SUBSCRIPTION_IDENTIFIER: list(match.identifiers)}
            retain = packet.retain and match.retain_as_published
            qos = min(packet.qos, match.qos)
            message = Outgoing(topic, packet.payload, qos, retain, properties, expires_ns)
            connection = self._connected.get(client_id)
            if connection is None and qos == 0:
                continue
            reached += self._enqueue(session, message)
            if connection is not None:
                connection.send_waiting()
        return reached

    def _enqueue(self, session: Session, message: Outgoing) -> bool:
        if session.enqueue(message):
            return True
        self.counters["queue_drops"] += 1
        self._say(session.client_id, "the queue of %s is full: a message is dropped", session.client_id)
        return False

    # -- inside ------------------------------------------------------------------------------------------------------

    def _refusal(self, client: Client, packet: Connect) -> Reason | None:
        size = len(client.client_id.encode())
        if size > CLIENT_ID_BYTES_MAX or (not packet.client_id and packet.version < 5 and not packet.clean_start):
            return Reason.CLIENT_IDENTIFIER_NOT_VALID
        if Property.AUTHENTICATION_METHOD in packet.properties:
            return Reason.BAD_AUTHENTICATION_METHOD
        if not self._authority.admit(client, packet.password):
            return Reason.NOT_AUTHORIZED
        if packet.will is not None and not self._authority.may_publish(client, packet.will.topic):
            return Reason.NOT_AUTHORIZED
        if client.client_id not in self._sessions and len(self._sessions) >= self.settings.sessions_max:
            return Reason.QUOTA_EXCEEDED
        return None

    def _session(self, client_id: str, packet: Connect) -> tuple[Session, bool]:
        """The client's session, and whether it was there before."""
        found = self._sessions.get(client_id)
        if found is not None and packet.clean_start:
            self._forget(found)
            found = None
        if found is not None:
            return found, True
        session = self._sessions[client_id] = Session(
            client_id,
            inflight_max=self.settings.inflight_max,
            queue_messages_max=self.settings.session_queue_messages_max,
            queue_bytes_max=self.settings.session_queue_bytes_max,
        )
        return session, False

    def _grant(self, connection: Connection, packet: Connect, session: Session, properties: Properties) -> None:
        """What the client asked for, as far as the limits allow; where not, it is told."""
        settings = self.settings
        keepalive_s = packet.keepalive_s
        if packet.version < 5:
            session.expiry_s = 0 if packet.clean_start else settings.session_expiry_s_max
        else:
            asked_s = _number(packet.properties, Property.SESSION_EXPIRY_INTERVAL, 0)
            session.expiry_s = min(asked_s, settings.session_expiry_s_max)
            if session.expiry_s != asked_s:
                properties[Property.SESSION_EXPIRY_INTERVAL] = session.expiry_s
            if not 0 < keepalive_s <= settings.keepalive_s_max:
                keepalive_s = properties[Property.SERVER_KEEP_ALIVE] = settings.keepalive_s_max
            properties[Property.RECEIVE_MAXIMUM] = settings.receive_maximum
            properties[Property.MAXIMUM_PACKET_SIZE] = settings.packet_bytes_max
            properties[Property.TOPIC_ALIAS_MAXIMUM] = settings.topic_alias_maximum
        connection.keepalive_s = keepalive_s

    def _left(self, connection: Connection, reason: str) -> None:
        """A connection has ended for its session: once, however many ways it ends."""
        session, client = connection.session, connection.client
        if session is None or client is None:
            return
        connection.session = None
        if self._connected.get(client.client_id) is connection:
            del self._connected[client.client_id]
        if connection.will is not None and not self._stopping:
            self._leave_will(client, connection.will, session)
        self._intake.disconnected(client, reason)
        if session.expiry_s == 0:
            self._forget(session)
        else:
            session.ends_ns = self.now_ns() + session.expiry_s * 1_000_000_000

    def _leave_will(self, client: Client, will: Will, session: Session) -> None:
        delay_s = min(_number(will.properties, Property.WILL_DELAY_INTERVAL, 0), session.expiry_s)
        if delay_s == 0:
            self._publish_will(client, will)
            return
        loop = asyncio.get_running_loop()
        self._wills[client.client_id] = loop.call_later(delay_s, self._publish_will, client, will)

    def _publish_will(self, client: Client, will: Will) -> None:
        self._wills.pop(client.client_id, None)
        if self._intake.wants(will.topic):
            size = len(will.payload) + 64
            message = Message(will.topic, will.payload, will.qos, will.retain)
            self.take(client, [message], size, lambda error: self.on_durable(size))
            return
        properties = {name: value for name, value in will.properties.items() if name != Property.WILL_DELAY_INTERVAL}
        packet = Publish(will.topic, will.payload, will.qos, 0, will.retain, False, properties)
        self.route(will.topic, packet, sender=client.client_id)

    def _forget(self, session: Session) -> None:
        for topic_filter in session.subscriptions:
            self._tree.remove(session.client_id, topic_filter)
        session.discard()
        self._sessions.pop(session.client_id, None)

    def _say(self, key: str, text: str, *values: object) -> None:
        held_back = self._quiet.due(key)
        if held_back is not None:
            _log.warning(text + (f" ({held_back} times more before)" if held_back else ""), *values)


def _number(properties: Properties, name: Property, default: int) -> int:
    value = properties.get(name, default)
    return value if isinstance(value, int) else default


def _routed(properties: Properties) -> Properties:
    return {name: value for name, value in properties.items() if name not in _NOT_ROUTED}
