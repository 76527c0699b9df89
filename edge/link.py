"""One connection to the hub's MQTT gateway: paho-mqtt driven by the event loop, no thread of its own.

A link is used once. Whatever was not acknowledged when it ends is sent again by whoever sent it, over the next link, so
paho never repeats anything by itself. Only the connecting (name look-up, TCP handshake) happens in a thread.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import socket
from collections.abc import Callable
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.settings import EdgeSettings
from edge.tls import tls_context
from edge.worker_thread import WorkerThread
from streams.errors import JunkError, MisuseError, PenstockError
from streams.names import HUB_PROPERTY

_log = logging.getLogger(__name__)

_QUEUE_MAX = 10_000
_MISC_INTERVAL_S = 1.0
_SESSION_TAKEN_OVER = 0x8E


class LinkDownError(PenstockError):
    """The connection could not be made, or has ended; what was not acknowledged must be sent again."""


class VersionRefusedError(LinkDownError):
    """The broker does not speak this version of MQTT."""


class PublishRefusedError(JunkError):
    """The broker answered a message with a reason to refuse it (MQTT 5)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """What came in. It is acknowledged by `Link.acknowledge`, and not before."""

    topic: str
    payload: bytes
    qos: int
    number: int


@dataclasses.dataclass(slots=True)
class _Outgoing:
    topic: str
    payload: bytes
    done: asyncio.Future[None]


class Link:
    """A connection; `connect` first. All methods are called on the event loop."""

    def __init__(
        self,
        settings: EdgeSettings,
        *,
        version: int,
        address: tuple[str, int] | None = None,
        will: tuple[str, bytes],
        on_message: Callable[[Message], None],
    ) -> None:
        self._settings = settings
        self._address = address or (settings.hub_host, settings.hub_port)
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._inflight: dict[int, _Outgoing] = {}
        self._waiting: collections.deque[_Outgoing] = collections.deque()
        self._subscribed: dict[int, asyncio.Future[None]] = {}
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        """Resolves with the reason when the connection has ended."""
        self.taken_over = False
        """Whether the broker ended it because another client connected under the same id (MQTT 5 says so)."""
        self.inflight_max = 65535
        """How many unacknowledged messages the broker takes (its Receive Maximum)."""
        self.is_hub: bool | None = None
        """Whether the other end says that it is the hub itself, so that PUBACK means on disk. None: it cannot say."""
        self._thread = WorkerThread("mqtt connect")
        self._misc: asyncio.Task[None] | None = None
        self._client = self._make_client(version, will)

    async def connect(self) -> None:
        """Connect and wait for the CONNACK. LinkDownError when it fails, VersionRefusedError to try an older MQTT."""
        try:
            async with asyncio.timeout(self._settings.link.connect_timeout_s):
                await self._thread.submit(self._connect_blocking)
                await asyncio.wait((self._connected, self.ended), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise LinkDownError(f"no answer within {self._settings.link.connect_timeout_s:g} s") from None
        except (OSError, ValueError) as error:
            raise LinkDownError(str(error) or type(error).__name__) from None
        finally:
            self._thread.close()
        if not self._connected.done():
            raise VersionRefusedError(f"closed before it answered ({self.ended.result()})")
        self._connected.result()
        self._misc = asyncio.create_task(self._keep_alive(), name="mqtt keep-alive")

    async def subscribe(self, *topics: str) -> None:
        """Subscribe with QoS 1 and wait for the SUBACK. LinkDownError when refused."""
        done: asyncio.Future[None] = self._loop.create_future()
        result, number = self._client.subscribe([(topic, 1) for topic in topics])
        if number is None or result != mqtt.MQTT_ERR_SUCCESS:
            raise LinkDownError(f"cannot subscribe ({mqtt.error_string(result)})")
        self._subscribed[number] = done
        await self.until_down(done)

    def publish(self, topic: str, payload: bytes) -> asyncio.Future[None]:
        """Send with QoS 1; the future ends at the PUBACK. LinkDownError, or PublishRefusedError, from the future."""
        outgoing = _Outgoing(topic, payload, self._loop.create_future())
        if self.ended.done():
            outgoing.done.set_exception(LinkDownError(self.ended.result()))
        elif len(self._waiting) >= _QUEUE_MAX:
            outgoing.done.set_exception(LinkDownError(f"{_QUEUE_MAX} messages wait to be sent"))
        else:
            self._waiting.append(outgoing)
            self._pump()
        return outgoing.done

    def acknowledge(self, message: Message) -> None:
        """Send the PUBACK of a message that came in."""
        if message.qos and not self.ended.done():
            self._client.ack(message.number, message.qos)

    async def until_down(self, future: asyncio.Future[None]) -> None:
        """Wait for `future`, or raise LinkDownError when the connection ends first."""
        await asyncio.wait((future, self.ended), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise LinkDownError(self.ended.result())
        future.result()

    def close(self) -> None:
        """Disconnect in good order (no will is sent) and free everything."""
        if not self.ended.done():
            self._client.disconnect()
            self._write()
        self._end("closed by the agent")

    def abort(self, reason: str) -> None:
        """Drop the connection at once; the broker publishes the will."""
        self._end(reason)

    # -- paho's side -------------------------------------------------------------------------------------------------

    def _make_client(self, version: int, will: tuple[str, bytes]) -> Any:
        settings, five = self._settings, version == MQTTProtocolVersion.MQTTv5
        client: Any = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.device_id,
            clean_session=None if five else False,
            protocol=MQTTProtocolVersion(version),
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.suppress_exceptions = False
        client.max_inflight_messages_set(0)  # this object counts what is in flight
        client.connect_timeout = settings.link.connect_timeout_s
        if settings.link.username:
            client.username_pw_set(settings.link.username, settings.link.password or None)
        try:
            context = tls_context(settings.link)
        except MisuseError as error:  # checked at the start, and changed since
            raise LinkDownError(str(error)) from None
        if context is not None:
            client.tls_set_context(context)
        client.will_set(will[0], will[1], qos=1)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_publish_in
        client.on_publish = self._on_puback
        client.on_subscribe = self._on_suback
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_want_write
        client.on_socket_unregister_write = self._on_written
        return client

    def _connect_blocking(self) -> None:
        settings = self._settings
        more: dict[str, Any] = {}
        if self._client.protocol == MQTTProtocolVersion.MQTTv5:
            properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = settings.link.session_expiry_s
            more = {"clean_start": False, "properties": properties}
        self._client.connect(*self._address, settings.link.keepalive_s, **more)

    def _on_socket_open(self, client: Any, userdata: Any, sock: socket.socket) -> None:  # in the connecting thread
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._loop.call_soon_threadsafe(self._watch, sock)

    def _watch(self, sock: socket.socket) -> None:
        if self.ended.done():  # the attempt was given up meanwhile
            self._close_socket()
        elif sock.fileno() >= 0:
            self._loop.add_reader(sock.fileno(), self._read, sock)

    def _on_socket_close(self, client: Any, userdata: Any, sock: socket.socket) -> None:
        with contextlib.suppress(ValueError, OSError, RuntimeError):  # closed already, or the loop is
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())

    def _on_want_write(self, client: Any, userdata: Any, sock: socket.socket) -> None:
        self._loop.call_soon_threadsafe(self._write)

    def _on_written(self, client: Any, userdata: Any, sock: socket.socket) -> None:
        with contextlib.suppress(ValueError, OSError):
            self._loop.remove_writer(sock.fileno())

    def _read(self, sock: socket.socket) -> None:
        self._checked(self._client.loop_read)
        pending = getattr(sock, "pending", None)  # TLS may hold bytes that no selector sees
        while pending is not None and not self.ended.done() and pending():
            self._checked(self._client.loop_read)

    def _write(self) -> None:
        if self.ended.done() or (sock := self._client.socket()) is None:
            return
        self._checked(self._client.loop_write)
        if self._client.want_write() and not self.ended.done() and sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._write)

    def _checked(self, step: Callable[[], int]) -> None:
        try:
            result = step()
        except Exception as error:  # paho raises many kinds on bytes that are not MQTT
            _log.debug("mqtt: %s", error, exc_info=True)
            self._end(f"the peer does not speak MQTT: {error or type(error).__name__}")
            return
        if result not in (mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_AGAIN):
            self._end(mqtt.error_string(result).rstrip("."))

    async def _keep_alive(self) -> None:
        while not self.ended.done():
            await asyncio.sleep(_MISC_INTERVAL_S)
            if not self.ended.done():
                self._checked(self._client.loop_misc)

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: ReasonCode, properties: Properties) -> None:
        if self._connected.done():
            return
        if reason.is_failure:
            refused = str(reason)
            kind = VersionRefusedError if reason == "Unsupported protocol version" else LinkDownError
            self._connected.set_exception(kind(f"refused: {refused}"))
            return
        self.inflight_max = int(getattr(properties, "ReceiveMaximum", 65535))
        if self._client.protocol == MQTTProtocolVersion.MQTTv5:
            self.is_hub = HUB_PROPERTY in [tuple(pair) for pair in getattr(properties, "UserProperty", ())]
        self._connected.set_result(None)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self.taken_over = getattr(reason, "value", None) == _SESSION_TAKEN_OVER
        self._end(str(reason))

    def _on_publish_in(self, client: Any, userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._on_message(Message(message.topic, bytes(message.payload), message.qos, message.mid))

    def _on_puback(self, client: Any, userdata: Any, number: int, reason: ReasonCode, properties: Any) -> None:
        outgoing = self._inflight.pop(number, None)
        if outgoing is not None and not outgoing.done.done():
            if reason.is_failure:
                outgoing.done.set_exception(PublishRefusedError(f"{outgoing.topic} was refused: {reason}"))
            else:
                outgoing.done.set_result(None)
        self._loop.call_soon(self._pump)

    def _on_suback(self, client: Any, userdata: Any, number: int, reasons: list[ReasonCode], properties: Any) -> None:
        done = self._subscribed.pop(number, None)
        if done is None or done.done():
            return
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            done.set_exception(LinkDownError(f"the subscription was refused: {', '.join(refused)}"))
        else:
            done.set_result(None)

    # -- what is in flight -------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        while self._waiting and len(self._inflight) < self.inflight_max and not self.ended.done():
            outgoing = self._waiting.popleft()
            if outgoing.done.done():
                continue
            info = self._client.publish(outgoing.topic, outgoing.payload, qos=1)
            if info.rc != mqtt.MQTT_ERR_SUCCESS:
                self._end(mqtt.error_string(info.rc))
                outgoing.done.set_exception(LinkDownError(self.ended.result()))
                return
            self._inflight[info.mid] = outgoing

    def _end(self, reason: str) -> None:
        if self.ended.done():
            return
        self.ended.set_result(reason)
        if self._misc is not None:
            self._misc.cancel()
        for outgoing in (*self._inflight.values(), *self._waiting):
            if not outgoing.done.done():
                outgoing.done.set_exception(LinkDownError(reason))
                outgoing.done.exception()  # nobody may be waiting for it any more
        self._inflight.clear()
        self._waiting.clear()
        self._close_socket()

    def _close_socket(self) -> None:
        if (sock := self._client.socket()) is not None:
            self._on_socket_close(None, None, sock)
            with contextlib.suppress(OSError):
                sock.close()
