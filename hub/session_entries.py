"""What the broker promises to remember across a restart, as records of the stream `sessions` (docs/mqtt.md).

Folded in order they give the sessions, their subscriptions and messages, the retained messages and the wills. A record
has the client id or the topic as its key, its kind and small values in its headers, and MQTT packets of version 5 as
its value. Times are milliseconds since 1970: a clock that stands still while the hub is away would keep all for ever.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from hub.subscriptions import Held
from streams.errors import JunkError
from streams.mqtt import (
    Connect,
    MalformedPacket,
    Packet,
    Publish,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
    decode,
    encode,
)
from streams.record import NewRecord, Record

KIND = "kind"
ABOUT = "about"


@dataclass(frozen=True, slots=True)
class Opened:
    """A session as it is from now on. `is_new`: whatever was known of it is forgotten."""

    client_id: str
    version: int
    expiry_s: int
    owner: str | None = None
    is_new: bool = False
    connected: bool = True
    ends_ms: int | None = None
    will: Will | None = None
    will_due_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A session is over."""

    client_id: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    client_id: str
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    client_id: str
    topic_filters: tuple[str, ...]


class Target(NamedTuple):
    """One session that a message goes to."""

    client_id: str
    packet_id: int
    qos: int
    retain: bool = False
    identifiers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """A message waits in sessions."""

    message: Publish
    targets: tuple[Target, ...]
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """Messages have left a session."""

    client_id: str
    packet_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """The client has messages of QoS 2; what follows is their release."""

    client_id: str
    packet_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """A message of QoS 2 of the client is where it belongs. `mark`: what it is known by on another stream."""

    client_id: str
    packet_id: int
    mark: bytes = b""


@dataclass(frozen=True, slots=True)
class Released:
    client_id: str
    packet_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Retained:
    """The retained message of a topic; None: there is none any more."""

    topic: str
    message: Publish | None
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Scanned:
    """All marks before these offsets of other streams are known here."""

    positions: dict[tuple[str, int], int]


Entry = Opened | Ended | Subscribed | Unsubscribed | Queued | Settled | Received | Taken | Released | Retained | Scanned


def to_record(entry: Entry, time_ms: int) -> NewRecord:
    """The record of an entry."""
    key, about, value = _parts(entry)
    kind = type(entry).__name__.lower().encode()
    headers = ((KIND, kind), (ABOUT, json.dumps(about, separators=(",", ":")).encode()))
    return NewRecord(key.encode("utf-8", "surrogatepass"), value, time_ms, headers)


def _parts(entry: Entry) -> tuple[str, dict[str, Any], bytes | None]:
    about: dict[str, Any]
    match entry:
        case Opened():
            about = {
                "version": entry.version, "expiry_s": entry.expiry_s, "owner": entry.owner, "new": entry.is_new,
                "connected": entry.connected, "ends_ms": entry.ends_ms, "will_due_ms": entry.will_due_ms,
            }  # fmt: skip
            return entry.client_id, about, encode(Connect(entry.client_id, 5, will=entry.will))
        case Ended(client_id):
            return client_id, {}, None
        case Subscribed(client_id, held):
            subscriptions = tuple(each.options for each in held)
            about = {"identifiers": [each.identifier for each in held]}
            return client_id, about, encode(Subscribe(1, subscriptions), 5)
        case Unsubscribed(client_id, topic_filters):
            return client_id, {}, encode(Unsubscribe(1, topic_filters), 5)
        case Queued(message, targets, expires_ms):
            return message.topic, {"targets": targets, "expires_ms": expires_ms}, encode(message, 5)
        case Settled(client_id, packet_ids) | Received(client_id, packet_ids) | Released(client_id, packet_ids):
            return client_id, {"ids": packet_ids}, None
        case Taken(client_id, packet_id, mark):
            return client_id, {"id": packet_id, "mark": mark.hex()}, None
        case Retained(topic, kept, expires_ms):
            return topic, {"expires_ms": expires_ms}, None if kept is None else encode(_numbered(kept, 1), 5)
        case Scanned(positions):
            return "", {"positions": [[*place, offset] for place, offset in positions.items()]}, None


def from_record(record: Record) -> Entry:
    """The entry of a record. JunkError when it is none."""
    headers = dict(record.headers)
    try:
        about = json.loads(headers[ABOUT])
        key = (record.key or b"").decode("utf-8", "surrogatepass")
        return _entry(headers[KIND].decode(), key, about, record.value)
    except (KeyError, ValueError, TypeError, AttributeError, MalformedPacket) as error:
        raise JunkError(f"record {record.offset} of the log of sessions cannot be read: {error!r}") from None


def _entry(kind: str, key: str, about: dict[str, Any], value: bytes | None) -> Entry:
    match kind:
        case "opened":
            return Opened(
                key, about["version"], about["expiry_s"], about["owner"], about["new"], about["connected"],
                about["ends_ms"], _packet(value, Connect).will, about["will_due_ms"],
            )  # fmt: skip
        case "ended":
            return Ended(key)
        case "subscribed":
            subscriptions: tuple[Subscription, ...] = _packet(value, Subscribe).subscriptions
            return Subscribed(key, tuple(map(Held, subscriptions, about["identifiers"])))
        case "unsubscribed":
            return Unsubscribed(key, _packet(value, Unsubscribe).topic_filters)
        case "queued":
            targets = tuple(
                Target(client_id, packet_id, qos, retain, tuple(identifiers))
                for client_id, packet_id, qos, retain, identifiers in about["targets"]
            )
            return Queued(_packet(value, Publish), targets, about["expires_ms"])
        case "settled":
            return Settled(key, tuple(about["ids"]))
        case "received":
            return Received(key, tuple(about["ids"]))
        case "taken":
            return Taken(key, about["id"], bytes.fromhex(about["mark"]))
        case "released":
            return Released(key, tuple(about["ids"]))
        case "retained":
            kept = None if value is None else _numbered(_packet(value, Publish), 0)
            return Retained(key, kept, about["expires_ms"])
        case "scanned":
            return Scanned({(stream, partition): offset for stream, partition, offset in about["positions"]})
        case _:
            raise ValueError(f"there is no kind {kind!r}")


def _packet(value: bytes | None, kind: type[Any]) -> Any:
    found = decode(value or b"", version=5)
    packet: Packet | None = found[0] if found is not None and found[1] == len(value or b"") else None
    if not isinstance(packet, kind):
        raise ValueError(f"its value is no {kind.__name__}")
    return packet


def _numbered(message: Publish, packet_id: int) -> Publish:
    """A packet of QoS 1 or 2 needs a number to be one."""
    return replace(message, packet_id=packet_id) if message.qos else message
