"""The hub's control API on hub.sock: how the other processes of this machine ask it (docs/architecture.md)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.accounts import Accounts
from hub.admission import Admission
from hub.commands import Commands
from hub.dispatch import ConflictError, Dispatcher, UnknownCommandError
from hub.events import dump
from hub.payload import optional_number, optional_text, read_object, text
from hub.registry import Device, Registry, UnknownDeviceError
from streams.errors import JunkError, MisuseError, PenstockError, TryLaterError
from streams.metrics import CONTENT_TYPE, Metrics

_log = logging.getLogger("penstock.hub.control")

WAIT_S_MAX = 600.0
LIMIT_MAX = 10_000

Handler = Callable[[Request], Awaitable[Response]]


class Hub(Protocol):
    """What the control API shows of the hub."""

    registry: Registry
    accounts: Accounts
    commands: Commands
    dispatcher: Dispatcher
    admission: Admission
    metrics: Metrics

    def health(self) -> dict[str, Any]: ...

    def positions(self) -> list[dict[str, int]]:
        """Up to which offset of each partition of telemetry the accounts stand."""
        ...


class ControlApi:
    """The routes, each a question or an order to the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def application(self) -> Starlette:
        """The ASGI application, to be served on hub.sock."""
        routes = [
            ("GET", "/health", self.health),
            ("GET", "/devices", self.devices),
            ("GET", "/devices/{device}", self.device),
            ("POST", "/commands", self.create_command),
            ("GET", "/commands", self.list_commands),
            ("GET", "/commands/{key}", self.command),
            ("DELETE", "/commands/{key}", self.cancel_command),
            ("GET", "/ledger", self.ledger),
            ("GET", "/metrics", self.show_metrics),
        ]
        made = [Route(path, _answering(handler), methods=[method]) for method, path, handler in routes]
        return Starlette(routes=made, exception_handlers={404: _no_route, 405: _no_route})

    async def health(self, request: Request) -> Response:
        return _json(self._hub.health())

    async def devices(self, request: Request) -> Response:
        devices = [self._shown(device) for device in self._hub.registry.all()]
        return _json({"devices": devices, "refused": self._hub.admission.refused()})

    async def device(self, request: Request) -> Response:
        return _json(self._shown(self._hub.registry.get(request.path_params["device"])))

    async def create_command(self, request: Request) -> Response:
        body = read_object(await request.body(), "the command")
        arguments = body.get("arguments") or {}
        if not isinstance(arguments, dict):
            raise MisuseError("the command: arguments must be an object")
        deadline_s = optional_number(body, "deadline_s", "the command")
        command, created = await self._hub.dispatcher.create(
            text(body, "device", "the command", length_max=64),
            text(body, "name", "the command", length_max=128),
            arguments,
            deadline_s=60.0 if deadline_s is None else deadline_s,
            key=optional_text(body, "key", "the command", length_max=64),
        )
        return _json(command.to_json(), 201 if created else 200)

    async def list_commands(self, request: Request) -> Response:
        limit = round(_number(request, "limit", 100, LIMIT_MAX))
        found = self._hub.commands.newest_first(device=request.query_params.get("device"))
        return _json({"commands": [command.to_json() for _, command in zip(range(limit), found)]})

    async def command(self, request: Request) -> Response:
        wait_s = _number(request, "wait_s", 0.0, WAIT_S_MAX)
        return _json((await self._hub.dispatcher.wait(request.path_params["key"], wait_s)).to_json())

    async def cancel_command(self, request: Request) -> Response:
        return _json((await self._hub.dispatcher.cancel(request.path_params["key"])).to_json())

    async def ledger(self, request: Request) -> Response:
        return _json({"partitions": self._hub.positions(), "accounts": self._hub.accounts.to_json()})

    async def show_metrics(self, request: Request) -> Response:
        return Response(self._hub.metrics.render(), headers={"content-type": CONTENT_TYPE})

    def _shown(self, device: Device) -> dict[str, Any]:
        frames, readings = self._hub.accounts.frames_and_readings(device.device)
        return device.to_json(frames=frames, readings=readings)


def _answering(handler: Handler) -> Handler:
    """A handler whose errors become answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except PenstockError as error:
            return _refusal(error)
        except Exception:
            _log.exception("%s %s failed", request.method, request.url.path)
            return _json({"error": "the hub failed to answer; its log says why"}, 500)

    return answer


def _refusal(error: PenstockError) -> Response:
    statuses: tuple[tuple[type[PenstockError], int], ...] = (
        (UnknownDeviceError, 404),
        (UnknownCommandError, 404),
        (ConflictError, 409),
        (MisuseError, 400),
        (JunkError, 400),
        (TryLaterError, 503),
    )
    status = next((status for kind, status in statuses if isinstance(error, kind)), 503)
    return _json({"error": str(error)}, status)


async def _no_route(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return _json({"error": f"there is no {request.method} {request.url.path} here"}, status)


def _json(value: Any, status: int = 200) -> Response:
    return Response(dump(value), status, headers={"content-type": "application/json"})


def _number(request: Request, name: str, default: float, maximum: float) -> float:
    given = request.query_params.get(name)
    if given is None:
        return default
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value <= maximum:
        raise MisuseError(f"{name} must be a number from 0 to {maximum:g}, not {given[:40]!r}")
    return value
