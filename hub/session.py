"""A client's session, without I/O: what it subscribed to, what is on its way to it, what waits.

It outlives the connection. On the way out a message of QoS 1 or 2 has a packet identifier and stays here until the
client has acknowledged it; after a reconnect it is sent again, marked as a duplicate, in the order of the first time
(5.0, 4.4). What finds no room in the queue is dropped and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.subscriptions import Held
from streams.mqtt import Acknowledge, PacketType, Properties, Property, Publish

PACKET_ID_MAX = 65_535

OnDelivered = Callable[[bool], None]


@dataclass(slots=True)
class Outgoing:
    """A message for one client."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False
    properties: Properties = field(default_factory=dict)
    expires_ns: int | None = None
    """Monotonic time after which it is not sent any more."""
    on_delivered: OnDelivered | None = None

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload) + 64


class Session:
    """See the head of this file."""

    def __init__(self, client_id: str, *, inflight_max: int, queue_messages_max: int, queue_bytes_max: int) -> None:
        self.client_id = client_id
        self.subscriptions: dict[str, Held] = {}
        self.expiry_s = 0
        self.ends_ns: int | None = None
        """Monotonic time at which it is forgotten; None while the client is connected."""
        self.window = inflight_max
        self._inflight_max = inflight_max
        self._queue_messages_max = queue_messages_max
        self._queue_bytes_max = queue_bytes_max
        self._queue: deque[Outgoing] = deque()
        self._queue_bytes = 0
        self._inflight: dict[int, Outgoing] = {}
        self._released: dict[int, Outgoing] = {}
        self._received: set[int] = set()
        self._last_packet_id = 0
        self.dropped = 0

    # -- out ---------------------------------------------------------------------------------------------------------

    def enqueue(self, message: Outgoing) -> bool:
        """Take a message for the client; False when there is no room for it."""
        if len(self._queue) >= self._queue_messages_max or self._queue_bytes + message.size > self._queue_bytes_max:
            self.dropped += 1
            return False
        self._queue.append(message)
        self._queue_bytes += message.size
        return True

    def sendable(self, now_ns: int) -> list[Publish]:
        """Messages to send now: as many as the client's window allows. What has expired meanwhile is dropped."""
        packets: list[Publish] = []
        while self._queue:
            head = self._queue[0]
            if head.qos and len(self._inflight) + len(self._released) >= self.window:
                break
            self._queue.popleft()
            self._queue_bytes -= head.size
            if head.expires_ns is not None and head.expires_ns <= now_ns:
                self._settle(head, False)
                continue
            packet_id = 0
            if head.qos:
                packet_id = self._new_packet_id()
                self._inflight[packet_id] = head
            packets.append(_packet(head, packet_id, now_ns, dup=False))
        return packets

    def resumed(self, now_ns: int, *, receive_maximum: int) -> list[Publish | Acknowledge]:
        """The client is back: what was not acknowledged, to be sent again before anything new."""
        self.ends_ns = None
        self.window = min(self._inflight_max, receive_maximum)
        again: list[Publish | Acknowledge] = [
            _packet(message, packet_id, now_ns, dup=True) for packet_id, message in self._inflight.items()
        ]
        again += [Acknowledge(PacketType.PUBREL, packet_id) for packet_id in self._released]
        return again

    def on_puback(self, packet_id: int) -> bool:
        """The client has a message of QoS 1; False when there is none of this number."""
        message = self._inflight.get(packet_id)
        if message is None or message.qos != 1:
            return False
        del self._inflight[packet_id]
        self._settle(message, True)
        return True

    def on_pubrec(self, packet_id: int, *, failed: bool) -> bool:
        """The client has a message of QoS 2 (or refuses it); answer PUBREL when True and not failed."""
        message = self._inflight.get(packet_id)
        if message is None or message.qos != 2:
            return packet_id in self._released
        del self._inflight[packet_id]
        if failed:
            self._settle(message, False)
        else:
            self._released[packet_id] = message
        return True

    def on_pubcomp(self, packet_id: int) -> bool:
        message = self._released.pop(packet_id, None)
        if message is None:
            return False
        self._settle(message, True)
        return True

    # -- in ----------------------------------------------------------------------------------------------------------

    def begin_receiving(self, packet_id: int) -> bool:
        """A PUBLISH of QoS 2 came; False when it is one that we have taken already."""
        if packet_id in self._received:
            return False
        self._received.add(packet_id)
        return True

    def forget_receiving(self, packet_id: int) -> None:
        """It could not be taken after all."""
        self._received.discard(packet_id)

    def end_receiving(self, packet_id: int) -> bool:
        """A PUBREL came; False when there is no message of this number."""
        if packet_id not in self._received:
            return False
        self._received.remove(packet_id)
        return True

    @property
    def receiving(self) -> int:
        return len(self._received)

    # -- the end -----------------------------------------------------------------------------------------------------

    def discard(self) -> None:
        """The session is forgotten: nothing of it will be delivered."""
        for message in [*self._inflight.values(), *self._released.values(), *self._queue]:
            self._settle(message, False)
        self._inflight.clear()
        self._released.clear()
        self._queue.clear()
        self._queue_bytes = 0

    @property
    def waiting(self) -> int:
        """Messages that the client has not acknowledged or not been sent."""
        return len(self._queue) + len(self._inflight) + len(self._released)

    def _new_packet_id(self) -> int:
        while True:
            self._last_packet_id = self._last_packet_id % PACKET_ID_MAX + 1
            if self._last_packet_id not in self._inflight and self._last_packet_id not in self._released:
                return self._last_packet_id

    @staticmethod
    def _settle(message: Outgoing, delivered: bool) -> None:
        if message.on_delivered is not None:
            message.on_delivered(delivered)


def _packet(message: Outgoing, packet_id: int, now_ns: int, *, dup: bool) -> Publish:
    properties = message.properties
    if message.expires_ns is not None:
        left_s = max(0, (message.expires_ns - now_ns) // 1_000_000_000)
        properties = {**properties, Property.MESSAGE_EXPIRY_INTERVAL: left_s}
    return Publish(
        message.topic, message.payload, message.qos, packet_id, message.retain, dup and message.qos > 0, properties
    )
