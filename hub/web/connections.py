"""What uvicorn leaves open: how many may be connected, and how long a request may take to arrive.

A connection that sends nothing, or half a request, costs a file and some memory. So a request must be whole within
`REQUEST_S`, and who comes when all places are taken is told so with a 503 and has to go. Idle connections between two
requests, and WebSockets whose browser is gone, are uvicorn's to close.
"""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from streams.clock import Clock

_log = logging.getLogger("penstock.web")

REQUEST_S = 15.0
HEAD_BYTES_MAX = 64 * 1024
REFUSED_S = 1.0  # for one that is told to go
REFUSED_MAX = 64  # that are told at the same time; more are cut off
SAY_EVERY_NS = 60 * 10**9


class Door:
    """Counts who may not come in, and says so at most once a minute."""

    def __init__(self, clock: Clock, *, connections_max: int, request_s: float = REQUEST_S) -> None:
        self.connections_max = connections_max
        self.request_s = request_s
        self._clock = clock
        self._refused = 0
        self._said_ns: int | None = None

    def refuse(self) -> None:
        self._refused += 1
        now_ns = self._clock.monotonic_ns()
        if self._said_ns is None or now_ns - self._said_ns >= SAY_EVERY_NS:
            _log.warning(
                "all %d places for connections are taken (setting web.connections_max); turned away: %d",
                self.connections_max,
                self._refused,
            )
            self._refused, self._said_ns = 0, now_ns


class Connection(H11Protocol):
    """uvicorn's, with a place to take and a time to keep."""

    def __init__(self, *args: Any, door: Door, **options: Any) -> None:
        super().__init__(*args, **options)
        self._door = door
        self._is_refused = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        over = len(self.connections) - self._door.connections_max
        self._is_refused = over > 0
        if over > 0:
            self._door.refuse()
        if over > REFUSED_MAX:
            transport.abort()
            return
        self._expect(REFUSED_S if self._is_refused else self._door.request_s)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            self._answer(503, "too many connections; try again in a moment", "retry-after: 5\r\n")
            return
        super().data_received(data)
        if self._is_over() or self._is_whole():
            self._expect(None)
        elif self._deadline is None:
            self._expect(self._door.request_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def _is_over(self) -> bool:
        """Whether there is nothing more to expect here: it is closing, or has become a WebSocket."""
        return bool(self.transport.is_closing()) or self.transport.get_protocol() is not self

    def _is_whole(self) -> bool:
        """Whether a request has arrived and is being answered."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _expect(self, within_s: float | None) -> None:
        """Close unless a request is whole by then."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if within_s is None else self.loop.call_later(within_s, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if self._is_over():
            return
        is_between = self.cycle is None or self.cycle.response_complete
        if is_between and not self._is_refused and self.conn.trailing_data[0]:
            self._answer(408, f"the request was not whole within {self._door.request_s:.0f} s")
        else:
            self.transport.abort()

    def _answer(self, status: int, error: str, headers: str = "") -> None:
        body = json.dumps({"error": error})
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n{headers}"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
        self.transport.close()
