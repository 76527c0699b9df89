"""One client's connection: bytes in, packets to the gateway, bytes out. The path of a PUBLISH is short on purpose.

What a device publishes for the pipeline is collected over one read of the socket and handed to the intake in one call;
its acknowledgements are written in one piece when the intake says that all of it is on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

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
    Pingreq,
    Pingresp,
    Property,
    Publish,
    Reason,
    Subscribe,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from streams.mqtt.decode import read_length

if TYPE_CHECKING:
    from hub.gateway import Gateway

TOPICS_KNOWN_MAX = 64
WRITE_BUFFER_BYTES = 256 << 10


class Route(NamedTuple):
    """Where messages of a topic go."""

    topic: str
    allowed: bool
    to_pipeline: bool


class Connection(asyncio.Protocol):
    """See the head of this file. `session` is None until the CONNECT is accepted."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # until connection_made
        self._rest = b""
        self._routes: dict[bytes, Route] = {}
        self._aliases: dict[int, str] = {}
        self._closing = False
        self._reading_paused = False
        self._writing_paused = False
        self.client: Client | None = None
        self.session: Session | None = None
        self.will: Will | None = None
        self.version = 4
        self.keepalive_s = 0
        self.packet_bytes_max = 0
        """Largest packet that the client takes; 0: any."""
        self.address = ""
        self.heard_s = 0.0
        self.unacknowledged = 0
        """Messages of QoS 1 and 2 taken from the client and not yet acknowledged."""

    # -- the transport -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        peer = transport.get_extra_info("peername") or ("?", 0)
        self.address = f"{peer[0]}:{peer[1]}"
        self.heard_s = self._gateway.now_s()
        self._gateway.on_open(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._gateway.on_lost(self, str(exc) if exc else "the client closed the connection")

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.send_waiting()

    def pause_reading(self) -> None:
        if not self._reading_paused and not self._closing:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused and not self._closing:
            self._reading_paused = False
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self.heard_s = self._gateway.now_s()
        self._gateway.counters["bytes_in"] += len(data)
        taken: list[Message] = []
        acks: list[bytes] = []
        ids: list[int] = []
        try:
            self._rest = self._read(self._rest + data if self._rest else data, taken, acks, ids)
        except MalformedPacket as error:
            self._take(taken, acks, ids)
            self._gateway.on_malformed(self, error)
            self.close(error.reason, str(error))
            return
        self._take(taken, acks, ids)

    # -- in ----------------------------------------------------------------------------------------------------------

    def _read(self, data: bytes, taken: list[Message], acks: list[bytes], ids: list[int]) -> bytes:
        """Handle every whole packet; returns what is left."""
        at, end = 0, len(data)
        limit = self._gateway.settings.packet_bytes_max
        while end - at >= 2 and not self._closing:
            first = data[at]
            if first & 0xF0 == 0x30 and self.session is not None:
                length, start = data[at + 1], at + 2
                if length & 0x80:
                    header = read_length(data, at)
                    if header is None:
                        break
                    start, length = header
                stop = start + length
                if stop - at > limit:
                    raise MalformedPacket(f"a packet of {stop - at} bytes is above the limit of {limit}", reason=0x95)
                if stop > end:
                    break
                if not self._publish_fast(data, first, start, stop, taken, acks, ids):
                    packet, _ = decode(data, at, version=self.version) or (None, 0)
                    assert isinstance(packet, Publish)
                    self._on_publish(packet, taken, acks, ids)
                at = stop
                continue
            found = decode(data, at, version=self.version, packet_bytes_max=limit)
            if found is None:
                break
            packet, at = found
            self._on_packet(packet)
        return data[at:] if at else data

    def _publish_fast(
        self, data: bytes, first: int, start: int, stop: int, taken: list[Message], acks: list[bytes], ids: list[int]
    ) -> bool:
        """A PUBLISH of QoS 0 or 1 for the pipeline on a topic that is known. False: the long way."""
        if first & 5 or stop - start < 2:
            return False
        at = start + 2 + (data[start] << 8 | data[start + 1])
        route = self._routes.get(data[start + 2 : at])
        if route is None or not route.to_pipeline or not route.allowed or at >= stop:
            return False
        qos = first >> 1 & 1
        packet_id = b""
        if qos:
            packet_id = data[at : at + 2]
            at += 2
            if at > stop or packet_id == b"\0\0":
                return False
        if self.version >= 5:
            if at >= stop or data[at]:
                return False
            at += 1
        taken.append(Message(route.topic, data[at:stop], qos))
        if qos:
            acks.append(b"\x40\x02" + packet_id)
        return True

    def _on_publish(self, packet: Publish, taken: list[Message], acks: list[bytes], ids: list[int]) -> None:
        topic = self._resolve_alias(packet)
        route = self._route(topic)
        session = self.session
        assert session is not None and self.client is not None
        if not route.allowed:
            self._refuse(packet, route.topic)
            return
        if packet.qos == 2 and not session.begin_receiving(packet.packet_id):
            self._send(Acknowledge(PacketType.PUBREC, packet.packet_id))
            return
        if route.to_pipeline:
            taken.append(Message(topic, packet.payload, packet.qos, packet.retain))
            if packet.qos:
                kind = b"\x40\x02" if packet.qos == 1 else b"\x50\x02"
                acks.append(kind + packet.packet_id.to_bytes(2, "big"))
            if packet.qos == 2:
                ids.append(packet.packet_id)
            return
        self._gateway.counters["messages_in"] += 1
        reached = self._gateway.route(topic, packet, sender=self.client.client_id)
        reason = Reason.SUCCESS if reached else Reason.NO_MATCHING_SUBSCRIBERS
        if packet.qos:
            kind_of = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
            self._send(Acknowledge(kind_of, packet.packet_id, reason))

    def _resolve_alias(self, packet: Publish) -> str:
        alias = packet.properties.get(Property.TOPIC_ALIAS)
        if not isinstance(alias, int):
            return packet.topic
        if alias > self._gateway.settings.topic_alias_maximum:
            raise MalformedPacket(f"the topic alias {alias} is above what was granted", reason=0x94)
        if packet.topic:
            self._aliases[alias] = packet.topic
        elif alias not in self._aliases:
            raise MalformedPacket(f"the topic alias {alias} was never set", reason=0x94)
        return self._aliases[alias]

    def _route(self, topic: str) -> Route:
        name = topic.encode()
        route = self._routes.get(name)
        if route is None:
            assert self.client is not None
            if len(self._routes) >= TOPICS_KNOWN_MAX:
                self._routes.clear()
            route = self._routes[name] = self._gateway.route_of(self.client, topic)
        return route

    def _refuse(self, packet: Publish, topic: str) -> None:
        """A topic that is not the client's: MQTT 5 can be told so; 3.1.1 knows only the end of the connection."""
        self._gateway.on_refused(self, topic)
        if self.version < 5:
            self.close(Reason.NOT_AUTHORIZED, f"{topic!r} is not a topic of this client")
        elif packet.qos:
            kind = PacketType.PUBACK if packet.qos == 1 else PacketType.PUBREC
            self._send(Acknowledge(kind, packet.packet_id, Reason.NOT_AUTHORIZED))

    def _take(self, taken: Sequence[Message], acks: Sequence[bytes], ids: Sequence[int]) -> None:
        if not taken or self.client is None:
            return
        count, size = len(acks), sum([len(message.payload) for message in taken]) + 64 * len(taken)
        self.unacknowledged += count
        if self.version >= 5 and self.unacknowledged > self._gateway.settings.receive_maximum:
            self.close(Reason.RECEIVE_MAXIMUM_EXCEEDED, "more messages unacknowledged than the receive maximum allows")
            return
        answer = b"".join(acks)

        def on_taken(error: Exception | None) -> None:
            self.unacknowledged -= count
            self._gateway.on_durable(size)
            if error is None:
                self._write(answer)
                return
            if self.session is not None:
                for packet_id in ids:
                    self.session.forget_receiving(packet_id)
            self._gateway.counters["intake_refusals"] += 1
            self.close(Reason.IMPLEMENTATION_SPECIFIC_ERROR, str(error))

        self._gateway.take(self.client, taken, size, on_taken)

    def _on_packet(self, packet: Packet) -> None:
        if self.session is None:
            if not isinstance(packet, Connect):
                raise MalformedPacket("the first packet must be a CONNECT", reason=0x82)
            self._gateway.on_connect(self, packet)
            return
        match packet:
            case Pingreq():
                self._send(Pingresp())
            case Acknowledge():
                self._on_acknowledge(packet, self.session)
            case Subscribe():
                self._gateway.on_subscribe(self, packet)
            case Unsubscribe():
                self._gateway.on_unsubscribe(self, packet)
            case Disconnect():
                self._gateway.on_disconnect(self, packet)
            case Auth():
                raise MalformedPacket("no authentication exchange was begun", reason=0x82)
            case _:
                raise MalformedPacket(f"a client must not send {type(packet).__name__.upper()} now", reason=0x82)

    def _on_acknowledge(self, packet: Acknowledge, session: Session) -> None:
        packet_id = packet.packet_id
        match packet.kind:
            case PacketType.PUBACK:
                session.on_puback(packet_id)
            case PacketType.PUBREC:
                failed = packet.reason >= 0x80
                known = session.on_pubrec(packet_id, failed=failed)
                if not failed:
                    reason = Reason.SUCCESS if known else Reason.PACKET_IDENTIFIER_NOT_FOUND
                    self._send(Acknowledge(PacketType.PUBREL, packet_id, reason))
            case PacketType.PUBREL:
                known = session.end_receiving(packet_id)
                reason = Reason.SUCCESS if known else Reason.PACKET_IDENTIFIER_NOT_FOUND
                self._send(Acknowledge(PacketType.PUBCOMP, packet_id, reason))
            case _:
                session.on_pubcomp(packet_id)
        self.send_waiting()

    # -- out ---------------------------------------------------------------------------------------------------------

    def welcome(self, answer: Connack, again: Sequence[Packet]) -> None:
        """Answer an accepted CONNECT, then what the session still has for the client."""
        self._send(answer)
        for packet in again:
            self._send(packet)
        self.send_waiting()

    def send(self, packet: Packet) -> None:
        """Send one packet."""
        self._send(packet)

    def send_waiting(self) -> None:
        """Send what waits in the session, as far as the client's window and the socket allow."""
        if self.session is None or self._writing_paused or self._closing:
            return
        packets = self.session.sendable(self._gateway.now_ns())
        if packets:
            self._gateway.counters["messages_out"] += len(packets)
            self._write(b"".join([self._fitting(packet) for packet in packets]))

    def close(self, reason: int, text: str) -> None:
        """End the connection; MQTT 5 is told why."""
        if self._closing:
            return
        if self.session is not None and self.version >= 5:
            self._send(Disconnect(reason, {Property.REASON_STRING: text[:200]} if text else {}))
        self._closing = True
        self._transport.close()
        self._gateway.close_later(self._transport)

    def goodbye(self) -> None:
        """The client said DISCONNECT."""
        self._closing = True
        self._transport.close()

    def _fitting(self, packet: Publish) -> bytes:
        data = encode(packet, self.version)
        if self.packet_bytes_max and len(data) > self.packet_bytes_max:  # 5.0, 3.1.2.11.4: not sent, as if it were
            self._gateway.counters["too_large_for_client"] += 1
            if packet.qos and self.session is not None:
                self.session.on_puback(packet.packet_id)
            return b""
        return data

    def _send(self, packet: Packet) -> None:
        self._write(encode(packet, self.version))

    def _write(self, data: bytes) -> None:
        if not self._closing and data:
            self._gateway.counters["bytes_out"] += len(data)
            self._transport.write(data)
