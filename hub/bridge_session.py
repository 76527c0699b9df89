"""The hub's session with a broker in front of it, without I/O: subscribes, takes, acknowledges after the commit, sends.

The broker keeps for the hub what is not acknowledged, and sends it again when the hub or the connection was away. So an
acknowledgement is sent only when the message is on disk, in the order in which messages came (5.0, 4.6). What comes
twice is told apart by the numbers of its readings, like any frame that a device sends again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from enum import Enum

from hub.bridge_settings import BridgeSettings
from hub.intake import Client, Intake, Message
from hub.payload import read_object
from streams import names
from streams.errors import JunkError
from streams.mqtt import (
    Acknowledge,
    Connack,
    Connect,
    Disconnect,
    MalformedPacket,
    Packet,
    PacketType,
    Pingreq,
    Pingresp,
    Properties,
    Property,
    Publish,
    Reason,
    Suback,
    Subscribe,
    Subscription,
    decode,
    encode,
)

PACKET_BYTES_MAX = 64 << 20
_SUBSCRIBE_ID = 1
_SECOND_NS = 1_000_000_000
COUNTERS = ("connects", "messages_in", "acknowledged", "messages_out", "foreign", "refused", "losses")


class State(Enum):
    AWAY = "there is no connection"
    GREETING = "waits for CONNACK or SUBACK"
    OPEN = "takes messages"


class Lost(Exception):
    """The connection must end; the reason is a sentence."""


class _Taken:
    """A message that came, in its place among the others."""

    __slots__ = ("done", "packet_id")

    def __init__(self, packet_id: int) -> None:
        self.packet_id = packet_id
        self.done = False


class BridgeSession:
    """See the head of this file. `write` sends bytes; `lose` is called when the connection must end."""

    def __init__(self, settings: BridgeSettings, *, intake: Intake, now_ns: Callable[[], int]) -> None:
        self._settings = settings
        self._intake = intake
        self._now_ns = now_ns
        self.state = State.AWAY
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._write: Callable[[bytes], None] = lambda data: None
        self._lose: Callable[[str], None] = lambda reason: None
        self._rest = b""
        self._taken: deque[_Taken] = deque()
        self._sending: dict[int, Publish] = {}
        self._last_id = 0
        self._heard_ns = self._sent_ns = 0
        self._clients: dict[str, Client] = {}
        """Devices that have been heard, and have not gone."""

    @property
    def unacknowledged(self) -> int:
        """Messages that came and are not acknowledged."""
        return len(self._taken)

    def begin(self, write: Callable[[bytes], None], lose: Callable[[str], None]) -> None:
        """A connection was made."""
        settings = self._settings
        self._write, self._lose = write, lose
        self._rest = b""
        self._taken.clear()
        self._heard_ns = self._now_ns()
        self.state = State.GREETING
        properties: Properties = {
            Property.SESSION_EXPIRY_INTERVAL: settings.session_expiry_s,
            Property.RECEIVE_MAXIMUM: settings.receive_maximum,
        }
        self._send(
            Connect(
                settings.client_id,
                5,
                clean_start=False,
                keepalive_s=settings.keepalive_s,
                username=settings.username or None,
                password=settings.password.encode() if settings.password else None,
                properties=properties,
            )
        )

    def end(self) -> None:
        """The connection is gone: what is not acknowledged will come again."""
        if self.state is State.OPEN:
            self.counters["losses"] += 1
        self.state = State.AWAY
        self._write = lambda data: None
        self._taken.clear()

    def say_goodbye(self) -> None:
        """The hub stops; the broker keeps the session."""
        if self.state is not State.AWAY:
            self._send(Disconnect())

    def receive(self, data: bytes) -> None:
        """Bytes came from the broker. Lost, when they make no sense or the broker refuses us."""
        self._heard_ns = self._now_ns()
        data = self._rest + data
        at = 0
        try:
            while (found := decode(data, at, version=5, packet_bytes_max=PACKET_BYTES_MAX)) is not None:
                packet, at = found
                self._on(packet)
        except MalformedPacket as error:
            raise Lost(f"the broker does not speak MQTT 5: {error}; see hub.broker.port") from None
        self._rest = data[at:]

    def tick(self) -> None:
        """Once in a while: keep the connection alive. Lost, when the broker is silent."""
        if self.state is State.AWAY:
            return
        now_ns, keepalive_ns = self._now_ns(), self._settings.keepalive_s * _SECOND_NS
        if now_ns - self._heard_ns > 1.5 * keepalive_ns:
            raise Lost(f"the broker has said nothing for {1.5 * self._settings.keepalive_s:g} s")
        if (
            now_ns - max(self._heard_ns, self._sent_ns) > keepalive_ns // 2
            or now_ns - self._sent_ns > keepalive_ns // 2
        ):
            self._send(Pingreq())

    # -- to devices --------------------------------------------------------------------------------------------------

    def publish(self, device: str, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send a device something, QoS 1, until the broker has it. False: it was not heard, or there is no room.

        A retained message may go to a device that is away.
        """
        if (not retain and device not in self._clients) or len(self._sending) >= self._settings.sending_max:
            return False
        packet = Publish(topic, payload, 1, self._new_id(), retain)
        self._sending[packet.packet_id] = packet
        if self.state is State.OPEN:
            self._send(packet)
        return True

    # -- inside ------------------------------------------------------------------------------------------------------

    def _on(self, packet: Packet) -> None:
        match packet:
            case Connack():
                self._on_connack(packet)
            case Suback():
                self._on_suback(packet)
            case Publish():
                self._on_publish(packet)
            case Acknowledge(PacketType.PUBACK, packet_id):
                if self._sending.pop(packet_id, None) is not None:
                    self.counters["messages_out"] += 1
            case Disconnect():
                text = packet.properties.get(Property.REASON_STRING)
                raise Lost(f"the broker ends it: {text or _name(packet.reason)}")
            case Pingresp():
                pass
            case _:
                raise Lost(f"the broker sent {type(packet).__name__.upper()}, which was not asked for")

    def _on_connack(self, packet: Connack) -> None:
        if packet.reason != Reason.SUCCESS:
            self.counters["refused"] += 1
            raise Lost(f"the broker refuses the hub: {_name(packet.reason)}; see hub.broker.username and its rules")
        if packet.properties.get(Property.SHARED_SUBSCRIPTION_AVAILABLE) == 0:
            raise Lost("the broker has no shared subscriptions; use one that has, or set it so")
        filters = [
            f"$share/{self._settings.share}/{names.TOPIC_ROOT}/+/{channel}" for channel in sorted(names.UPSTREAM)
        ]
        self._send(Subscribe(_SUBSCRIBE_ID, tuple(Subscription(each, 1) for each in filters)))

    def _on_suback(self, packet: Suback) -> None:
        refused = [reason for reason in packet.reasons if reason >= 0x80]
        if refused:
            self.counters["refused"] += 1
            raise Lost(
                f"the broker does not let the hub subscribe: {_name(refused[0])}; let {self._settings.client_id} "
                f"read {names.TOPIC_ROOT}/#"
            )
        self.state = State.OPEN
        self.counters["connects"] += 1
        for packet_id, message in list(self._sending.items()):
            again = Publish(message.topic, message.payload, 1, packet_id, message.retain, True)
            self._send(again)

    def _on_publish(self, packet: Publish) -> None:
        self.counters["messages_in"] += 1
        taken = _Taken(packet.packet_id)
        if packet.qos:
            self._taken.append(taken)
        parsed = names.parse_topic(packet.topic)
        if parsed is None or not self._intake.wants(packet.topic):
            self.counters["foreign"] += 1
            self._settle(taken)
            return
        client = self._client(parsed.device)
        content_type = packet.properties.get(Property.CONTENT_TYPE)
        message = Message(
            packet.topic,
            packet.payload,
            packet.qos,
            packet.retain,
            content_type if isinstance(content_type, str) else None,
        )
        write = self._write

        def on_taken(error: Exception | None) -> None:
            if self._write is not write:
                return  # it will come again on the connection of now
            if error is not None:
                self._lose(f"messages cannot be stored: {error}")
            else:
                self._settle(taken)

        self._intake.take(client, [message], on_taken)
        if parsed.channel == names.STATE and _says_offline(packet.payload):
            self._clients.pop(parsed.device, None)
            self._intake.disconnected(client, "it said goodbye to the broker, or the broker lost it")

    def _settle(self, taken: _Taken) -> None:
        """It is on disk; acknowledge it, and those behind it that waited for it."""
        taken.done = True
        out = bytearray()
        while self._taken and self._taken[0].done:
            each = self._taken.popleft()
            self.counters["acknowledged"] += 1
            out += b"\x40\x02" + each.packet_id.to_bytes(2, "big")
        if out:
            self._sent_ns = self._now_ns()
            self._write(bytes(out))

    def _client(self, device: str) -> Client:
        client = self._clients.get(device)
        if client is None:
            where = f"{self._settings.host}:{self._settings.port}"
            client = self._clients[device] = Client(device, None, where, 5)
            self._intake.connected(client)
        return client

    def _new_id(self) -> int:
        while True:
            self._last_id = self._last_id % 65_535 + 1
            if self._last_id not in self._sending and self._last_id != _SUBSCRIBE_ID:
                return self._last_id

    def _send(self, packet: Packet) -> None:
        self._sent_ns = self._now_ns()
        self._write(encode(packet, 5))


def _name(reason: int) -> str:
    try:
        return Reason(reason).name.lower().replace("_", " ")
    except ValueError:
        return f"reason {reason:#x}"


def _says_offline(state: bytes) -> bool:
    try:
        return read_object(state, "the state").get("online") is False
    except JunkError:
        return False
