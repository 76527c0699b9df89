"""MQTT over WebSocket (5.0, 6): the same bytes in binary frames, in any pieces, under the subprotocol "mqtt".

Scripts of any web page may open a WebSocket to any address that the browser reaches, also to this machine's own. So a
browser, which says whose page it is, is let in only from a page of the very address it asks for, or one that is named.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from hub.gateway_settings import WebSocketSettings

SUBPROTOCOL = "mqtt"


class Refused(Exception):
    """The peer does not speak MQTT over WebSocket, or may not."""


class WebSocket:
    """The framing of one connection, without I/O: `write` sends bytes to the peer, `take` is given what is MQTT."""

    def __init__(
        self, settings: WebSocketSettings, *, write: Callable[[bytes], None], take: Callable[[bytes], None]
    ) -> None:
        self._settings = settings
        self._write = write
        self._take = take
        self._wire = WSConnection(ConnectionType.SERVER)
        self._open = False

    def receive(self, data: bytes) -> None:
        """Bytes came from the peer. Refused, when the connection must be closed; the peer has been told why."""
        try:
            self._wire.receive_data(data)
            for event in self._wire.events():
                self._on_event(event)
        except RemoteProtocolError as error:
            if error.event_hint is not None:
                self._say(error.event_hint)
            raise Refused(f"it does not speak WebSocket: {error}") from None
        except LocalProtocolError as error:
            raise Refused(f"it goes on after its goodbye: {error}") from None

    def send(self, data: bytes) -> None:
        """Send MQTT to the peer."""
        if self._open:
            self._say(BytesMessage(data))

    def close(self) -> None:
        """Say goodbye."""
        if self._open:
            self._open = False
            self._say(CloseConnection(CloseReason.NORMAL_CLOSURE))

    def _on_event(self, event: Event) -> None:
        match event:
            case Request():
                self._on_request(event)
            case BytesMessage():
                self._take(bytes(event.data))
            case TextMessage():
                self._open = False
                self._say(CloseConnection(CloseReason.UNSUPPORTED_DATA, "MQTT needs binary frames"))
                raise Refused("it sent text where MQTT needs binary frames (5.0, 6.0.0-1)")
            case Ping():
                self._say(event.response())
            case CloseConnection():
                if self._open:
                    self._open = False
                    self._say(event.response())
                raise Refused("the client closed the WebSocket")
            case _:
                pass

    def _on_request(self, request: Request) -> None:
        fault = self._fault(request)
        if fault is not None:
            status, text = fault
            self._say(RejectConnection(status_code=status, has_body=True, headers=[(b"content-type", b"text/plain")]))
            self._say(RejectData(data=f"{text}\n".encode(), body_finished=True))
            raise Refused(text)
        self._open = True
        self._say(AcceptConnection(subprotocol=SUBPROTOCOL))

    def _fault(self, request: Request) -> tuple[int, str] | None:
        path = request.target.partition("?")[0]
        if path != self._settings.path:
            return 404, f"MQTT is at {self._settings.path}, not at {path[:80]}"
        if SUBPROTOCOL not in request.subprotocols:
            return 400, f"ask for the subprotocol {SUBPROTOCOL}"
        origin = next((value for name, value in request.extra_headers if name.lower() == b"origin"), None)
        if origin is not None and not self._is_welcome(origin.decode("latin-1"), request.host):
            return 403, f"pages of {origin.decode('latin-1')[:80]} may not connect; see hub.mqtt.websocket.origins"
        return None

    def _is_welcome(self, origin: str, host: str) -> bool:
        if origin.rstrip("/").lower() in [each.rstrip("/").lower() for each in self._settings.origins]:
            return True
        try:
            name, own = urlsplit(origin).hostname or "", urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name == own and _is_address(name)

    def _say(self, event: Event) -> None:
        with contextlib.suppress(LocalProtocolError):  # the peer has closed it already
            self._write(self._wire.send(event))


def _is_address(host: str) -> bool:
    """A name may be made to mean this machine by whoever owns it (DNS rebinding); an address means what it says."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
