"""HTTP over unix sockets: how our own processes ask each other (docs/architecture.md, control APIs).

The socket lies in the data directory, so whoever may read the data may ask, and nobody else.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from streams.errors import MisuseError, PenstockError, TryLaterError

_PATH_BYTES_MAX = 100  # sun_path holds 108


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for `path` that fits a socket address, however deep the data directory lies."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)


def listen(path: Path) -> socket.socket:
    """Listen on `path`, for this user alone, in place of a socket that a killed process left."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with short_path(path) as address:
            server.bind(address)
    finally:
        os.umask(mask)
    server.listen(128)
    server.setblocking(False)
    return server


@contextlib.asynccontextmanager
async def serving(app: Any, path: Path) -> AsyncIterator[None]:
    """Serve an ASGI application on the unix socket `path` for as long as the context lasts."""
    import asyncio

    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:  # signals belong to the process, not to its server
            yield

    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1, ws="none"
    )
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listen(path)]), name=f"control API {path.name}")
    try:
        yield
    finally:
        server.should_exit = True
        await task
        path.unlink(missing_ok=True)  # noqa: ASYNC240  a socket's name: no disk is waited for


class ControlClient:
    """A blocking client of a control API. Errors of the other side come back as our own."""

    def __init__(self, path: Path, *, what: str, timeout_s: float = 10.0) -> None:
        self._path = path
        self._what = what
        self._timeout_s = timeout_s

    def get(self, route: str, **query: Any) -> Any:
        """GET `route` with query parameters (None is left out); returns the JSON answer."""
        return self.request("GET", route, query=query)

    def request(self, method: str, route: str, *, body: Any = None, query: Mapping[str, Any] | None = None) -> Any:
        chosen = {key: value for key, value in (query or {}).items() if value is not None}
        target = quote(route) + ("?" + urlencode(chosen) if chosen else "")
        connection = _UnixConnection(self._path, self._timeout_s + float(chosen.get("wait_s", 0)))
        try:
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, target, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        except (FileNotFoundError, ConnectionRefusedError):
            raise TryLaterError(
                f"{self._what} cannot be reached (nothing listens on {self._path}); start everything with "
                "`penstock up`, or name the data directory with --data",
                retry_after_s=1.0,
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise TryLaterError(
                f"{self._what} gave no whole answer on {self._path}: {error or type(error).__name__}", retry_after_s=1.0
            ) from None
        finally:
            connection.close()
        answer = _parsed(text)
        if response.status < 400:
            return answer
        message = answer.get("error", str(answer)) if isinstance(answer, dict) else str(answer)
        if response.status in (400, 404, 409, 422):
            raise MisuseError(message)
        if response.status == 503:
            raise TryLaterError(message, retry_after_s=1.0)
        raise PenstockError(f"{self._what} answered {response.status}: {message}")


def _parsed(text: bytes) -> Any:
    with contextlib.suppress(ValueError):
        if text[:1] in (b"{", b"["):
            return json.loads(text)
    return text.decode("utf-8", "replace")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with short_path(self._path) as address:
            self.sock.connect(address)
