"""Clients that do what MQTT asks of a sender and a receiver of QoS 1 and 2, also after their connection broke.

Real client libraries do not always: paho-mqtt, for one, sends a message of QoS 2 anew that it had released already,
when its connection breaks a second time meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from streams.mqtt import (
    Acknowledge,
    Connack,
    Connect,
    Packet,
    PacketType,
    Property,
    Publish,
    Suback,
    Subscribe,
    Subscription,
)

EXPIRY = Property.SESSION_EXPIRY_INTERVAL


class Link(Protocol):
    """A connection as a client sees it; version 5."""

    @property
    def closed(self) -> bool: ...

    def send(self, *packets: Packet) -> None: ...

    def read(self) -> list[Packet]:
        """What came since the last call; does not wait."""
        ...


OpenLink = Callable[[], Link]


class Publisher:
    """A client that publishes numbered messages and does what MQTT asks of a sender."""

    def __init__(self, open_link: OpenLink, qos: int, topic: str) -> None:
        self._open_link, self.qos, self.topic = open_link, qos, topic
        self.name = f"publisher-{qos}-{topic.split('/')[0]}"
        if topic.startswith("penstock"):
            self.topic = f"penstock/v1/{self.name}/frames"
        self.open: dict[int, tuple[bytes, bool]] = {}
        """Packet identifier to payload and whether PUBREC came."""
        self.sent: list[bytes] = []
        self.done: list[bytes] = []
        self.link: Link | None = None
        self.greeted = False

    def connect(self) -> None:
        self.link = self._open_link()
        self.greeted = False
        self.link.send(Connect(self.name, 5, False, properties={EXPIRY: 10_000}))

    def publish(self) -> None:
        if self.link is None or not self.greeted or len(self.open) >= 20:
            return
        packet_id = next(n for n in range(1, 30) if n not in self.open)
        payload = b"%s/%d" % (self.name.encode(), len(self.sent))
        self.sent.append(payload)
        self.open[packet_id] = (payload, False)
        self.link.send(Publish(self.topic, payload, self.qos, packet_id))

    def work(self) -> bool:
        """Answer what came; whether anything did."""
        if self.link is None:
            return False
        if self.link.closed:
            self.link = None
            return True
        packets = self.link.read()
        for packet in packets:
            self._on(packet)
        return bool(packets)

    def _on(self, packet: Packet) -> None:
        assert self.link is not None
        match packet:
            case Connack():
                assert packet.session_present or not self.done, "the session was lost"
                self.greeted = True
                for packet_id, (payload, received) in self.open.items():
                    if received:
                        self.link.send(Acknowledge(PacketType.PUBREL, packet_id))
                    else:
                        self.link.send(Publish(self.topic, payload, self.qos, packet_id, dup=True))
            case Acknowledge(PacketType.PUBREC, packet_id) if packet_id in self.open:
                self.open[packet_id] = (self.open[packet_id][0], True)
                self.link.send(Acknowledge(PacketType.PUBREL, packet_id))
            case Acknowledge(PacketType.PUBACK | PacketType.PUBCOMP, packet_id) if packet_id in self.open:
                self.done.append(self.open.pop(packet_id)[0])
            case _:
                pass


class Reader:
    """A client that subscribes to all and does what MQTT asks of a receiver."""

    def __init__(self, open_link: OpenLink, name: str, topic_filter: str = "#") -> None:
        self._open_link, self.name, self._filter = open_link, name, topic_filter
        self.link: Link | None = None
        self.subscribed = False
        self.held: set[int] = set()
        self.heard: list[bytes] = []

    def connect(self) -> None:
        self.link = self._open_link()
        self.link.send(Connect(self.name, 5, False, properties={EXPIRY: 10_000, Property.RECEIVE_MAXIMUM: 5}))

    def work(self) -> bool:
        if self.link is None:
            return False
        if self.link.closed:
            self.link = None
            return True
        packets = self.link.read()
        for packet in packets:
            self._on(packet)
        return bool(packets)

    def _on(self, packet: Packet) -> None:
        assert self.link is not None
        match packet:
            case Connack():
                assert packet.session_present or not self.subscribed, "the session was lost"
                if not self.subscribed:
                    self.link.send(Subscribe(1, (Subscription(self._filter, 2),)))
            case Suback():
                self.subscribed = True
            case Publish():
                if packet.qos == 2:
                    if packet.packet_id not in self.held:
                        self.held.add(packet.packet_id)
                        self.heard.append(packet.payload)
                    self.link.send(Acknowledge(PacketType.PUBREC, packet.packet_id))
                else:
                    self.heard.append(packet.payload)
                    self.link.send(Acknowledge(PacketType.PUBACK, packet.packet_id))
            case Acknowledge(PacketType.PUBREL, packet_id):
                self.held.discard(packet_id)
                self.link.send(Acknowledge(PacketType.PUBCOMP, packet_id))
            case _:
                pass
