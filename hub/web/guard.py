"""What every request must pass before anything else looks at it.

The page is meant for a browser on a trusted machine, and browsers carry requests for strangers. Two things they do are
refused here, for HTTP and for WebSockets alike:

- DNS rebinding: a stranger's name that now points at this machine. So the Host header must be a plain address,
  localhost, or a name from `web.names`; a rebound request cannot carry one of these.
- Requests across sites (CSRF, WebSocket hijacking): what changes something, and every WebSocket, must come from this
  very origin, if the browser names one, and a POST must be JSON, which no plain form can send.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
SOCKET_PREFIX = "/_nicegui_ws/"  # the page's own channel: WebSocket, or POSTs of text/plain where that is blocked

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'self'; "
        "form-action 'self'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further."""

    status: int
    error: str


def judge(
    kind: str, method: str, path: str, headers: Mapping[str, str], *, names: Sequence[str], body_bytes_max: int
) -> Refusal | None:
    """None when a request may pass. `kind` is "http" or "websocket"; header names are lower case."""
    host = headers.get("host", "")
    if not is_known_host(host, names):
        return Refusal(
            403,
            f"this server does not go by the name {_host_name(host)!r}; use its address, or add the name to the "
            "setting web.names",
        )
    if kind == "http" and method in SAFE_METHODS:
        return None
    if not is_same_origin(headers, host):
        return Refusal(403, f"a page of {headers.get('origin', 'another site')} may not do this; open http://{host}/")
    if kind == "websocket" or path.startswith(SOCKET_PREFIX):
        return None
    return _judge_body(method, headers, body_bytes_max)


def _judge_body(method: str, headers: Mapping[str, str], body_bytes_max: int) -> Refusal | None:
    length = headers.get("content-length")
    if "transfer-encoding" in headers or (length is not None and not length.isdecimal()):
        return Refusal(411, "the body needs a Content-Length")
    if int(length or 0) > body_bytes_max:
        return Refusal(413, f"the body has {length} bytes; the most is {body_bytes_max} (setting web.body_bytes_max)")
    content_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if method in ("POST", "PUT", "PATCH") and content_type != "application/json":
        return Refusal(415, f"send the body as Content-Type: application/json, not {content_type or 'none'}")
    return None


def is_known_host(host: str, names: Sequence[str]) -> bool:
    """Whether a Host header names this server in a way that a stranger's page cannot."""
    name = _host_name(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {each.lower() for each in names} - {""}
    return True


def is_same_origin(headers: Mapping[str, str], host: str) -> bool:
    """Whether a request comes from our own page, or from no page at all (a script, curl)."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, names: Sequence[str], body_bytes_max: int) -> None:
        self._app = app
        self._names = tuple(names)
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = judge(
            scope["type"],
            scope.get("method", "GET"),
            scope["path"],
            headers,
            names=self._names,
            body_bytes_max=self._body_bytes_max,
        )
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.error[:120]})
        else:
            await _refuse(refusal, send)


def _with_headers(send: Send) -> Send:
    added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return wrapped


async def _refuse(refusal: Refusal, send: Send) -> None:
    body = json.dumps({"error": refusal.error}).encode()
    headers: list[Any] = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
