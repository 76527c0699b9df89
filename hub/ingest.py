"""From MQTT to the log: what devices publish becomes records, and is acknowledged once these are on disk.

Nothing is decided by what a payload says: what cannot be read is logged and acknowledged too, because a device would
otherwise send it for ever. What the records mean is folded into the projections when they are durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from hub import marks
from hub.events import (
    CONNECTION,
    DEVICE_HEADER,
    Event,
    FrameEvent,
    JunkEvent,
    connection_value,
    device_key,
    dump,
)
from hub.intake import Client, Message, OnTaken
from hub.journal import Journal
from hub.payload import read_object
from hub.quiet import Quiet
from hub.registry import Registry
from hub.translator import Foreign, Translator
from streams import names
from streams.clock import Clock
from streams.errors import JunkError, PenstockError
from streams.metrics import Metrics
from streams.record import NewRecord

_log = logging.getLogger("penstock.hub.ingest")

Publish = Callable[[str, str, bytes], bool]
"""Publishes to one client (its id, topic, payload); False when it is not there or does not listen."""

_MANIFEST_REQUEST = dump({"request": "manifest"})
_parse_topic = lru_cache(maxsize=10_000)(names.parse_topic)


@dataclass(slots=True)
class _Connection:
    client: Client
    on_log: bool = False
    """Whether the log says that it began. A client is a device only once it speaks as one."""
    asked: set[int] = field(default_factory=set)
    """Manifests that were asked for on it."""


class ConnectionWatch(Protocol):
    """Who else must know of connections."""

    def on_connected(self, device: str) -> None: ...

    def on_disconnected(self, device: str) -> None: ...


class _Take:
    """Messages that are acknowledged together: counts the appends that are not durable yet."""

    __slots__ = ("_error", "_on_taken", "_pending")

    def __init__(self, on_taken: OnTaken, appends: int) -> None:
        self._on_taken = on_taken
        self._pending = appends
        self._error: Exception | None = None

    def on_durable(self, error: Exception | None) -> None:
        self._error = self._error or error
        self._pending -= 1
        if self._pending == 0:
            self._on_taken(self._error)


class Ingest:
    """The intake of the gateway. Everything happens in the event loop; the log does the waiting."""

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        *,
        publish: Publish,
        translator: Translator,
        watch: ConnectionWatch,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._translator = translator
        self._watch = watch
        self._journal = journal
        self._registry = registry
        self._publish = publish
        self._clock = clock
        self._quiet = Quiet(clock)
        self._connections: dict[str, _Connection] = {}
        self._telling: dict[str, int] = {}
        """Connection events of a device that are not durable yet."""
        messages = "Messages taken from devices."
        self._messages = {
            channel: metrics.counter("penstock_hub_messages_total", messages, channel=channel)
            for channel in sorted(names.UPSTREAM)
        }
        self._bytes = metrics.counter("penstock_hub_message_bytes_total", "Payload bytes taken from devices.")
        self._readings = metrics.counter("penstock_hub_readings_total", "Readings logged, duplicates included.")
        self._foreign = metrics.counter("penstock_hub_foreign_total", "Messages refused: not the device's own topic.")
        self._metrics = metrics

    def wants(self, topic: str) -> bool:
        parsed = _parse_topic(topic)
        return parsed is not None and parsed.channel in names.UPSTREAM

    def take(self, client: Client, messages: Sequence[Message], on_taken: OnTaken) -> None:
        try:
            batches, foreign = self._sorted(client, messages)
        except JunkError as error:
            self._foreign.increment(len(messages))
            self._warn(f"foreign {client.client_id}", "%s", error)
            asyncio.get_running_loop().call_soon(on_taken, error)
            return
        if not batches and not foreign:
            asyncio.get_running_loop().call_soon(on_taken, None)
            return
        take = _Take(on_taken, len(batches) + bool(foreign))
        for stream, records in batches.items():
            self._journal.append(stream, records, take.on_durable)
        if foreign:
            self._translator.take(client.client_id, foreign, take.on_durable)

    def connected(self, client: Client) -> None:
        self._connections[client.client_id] = _Connection(client)
        self._watch.on_connected(client.client_id)
        if self._registry.find(client.client_id) is not None:
            self._tell(client.client_id, None)

    def disconnected(self, client: Client, reason: str) -> None:
        connection = self._connections.get(client.client_id)
        if connection is None or connection.client is not client:
            return
        del self._connections[client.client_id]
        self._watch.on_disconnected(client.client_id)
        if connection.on_log:
            self._tell(client.client_id, reason)

    def react(self, event: Event) -> None:
        """Do what a new event on the log asks for: fetch a manifest that is not known, report junk."""
        match event:
            case FrameEvent():
                self._readings.increment(event.header.count)
                known = self._registry.knows_manifest(event.device, event.header.manifest)
                if not known and not names.is_translated(event.header.epoch):
                    self._ask_manifest(event.device, event.header.manifest)
            case JunkEvent():
                self._metrics.counter(
                    "penstock_hub_junk_total", "Messages that cannot be understood.", channel=event.channel
                ).increment()
                self._warn(
                    f"junk {event.device} {event.channel}", "%s: %s: %s", event.device, event.channel, event.reason
                )

    def correct(self, reason: str) -> None:
        """Bring the log's view of connections in line with the gateway's: after a start, or a disk that was full."""
        for device in self._registry.all():
            connection = self._connections.get(device.device)
            if device.connected != (connection is not None) and device.device not in self._telling:
                self._tell(device.device, reason)

    def _sorted(self, client: Client, messages: Sequence[Message]) -> tuple[dict[str, list[NewRecord]], list[Foreign]]:
        """Records by stream, and what has to be translated first. Raises JunkError."""
        time_ms = self._clock.time_ns() // 1_000_000
        batches: dict[str, list[NewRecord]] = {}
        foreign: list[Foreign] = []
        counts: dict[str, int] = {}
        for message in messages:
            parsed = _parse_topic(message.topic)
            if parsed is None or parsed.device != client.client_id or parsed.channel not in names.UPSTREAM:
                raise JunkError(
                    f"client {client.client_id!r} may not publish to {message.topic[:200]!r}; "
                    "a device's client id is its device id, and it publishes below that alone"
                )
            if parsed.channel in names.TRANSLATED:
                foreign.append(Foreign(parsed.channel, message.content_type, message.payload, message.mark))
            else:
                stream, record = _record(parsed, message.payload, time_ms)
                if message.mark is not None:
                    record = record._replace(headers=(*record.headers, marks.header(message.mark)))
                batches.setdefault(stream, []).append(record)
            counts[parsed.channel] = counts.get(parsed.channel, 0) + 1
        for channel, count in counts.items():
            self._messages[channel].increment(count)
        self._bytes.increment(sum(len(message.payload) for message in messages))
        connection = self._connections.get(client.client_id)
        if connection is not None and not connection.on_log:
            self._tell(client.client_id, None)
        return batches, foreign

    def _tell(self, device: str, reason: str | None) -> None:
        """Write to the log whether a device is connected now."""
        connection = self._connections.get(device)
        if connection is not None:
            connection.on_log = True
        time_ms = self._clock.time_ns() // 1_000_000
        address = connection.client.address if connection else None
        value = connection_value(connection is not None, time_ms, address=address, reason=reason)
        self._telling[device] = self._telling.get(device, 0) + 1

        def on_durable(_: Exception | None) -> None:  # when it failed, `correct` finds the difference
            self._telling[device] -= 1
            if not self._telling[device]:
                del self._telling[device]

        record = NewRecord(device_key(device, CONNECTION), value, time_ms)
        self._journal.append(names.DEVICES, [record], on_durable)

    def _ask_manifest(self, device: str, manifest_id: int) -> None:
        connection = self._connections.get(device)
        if connection is None or manifest_id in connection.asked:
            return
        if self._publish(device, names.topic(device, names.REQUESTS), _MANIFEST_REQUEST):
            connection.asked.add(manifest_id)
            _log.info("%s: asked for the manifest %08x, which its frames name", device, manifest_id)

    def _warn(self, key: str, text: str, *arguments: object) -> None:
        held_back = self._quiet.due(key)
        if held_back is not None:
            _log.warning(
                text + (" (%d times more before)" if held_back else ""), *arguments, *[held_back] * (held_back > 0)
            )


def _record(topic: names.DeviceTopic, payload: bytes, time_ms: int) -> tuple[str, NewRecord]:
    """Where a message goes on the log, and as what."""
    device, channel = topic
    if channel == names.FRAMES:
        return names.TELEMETRY, NewRecord(device.encode(), payload, time_ms)
    if channel != names.RESULTS:
        return names.DEVICES, NewRecord(device_key(device, channel), payload, time_ms)
    header = ((DEVICE_HEADER, device.encode()),)
    try:
        body = read_object(payload, "the result")
    except PenstockError:
        return names.COMMANDS, NewRecord(None, payload, time_ms, header)
    key = str(body.get("key"))[:64].encode("utf-8", "replace")
    return names.COMMANDS, NewRecord(key, dump({**body, "device": device}), time_ms, header)
