"""The web process: one port with the page and the public HTTP API, up whether or not the others are."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import ipaddress
import logging
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from hub.web.api import PREFIX, application
from hub.web.backend import Backend
from hub.web.connections import HEAD_BYTES_MAX, REFUSED_MAX, Connection, Door
from hub.web.counting import Counting
from hub.web.front import Front
from hub.web.guard import Guard
from hub.web.settings import WebSettings
from streams.clock import SystemClock
from streams.errors import MisuseError
from streams.metrics import Metrics
from streams.open_files import allow_files

_log = logging.getLogger("penstock.web")

DRAIN_S = 1  # open pages reconnect by themselves
BACKLOG = 128  # so many are taken in at once, before any can be turned away
FILES_BESIDE_CONNECTIONS = BACKLOG + REFUSED_MAX + 128


def run(settings: WebSettings, data: Path) -> int:
    """Serve until SIGTERM or SIGINT; a second signal ends at once. Returns the exit status. MisuseError: port taken."""
    listener = listen(settings.host, settings.port)
    asyncio.run(_serve(settings, data, listener))
    return 0


def listen(host: str, port: int) -> socket.socket:
    """Listen on host:port, or say what stands in the way and what to do about it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from None
    listener.setblocking(False)
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> MisuseError:
    if error.errno == errno.EADDRINUSE:
        return MisuseError(
            f"port {port} on {host} is taken by another program; stop that one, or choose another port: "
            f"--port {port + 1} (setting web.port)"
        )
    if error.errno == errno.EACCES:
        return MisuseError(f"port {port} on {host} is not ours to take; choose one above 1023 (setting web.port)")
    return MisuseError(f"cannot listen on {host}:{port}: {error}; host must be an address of this machine (web.host)")


async def _serve(settings: WebSettings, data: Path, listener: socket.socket) -> None:
    metrics = Metrics()
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # a line for each page that opens helps nobody
    async with Backend.of(data) as backend:
        app = build(settings, backend, Front(backend, SystemClock()), metrics)
        server = _Server(uvicorn_config(app, _door(settings)))
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, server.stop)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        _warn_if_open(host)
        server.ready = f"ready: http://{shown}:{port}"
        await server.serve(sockets=[listener])
    _log.info("stopped")


def uvicorn_config(app: ASGIApp, door: Door) -> uvicorn.Config:
    """How `app` is served: what is not ours to decide is uvicorn's default."""
    return uvicorn.Config(
        app,
        http=cast(Any, functools.partial(Connection, door=door)),
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=DRAIN_S,
        ws_max_size=2**20,
    )


def _door(settings: WebSettings) -> Door:
    """As many connections as are set and as the system allows files for."""
    wanted = settings.connections_max + FILES_BESIDE_CONNECTIONS
    allowed = allow_files(wanted, setting="web.connections_max")
    return Door(SystemClock(), connections_max=max(1, allowed - FILES_BESIDE_CONNECTIONS))


def build(settings: WebSettings, backend: Backend, front: Front, metrics: Metrics) -> ASGIApp:
    """The page and the API as one application, behind the guard."""
    from hub.web.pages.site import mount  # NiceGUI takes a second to import: the API's own tests do without

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with front.watching():
            yield

    app = application(backend, metrics, lifespan=lifespan)
    mount(app, front)
    return Guard(
        Counting(app, metrics=metrics, api_prefix=PREFIX), names=settings.names, body_bytes_max=settings.body_bytes_max
    )


def _warn_if_open(host: str) -> None:
    if not ipaddress.ip_address(host).is_loopback:
        _log.warning("listening on %s: whoever reaches this address may see everything and send commands", host)


class _Server(uvicorn.Server):
    """uvicorn, with the process's signals left to us."""

    ready = ""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        _log.info("%s", self.ready)

    def stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
