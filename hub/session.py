"""A client's session, without I/O: what it subscribed to, what is on its way to it, what waits.

It outlives the connection. A message of QoS 1 or 2 gets its packet identifier when it is taken, and stays here until
the client has acknowledged it; after a reconnect, or a restart of the hub, it is sent again under the same identifier,
marked as a duplicate, in the order of the first time (5.0, 4.4). What finds no room is dropped by the caller, who
counts it.

On the way in only messages of QoS 2 leave a trace: their identifiers, until PUBREL, so that none is taken twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from hub.subscriptions import Held
from streams.mqtt import Acknowledge, PacketType, Properties, Property, Publish

PACKET_ID_MAX = 65_535
_OVERHEAD_BYTES = 200

OnDelivered = Callable[[bool], None]


@dataclass(slots=True, eq=False)
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
    share: str | None = None
    """The shared subscription that it came by: when this client does not come back, another one gets it."""
    packet_id: int = 0
    logged: bool = False
    """The log of sessions has it, and must be told when it is settled."""
    held: bool = False
    """It must be on disk before it is sent."""
    sent: bool = False
    """It has been sent, or may have been before a restart: the next time it is a duplicate."""
    flying: bool = False
    """Sent on this connection, not acknowledged."""

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload) + _OVERHEAD_BYTES

    def settle(self, delivered: bool) -> None:
        if self.on_delivered is not None:
            self.on_delivered(delivered)


class Taking(Enum):
    """How far a message of QoS 2 is that came in."""

    COMING = "on its way to where it belongs"
    TAKEN = "there, and answered"
    LEAVING = "released; that is on its way to disk"


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
        self.owner: str | None = None
        """Who it belongs to: the user, or the name in the certificate."""
        self.version = 4
        self.subscriptions: dict[str, Held] = {}
        self.expiry_s = 0
        self.logged = False
        """The log of sessions knows it."""
        self.window = inflight_max
        self.settled: list[int] = []
        """Messages that left it, which the log must be told."""
        self._inflight_max = inflight_max
        self._queue_messages_max = queue_messages_max
        self._queue_bytes_max = queue_bytes_max
        self._budget = budget
        self._bytes = 0
        self._waiting: deque[Outgoing] = deque()
        """To be sent on this connection, or the next, in order."""
        self._unsettled: dict[int, Outgoing] = {}
        """All of QoS 1 and 2, waiting or not, in order."""
        self._flying = 0
        self._released: dict[int, Outgoing] = {}
        """Of QoS 2, those that the client has: only PUBCOMP is missing."""
        self._taken: dict[int, Taking] = {}
        self.taken = 0
        """How many messages of QoS 2 wait for PUBREL."""
        self._last_packet_id = 0
        self._perhaps_sent: set[int] = set()

    @property
    def kept(self) -> bool:
        """Whether it outlives its connection, and so must outlive the hub."""
        return self.expiry_s > 0

    # -- out ---------------------------------------------------------------------------------------------------------

    def enqueue(self, message: Outgoing, *, count: bool = True) -> bool:
        """Take a message for the client; False when there is no room. `count` false: only the bytes are bounded."""
        size = message.size
        if count and len(self._waiting) >= self._queue_messages_max:
            return False
        if self._bytes + size > self._queue_bytes_max or self._budget.used + size > self._budget.bytes_max:
            return False
        if message.qos:
            if len(self._unsettled) >= PACKET_ID_MAX:
                return False
            message.packet_id = self._new_packet_id()
            self._unsettled[message.packet_id] = message
        self._waiting.append(message)
        self._bytes += size
        self._budget.used += size
        return True

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def unsettled(self) -> int:
        """Messages that the client has not acknowledged, or not been sent."""
        return len(self._unsettled) + sum(not each.qos for each in self._waiting)

    @property
    def queued_bytes(self) -> int:
        return self._bytes

    def next(self, now_ns: int) -> Publish | None:
        """The next message to send, None when there is none or the client's window is full. Drops what has expired."""
        while self._waiting:
            head = self._waiting[0]
            if head.held or (head.qos and self._flying >= self.window):
                return None
            self._waiting.popleft()
            if head.expires_ns is not None and head.expires_ns <= now_ns and not head.sent:
                self._settle(head, False)
                continue
            dup, head.sent = head.sent, True
            if not head.qos:
                self._settle(head, True)
                return _packet(head, now_ns, dup=False)
            head.flying = True
            self._flying += 1
            return _packet(head, now_ns, dup=dup)
        return None

    def resume(self, *, receive_maximum: int) -> list[Acknowledge]:
        """The client is back: `next` first gives what it has not acknowledged. Returns the PUBRELs to send again."""
        self.window = min(self._inflight_max, receive_maximum)
        again = [each for each in self._unsettled.values() if each.flying and each.packet_id not in self._released]
        for each in again:
            each.flying = False
        self._waiting.extendleft(reversed(again))
        self._flying = len(self._released)
        return [Acknowledge(PacketType.PUBREL, packet_id) for packet_id in self._released]

    def on_puback(self, packet_id: int, *, failed: bool = False) -> bool:
        """The client has a message of QoS 1 (or refuses it); False when there is none of this number."""
        message = self._unsettled.get(packet_id)
        if message is None or message.qos != 1 or not message.sent:
            return False
        self._leave(message, not failed)
        return True

    def receives(self, packet_id: int) -> bool | None:
        """A PUBREC came. None: for nothing; False: for a message that was released already; True: `on_pubrec` is due,
        once that is on disk."""
        if packet_id in self._released:
            return False
        message = self._unsettled.get(packet_id)
        return True if message is not None and message.qos == 2 and message.sent else None

    def on_pubrec(self, packet_id: int, *, failed: bool = False) -> bool:
        """The client has a message of QoS 2 (or refuses it); answer PUBREL when True and not failed."""
        if not self.receives(packet_id):
            return packet_id in self._released
        message = self._unsettled[packet_id]
        if failed:
            self._leave(message, False)
            return True
        if not message.flying:  # acknowledged before it was sent again: strange, harmless
            self._waiting.remove(message)
            message.flying = True
            self._flying += 1
        self._released[packet_id] = message
        return True

    def on_pubcomp(self, packet_id: int) -> bool:
        message = self._released.pop(packet_id, None)
        if message is None:
            return False
        self._leave(message, True)
        return True

    def abandon(self, packet_id: int) -> None:
        """A message that `next` gave cannot be sent to this client at all (5.0, 3.1.2.11.4)."""
        message = self._unsettled.get(packet_id)
        if message is not None:
            self._leave(message, False)

    def withdraw(self, message: Outgoing) -> None:
        """A message that was held cannot be kept, and was not sent."""
        if message in self._waiting:
            self._waiting.remove(message)
            self._settle(message, False)

    # -- in ----------------------------------------------------------------------------------------------------------

    def begin_taking(self, packet_id: int) -> bool | None:
        """A PUBLISH of QoS 2 came. None: it is new, take it. Otherwise it is not: whether it can be answered now."""
        known = self._taken.get(packet_id)
        if known is None:
            self._taken[packet_id] = Taking.COMING
            return None
        return known is Taking.TAKEN

    def is_taking(self, packet_id: int) -> bool:
        """Whether a message of this number came before: then it is the same."""
        return packet_id in self._taken

    def end_taking(self, packet_id: int, *, taken: bool) -> None:
        """It is where it belongs, or could not be brought there: then the client may send it again."""
        if taken:
            if self._taken.get(packet_id) is not Taking.TAKEN:
                self.taken += 1
            self._taken[packet_id] = Taking.TAKEN
        else:
            self._taken.pop(packet_id, None)

    def release(self, packet_id: int) -> bool:
        """A PUBREL came; False when there is no message of this number that was answered. Then `on_released` is due."""
        known = self._taken.get(packet_id)
        if known is Taking.TAKEN:
            self.taken -= 1
            self._taken[packet_id] = Taking.LEAVING
        return known in (Taking.TAKEN, Taking.LEAVING)

    def on_released(self, packet_id: int, *, released: bool = True) -> None:
        """That is on disk, or could not be written: then the client sends its PUBREL again."""
        if self._taken.get(packet_id) is not Taking.LEAVING:
            return
        if released:
            del self._taken[packet_id]
        else:
            self.taken += 1
            self._taken[packet_id] = Taking.TAKEN

    # -- a restart of the hub ----------------------------------------------------------------------------------------

    def restore_connection(self) -> None:
        """The client came: what waited may have been sent."""
        self._perhaps_sent.update(self._unsettled)

    def restore(self, message: Outgoing, *, connected: bool) -> None:
        """A message that the log of sessions has, under its old identifier. `connected`: the client was there."""
        older = self._unsettled.get(message.packet_id)
        if older is not None:
            self.forget(message.packet_id)
        self._unsettled[message.packet_id] = message
        self._waiting.append(message)
        self._last_packet_id = message.packet_id
        if connected:
            self._perhaps_sent.add(message.packet_id)
        self._bytes += message.size
        self._budget.used += message.size

    def restore_received(self, packet_id: int) -> None:
        message = self._unsettled.get(packet_id)
        if message is not None and packet_id not in self._released:
            message.sent = True
            self.on_pubrec(packet_id)

    def forget(self, packet_id: int) -> None:
        """The client had acknowledged it."""
        message = self._unsettled.get(packet_id)
        if message is not None:
            self._released.pop(packet_id, None)
            self._leave(message, True)
            self.settled.clear()

    def restored(self) -> None:
        """Everything is back. The first ones may have been sent before the restart: as many as fit a window."""
        perhaps = (each for packet_id, each in self._unsettled.items() if packet_id in self._perhaps_sent)
        for message, _ in zip(perhaps, range(self._inflight_max)):
            message.sent = True
        self._perhaps_sent.clear()

    def unsettled_messages(self) -> Iterable[tuple[Outgoing, bool]]:
        """All of QoS 1 and 2 in order, each with whether the client has it already."""
        return [(each, packet_id in self._released) for packet_id, each in self._unsettled.items()]

    def taken_ids(self) -> list[int]:
        """Messages of QoS 2 that wait for their release."""
        return [packet_id for packet_id, state in self._taken.items() if state is not Taking.COMING]

    # -- the end -----------------------------------------------------------------------------------------------------

    def discard(self) -> list[Outgoing]:
        """The session is forgotten: nothing of it will be delivered. Returns what was not."""
        messages = [*self._unsettled.values(), *(each for each in self._waiting if not each.qos)]
        self._unsettled.clear()
        self._released.clear()
        self._waiting.clear()
        self._flying = 0
        for message in messages:
            message.logged = False
            self._settle(message, False)
        return messages

    # -- inside ------------------------------------------------------------------------------------------------------

    def _leave(self, message: Outgoing, delivered: bool) -> None:
        if message.flying:
            message.flying = False
            self._flying -= 1
        elif message in self._waiting:  # acknowledged before it was sent again: strange, harmless
            self._waiting.remove(message)
        self._settle(message, delivered)

    def _new_packet_id(self) -> int:
        while True:
            self._last_packet_id = self._last_packet_id % PACKET_ID_MAX + 1
            if self._last_packet_id not in self._unsettled:
                return self._last_packet_id

    def _settle(self, message: Outgoing, delivered: bool) -> None:
        if message.qos:
            self._unsettled.pop(message.packet_id, None)
        if message.logged:
            self.settled.append(message.packet_id)
        self._bytes -= message.size
        self._budget.used -= message.size
        message.settle(delivered)


def _packet(message: Outgoing, now_ns: int, *, dup: bool) -> Publish:
    properties = message.properties
    if message.expires_ns is not None:
        left_s = max(0, message.expires_ns - now_ns) // 1_000_000_000
        properties = {**properties, Property.MESSAGE_EXPIRY_INTERVAL: left_s}
    return Publish(message.topic, message.payload, message.qos, message.packet_id, message.retain, dup, properties)
