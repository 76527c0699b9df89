"""A client's session, without I/O: what it subscribed to, what is on its way to it, what waits.

It outlives the connection. On the way out a message of QoS 1 or 2 has a packet identifier and stays here until the
client has acknowledged it; after a reconnect it is sent again, marked as a duplicate, in the order of the first time
(5.0, 4.4). What finds no room is dropped by the caller, who counts it.

On the way in only messages of QoS 2 leave a trace: their identifiers, until PUBREL, so that none is taken twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.subscriptions import Held
from streams.mqtt import Acknowledge, PacketType, Properties, Property, Publish

PACKET_ID_MAX = 65_535
_OVERHEAD_BYTES = 200

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
        return len(self.topic) + len(self.payload) + _OVERHEAD_BYTES

    def settle(self, delivered: bool) -> None:
        if self.on_delivered is not None:
            self.on_delivered(delivered)


class QueueBudget:
    """The bytes that all sessions together may keep."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.used = 0


class Session:
    """See the head of this file."""

    def __init__(
        self, client_id: str, *, inflight_max: int, queue_messages_max: int, queue_bytes_max: int, budget: QueueBudget
    ) -> None:
        self.client_id = client_id
        self.subscriptions: dict[str, Held] = {}
        self.expiry_s = 0
        self.window = inflight_max
        self._inflight_max = inflight_max
        self._queue_messages_max = queue_messages_max
        self._queue_bytes_max = queue_bytes_max
        self._budget = budget
        self._bytes = 0
        self._queue: deque[Outgoing] = deque()
        self._again: deque[int] = deque()
        """Identifiers of messages in `_inflight` that must be sent again on this connection."""
        self._inflight: dict[int, Outgoing] = {}
        self._released: dict[int, Outgoing] = {}
        self._taken: dict[int, bool] = {}
        """Messages of QoS 2 that came in: whether they are where they belong (or still on the way there)."""
        self.taken = 0
        """How many of these wait for PUBREL."""
        self._last_packet_id = 0

    # -- out ---------------------------------------------------------------------------------------------------------

    def enqueue(self, message: Outgoing, *, count: bool = True) -> bool:
        """Take a message for the client; False when there is no room. `count` false: only the bytes are bounded."""
        size = message.size
        if count and len(self._queue) >= self._queue_messages_max:
            return False
        if self._bytes + size > self._queue_bytes_max or self._budget.used + size > self._budget.bytes_max:
            return False
        self._queue.append(message)
        self._bytes += size
        self._budget.used += size
        return True

    @property
    def has_waiting(self) -> bool:
        return bool(self._queue or self._again)

    @property
    def unsettled(self) -> int:
        """Messages that the client has not acknowledged, or not been sent."""
        return len(self._queue) + len(self._inflight) + len(self._released)

    def next(self, now_ns: int) -> Publish | None:
        """The next message to send, None when there is none or the client's window is full. Drops what has expired."""
        full = len(self._inflight) + len(self._released) - len(self._again) >= self.window
        if self._again:
            return None if full else self._resend(self._again.popleft(), now_ns)
        while self._queue:
            head = self._queue[0]
            if head.qos and full:
                return None
            self._queue.popleft()
            if head.expires_ns is not None and head.expires_ns <= now_ns:
                self._settle(head, False)
                continue
            if not head.qos:
                self._settle(head, True)
                return _packet(head, 0, now_ns, dup=False)
            packet_id = self._new_packet_id()
            self._inflight[packet_id] = head
            return _packet(head, packet_id, now_ns, dup=False)
        return None

    def resume(self, *, receive_maximum: int) -> list[Acknowledge]:
        """The client is back: `next` first gives what it has not acknowledged. Returns the PUBRELs to send again."""
        self.window = min(self._inflight_max, receive_maximum)
        self._again = deque(self._inflight)
        return [Acknowledge(PacketType.PUBREL, packet_id) for packet_id in self._released]

    def on_puback(self, packet_id: int, *, failed: bool = False) -> bool:
        """The client has a message of QoS 1 (or refuses it); False when there is none of this number."""
        message = self._inflight.get(packet_id)
        if message is None or message.qos != 1:
            return False
        self._end_flight(packet_id)
        self._settle(message, not failed)
        return True

    def on_pubrec(self, packet_id: int, *, failed: bool = False) -> bool:
        """The client has a message of QoS 2 (or refuses it); answer PUBREL when True and not failed."""
        message = self._inflight.get(packet_id)
        if message is None or message.qos != 2:
            return packet_id in self._released
        self._end_flight(packet_id)
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

    def abandon(self, packet_id: int) -> None:
        """A message that `next` gave cannot be sent to this client at all (5.0, 3.1.2.11.4)."""
        message = self._inflight.get(packet_id)
        if message is not None:
            self._end_flight(packet_id)
            self._settle(message, False)

    # -- in ----------------------------------------------------------------------------------------------------------

    def begin_taking(self, packet_id: int) -> bool | None:
        """A PUBLISH of QoS 2 came. None: it is new, take it. Otherwise it is not: whether it can be answered now."""
        known = self._taken.get(packet_id)
        if known is None:
            self._taken[packet_id] = False
        return known

    def end_taking(self, packet_id: int, *, taken: bool) -> None:
        """It is where it belongs, or could not be brought there: then the client may send it again."""
        if taken:
            self.taken += 1
            self._taken[packet_id] = True
        else:
            self._taken.pop(packet_id, None)

    def on_pubrel(self, packet_id: int) -> bool:
        """A PUBREL came; False when there is no message of this number that was answered."""
        if not self._taken.get(packet_id):
            return False
        del self._taken[packet_id]
        self.taken -= 1
        return True

    # -- the end -----------------------------------------------------------------------------------------------------

    def discard(self) -> None:
        """The session is forgotten: nothing of it will be delivered."""
        messages = [*self._inflight.values(), *self._released.values(), *self._queue]
        self._inflight.clear()
        self._released.clear()
        self._again.clear()
        self._queue.clear()
        for message in messages:
            self._settle(message, False)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _resend(self, packet_id: int, now_ns: int) -> Publish:
        return _packet(self._inflight[packet_id], packet_id, now_ns, dup=True)

    def _end_flight(self, packet_id: int) -> None:
        del self._inflight[packet_id]
        if self._again and packet_id in self._again:  # acknowledged before it was sent again: strange, harmless
            self._again.remove(packet_id)

    def _new_packet_id(self) -> int:
        while True:
            self._last_packet_id = self._last_packet_id % PACKET_ID_MAX + 1
            if self._last_packet_id not in self._inflight and self._last_packet_id not in self._released:
                return self._last_packet_id

    def _settle(self, message: Outgoing, delivered: bool) -> None:
        self._bytes -= message.size
        self._budget.used -= message.size
        message.settle(delivered)


def _packet(message: Outgoing, packet_id: int, now_ns: int, *, dup: bool) -> Publish:
    properties = message.properties
    if message.expires_ns is not None:
        left_s = max(0, message.expires_ns - now_ns) // 1_000_000_000
        properties = {**properties, Property.MESSAGE_EXPIRY_INTERVAL: left_s}
    return Publish(message.topic, message.payload, message.qos, packet_id, message.retain, dup, properties)
