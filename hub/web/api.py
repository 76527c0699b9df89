"""The public HTTP API, version 1: what the hub and the processors know, as JSON. OpenAPI describes it in full."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from hub.web import schema
from hub.web.backend import Backend, Peer, RefusedError
from hub.web.front import ledger as make_ledger
from streams.errors import PenstockError, TryLaterError
from streams.metrics import CONTENT_TYPE, Metrics

PREFIX = "/api/v1"

_DESCRIPTION = """
Everything that the page shows, and what it does, for your own programs.

- Times are UTC, as integers since 1970: milliseconds (`_ms`) or nanoseconds (`_ns`).
- Errors are `{"error": "sentence"}`: 400 misuse, 403 refused, 404 not there, 409 too late for that, 413 and 415 for
  the body, 503 the hub or the processors are away (`Retry-After` says when to ask again).
- A POST is JSON with `Content-Type: application/json`.
"""

_TAGS = [
    {"name": "fleet", "description": "Devices and their readings."},
    {"name": "alarms", "description": "What the detectors found."},
    {"name": "commands", "description": "Sending commands, and what became of them."},
    {"name": "proof", "description": "The account of every reading."},
    {"name": "operation", "description": "How the product itself is doing."},
]

DeviceId = Annotated[str, Path(description="The device id.", max_length=64)]
Key = Annotated[str, Path(description="The command's key.", max_length=128)]
ByDevice = Annotated[str | None, Query(description="Only this device.", max_length=64)]


def application(backend: Backend, metrics: Metrics, **options: Any) -> FastAPI:
    """The API as an application of its own; `options` go to FastAPI. The page is mounted into it."""
    app = FastAPI(
        title="Penstock HTTP API",
        summary="Device telemetry with every reading accounted for.",
        description=_DESCRIPTION,
        version=version("penstock"),
        openapi_url=f"{PREFIX}/openapi.json",
        openapi_tags=_TAGS,
        docs_url=None,  # FastAPI's own reference page loads its script from the internet
        redoc_url=None,
        **options,
    )
    _explain_errors(app)
    app.include_router(routes(backend, metrics), prefix=PREFIX)
    app.add_api_route(
        "/api/{rest:path}", _nothing_here, methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False
    )
    return app


def routes(backend: Backend, metrics: Metrics) -> APIRouter:
    """Every route of the API."""
    router = APIRouter(responses={503: _error("The hub or the processors are away.")})
    _fleet(router, backend)
    _alarms(router, backend)
    _commands(router, backend)
    _proof(router, backend)
    _operation(router, backend, metrics)
    return router


def _fleet(router: APIRouter, backend: Backend) -> None:
    @router.get("/devices", tags=["fleet"], summary="All devices", responses=_ok(schema.Devices))
    async def devices() -> Response:
        """Every device that has ever connected."""
        return JSONResponse(await backend.hub.get("/devices"))

    @router.get(
        "/devices/{device}",
        tags=["fleet"],
        summary="One device and its latest readings",
        responses=_ok(schema.DeviceDetail, 404),
    )
    async def device(device: DeviceId) -> Response:
        """The device, with the last reading of each of its series."""
        found = await backend.hub.get(f"/devices/{quote(device, safe='')}")
        try:
            latest = (await backend.processors.get("/latest", {"device": device}))["devices"].get(device, {})
        except TryLaterError:
            latest = None
        return JSONResponse({**found, "latest": latest})

    @router.get("/series", tags=["fleet"], summary="A series over time", responses=_ok(schema.Series, 400, 404))
    async def series(
        device: Annotated[str, Query(description="The device id.", max_length=64)],
        metric: Annotated[str, Query(description="The name of the series, from the manifest.", max_length=128)],
        start_ns: Annotated[int, Query(description="Beginning, inclusive.")],
        end_ns: Annotated[int, Query(description="End, exclusive.")],
        points: Annotated[int, Query(description="About how many buckets.", ge=1, le=10_000)] = 600,
    ) -> Response:
        """Mean, minimum, maximum and count in buckets of equal length."""
        span: dict[str, str | int | float | None] = {"start_ns": start_ns, "end_ns": end_ns, "points": points}
        return JSONResponse(await backend.processors.get("/series", {"device": device, "metric": metric, **span}))


def _alarms(router: APIRouter, backend: Backend) -> None:
    @router.get("/alarms", tags=["alarms"], summary="Alarms, newest first", responses=_ok(schema.Alarms, 400))
    async def alarms(
        device: ByDevice = None,
        state: Annotated[Literal["open", "closed", "all"], Query(description="Which ones.")] = "all",
        limit: Annotated[int, Query(description="At most this many.", ge=1, le=10_000)] = 200,
    ) -> Response:
        """Each alarm carries its evidence: detector, version, parameters, and where the reading stands in the log."""
        return JSONResponse(await backend.processors.get("/alarms", {"device": device, "state": state, "limit": limit}))


def _commands(router: APIRouter, backend: Backend) -> None:
    @router.post(
        "/commands",
        tags=["commands"],
        summary="Send a command",
        status_code=201,
        responses={
            **_ok(schema.Command, 400, 404, status=201),
            200: {"model": schema.Command, "description": "The key was there before: the same command."},
        },
    )
    async def send(command: schema.NewCommand) -> Response:
        """Queue a command for a device, which gets it now or when it returns."""
        status, made = await backend.hub.exchange("POST", "/commands", body=command.model_dump())
        return JSONResponse(made, status_code=status)

    @router.get("/commands", tags=["commands"], summary="Commands, newest first", responses=_ok(schema.Commands))
    async def commands(
        device: ByDevice = None,
        limit: Annotated[int, Query(description="At most this many.", ge=1, le=10_000)] = 100,
    ) -> Response:
        """What was sent, and what became of it."""
        return JSONResponse(await backend.hub.get("/commands", {"device": device, "limit": limit}))

    @router.get("/commands/{key}", tags=["commands"], summary="One command", responses=_ok(schema.Command, 404))
    async def command(
        key: Key,
        wait_s: Annotated[float, Query(description="Wait for its end, at most this long.", ge=0, le=60)] = 0,
    ) -> Response:
        """Its state, result and history."""
        return JSONResponse(await backend.hub.get(f"/commands/{quote(key, safe='')}", {"wait_s": wait_s}))

    @router.delete(
        "/commands/{key}", tags=["commands"], summary="Cancel a command", responses=_ok(schema.Command, 404, 409)
    )
    async def cancel(key: Key) -> Response:
        """A command that has not ended is cancelled; 409 if it has."""
        return JSONResponse(await backend.hub.request("DELETE", f"/commands/{quote(key, safe='')}"))


def _proof(router: APIRouter, backend: Backend) -> None:
    @router.get("/ledger", tags=["proof"], summary="Every reading accounted for", responses=_ok(schema.Ledger))
    async def ledger() -> Response:
        """For each device and epoch: produced = stored + thinned + dropped + quarantined + in flight + lost."""
        return JSONResponse(await make_ledger(backend))


def _operation(router: APIRouter, backend: Backend, metrics: Metrics) -> None:
    @router.get("/health", tags=["operation"], summary="How it is doing", responses=_ok(schema.Health))
    async def health() -> Response:
        """Always answers; `status` is degraded while a part is away or has a problem."""
        hub, processors = await asyncio.gather(_health(backend.hub), _health(backend.processors))
        problems = [*hub["problems"], *processors["problems"]]
        fine = hub["status"] == processors["status"] == "ok"
        answer = {"status": "ok" if fine else "degraded", "problems": problems, "hub": hub, "processors": processors}
        return JSONResponse(answer)

    @router.get(
        "/metrics",
        tags=["operation"],
        summary="Metrics in Prometheus' text format",
        response_class=PlainTextResponse,
        responses={200: {"description": "Of the web process, the hub and the processors."}},
    )
    async def show_metrics() -> Response:
        """The metrics of all three processes; `penstock_up` is 0 for one that is away."""
        texts = await asyncio.gather(
            _metrics(backend.hub, "hub", metrics), _metrics(backend.processors, "processors", metrics)
        )
        return Response("".join([metrics.render(), *texts]), media_type=CONTENT_TYPE)


async def _health(peer: Peer) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = await peer.get("/health")
    except PenstockError as error:
        return {"status": "away", "problems": [str(error)]}
    return answer


async def _metrics(peer: Peer, name: str, metrics: Metrics) -> str:
    up = metrics.gauge("penstock_up", "1 when the process answers.", process=name)
    try:
        text = str(await peer.get("/metrics"))
    except PenstockError:
        up.set(0)
        return ""
    up.set(1)
    return text if text.endswith("\n") or not text else text + "\n"


def _ok(model: type[schema.Shape], *errors: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    sentences = {400: "Misuse: the sentence says of what.", 404: "Not there.", 409: "It has ended already."}
    shown: dict[int | str, dict[str, Any]] = {status: {"model": model, "description": "The answer."}}
    return {**shown, **{each: _error(sentences[each]) for each in errors}}


def _error(description: str) -> dict[str, Any]:
    return {"model": schema.Error, "description": description}


def _explain_errors(app: FastAPI) -> None:
    """Every error of the API is a sentence; what the peers say is passed on."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return JSONResponse({"error": str(error)}, status_code=error.status)

    @app.exception_handler(TryLaterError)
    async def away(_: Request, error: TryLaterError) -> Response:
        seconds = str(max(1, round(error.retry_after_s)))
        return JSONResponse({"error": str(error)}, status_code=503, headers={"retry-after": seconds})

    @app.exception_handler(PenstockError)
    async def failed(_: Request, error: PenstockError) -> Response:
        return JSONResponse({"error": str(error)}, status_code=502)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": "; ".join(map(_sentence, error.errors()))}, status_code=400)

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, status_code=error.status_code, headers=error.headers)


def _sentence(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"][1:]) or "the body"
    given = error.get("input")
    shown = "" if given is None or isinstance(given, dict) else f", not {given!r:.80}"
    return f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}{shown}"


async def _nothing_here(rest: str) -> Response:
    return JSONResponse(
        {"error": f"there is no /api/{rest} with this method; {PREFIX}/openapi.json lists what there is"},
        status_code=404,
    )
