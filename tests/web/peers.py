"""The two socket peers of the web process, answering in the exact shapes of docs/architecture.md."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from streams.control import serving

EPOCH = 1_790_000_000
NOW_MS = 1_790_000_100_000
NOW_NS = NOW_MS * 1_000_000


def device(name: str = "press-001", *, connected: bool = True, **changes: Any) -> dict[str, Any]:
    series = [
        {"id": 0, "name": "running", "unit": "1", "type": "bool"},
        {"id": 1, "name": "oil.pressure", "unit": "bar", "type": "float64", "resolution": 0.1},
        {"id": 2, "name": "oil.temperature", "unit": "Cel", "type": "float64", "resolution": 0.1},
        {"id": 3, "name": "state", "unit": "1", "type": "text"},
    ]
    about = {"model": "hydraulic press", "agent": "penstock 0.1.0", "labels": {"site": "hall-2"}}
    return {
        "device": name,
        "online": connected,
        "connected": connected,
        "epoch": EPOCH,
        "boot": "b",
        "agent": "penstock 0.1.0",
        "address": "127.0.0.1:5000",
        "first_seen_ms": NOW_MS - 100_000,
        "last_seen_ms": NOW_MS,
        "manifest": {"series": series, "device": about},
        "manifest_id": 7,
        "frames": 10,
        "readings": 1000,
        **changes,
    }


def command(**changes: Any) -> dict[str, Any]:
    return {
        "key": "01J",
        "device": "press-001",
        "name": "identify",
        "arguments": {},
        "state": "queued",
        "created_ms": NOW_MS,
        "deadline_ms": NOW_MS + 60_000,
        "ended_ms": None,
        "result": None,
        "error": None,
        "progress": None,
        "history": [{"state": "queued", "time_ms": NOW_MS}],
        **changes,
    }


def alarm(**changes: Any) -> dict[str, Any]:
    return {
        "id": "a1",
        "device": "press-001",
        "metric": "oil.pressure",
        "detector": "level",
        "version": 1,
        "kind": "process",
        "state": "open",
        "opened_ns": NOW_NS - 60 * 10**9,
        "closed_ns": None,
        "strength": 7.5,
        "value": 230.4,
        "message": "22 bar above what is usual",
        "parameters": {"window_s": 300},
        "evidence": {"epoch": EPOCH, "sequence": 77, "partition": 0, "offset": 12},
        **changes,
    }


def series(**changes: Any) -> dict[str, Any]:
    return {
        "device": "press-001",
        "metric": "oil.pressure",
        "unit": "bar",
        "time_ns": [NOW_NS - 2 * 10**9, NOW_NS - 10**9],
        "mean": [200.0, 201.0],
        "min": [199.0, 200.0],
        "max": [201.0, 202.0],
        "count": [1, 1],
        "bad_ns": [],
        "bucket_ns": 10**9,
        **changes,
    }


@dataclass
class Hub:
    """Answers like hub.sock, out of what the test puts here; keeps what it was asked."""

    devices: list[dict[str, Any]] = field(default_factory=lambda: [device()])
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)
    accounts: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    busy: bool = False

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/devices", self.list_devices),
                Route("/devices/{device}", self.one_device),
                Route("/commands", self.all_commands, methods=["GET", "POST"]),
                Route("/commands/{key}", self.one_command, methods=["GET", "DELETE"]),
                Route("/ledger", self.ledger),
                Route("/metrics", self.metrics),
            ]
        )

    async def health(self, request: Request) -> Response:
        mqtt = {"host": "127.0.0.1", "port": 1883, "connections": 1, "messages_in": 1, "messages_out": 1}
        return JSONResponse({"status": "ok", "problems": [], "uptime_s": 5.0, "mqtt": mqtt, "log": {}})

    async def list_devices(self, request: Request) -> Response:
        self.asked.append(str(request.url.path))
        if self.busy:
            return JSONResponse({"error": "the disk is full"}, 503, {"retry-after": "7"})
        return JSONResponse({"devices": self.devices})

    async def one_device(self, request: Request) -> Response:
        name = request.path_params["device"]
        for each in self.devices:
            if each["device"] == name:
                return JSONResponse(each)
        return JSONResponse({"error": f"there is no device {name}; the nearest is press-001"}, 404)

    async def all_commands(self, request: Request) -> Response:
        if request.method == "GET":
            wanted = request.query_params.get("device")
            found = [each for each in self.commands.values() if wanted in (None, each["device"])]
            return JSONResponse({"commands": found[: int(request.query_params.get("limit", 100))]})
        body = await request.json()
        if body["device"] not in {each["device"] for each in self.devices}:
            return JSONResponse({"error": f"there is no device {body['device']}"}, 404)
        key = body["key"] or f"key-{len(self.commands)}"
        if key in self.commands:
            return JSONResponse(self.commands[key], 200)
        self.commands[key] = command(key=key, device=body["device"], name=body["name"], arguments=body["arguments"])
        return JSONResponse(self.commands[key], 201)

    async def one_command(self, request: Request) -> Response:
        found = self.commands.get(request.path_params["key"])
        if found is None:
            return JSONResponse({"error": f"there is no command {request.path_params['key']}"}, 404)
        if request.method == "DELETE":
            if found["ended_ms"]:
                return JSONResponse({"error": "it has ended"}, 409)
            found.update(state="cancelled", ended_ms=NOW_MS)
        return JSONResponse(found)

    async def ledger(self, request: Request) -> Response:
        return JSONResponse({"accounts": self.accounts, "partitions": [{"partition": 0, "offset": 10}]})

    async def metrics(self, request: Request) -> Response:
        return PlainTextResponse("# TYPE penstock_hub_frames_total counter\npenstock_hub_frames_total 5\n")


@dataclass
class Processors:
    """Answers like processors.sock."""

    latest: dict[str, Any] = field(
        default_factory=lambda: {
            "press-001": {"oil.pressure": {"time_ns": NOW_NS, "value": 201.0, "quality": 0, "unit": "bar"}}
        }
    )
    alarms: list[dict[str, Any]] = field(default_factory=lambda: [alarm()])
    accounts: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/latest", self.all_latest),
                Route("/series", self.series),
                Route("/alarms", self.list_alarms),
                Route("/ledger", self.ledger),
                Route("/metrics", self.metrics),
            ]
        )

    async def health(self, request: Request) -> Response:
        part = [{"partition": 0, "offset": 10, "end": 10, "lag": 0}]
        body = {"status": "ok", "problems": [], "store": "duckdb", "partitions": part}
        return JSONResponse({**body, "readings": 10, "readings_per_s": 20.0, "chunks": 1})

    async def all_latest(self, request: Request) -> Response:
        wanted = request.query_params.get("device")
        return JSONResponse({"devices": {k: v for k, v in self.latest.items() if wanted in (None, k)}})

    async def series(self, request: Request) -> Response:
        self.asked.append(dict(request.query_params))
        return JSONResponse(series())

    async def list_alarms(self, request: Request) -> Response:
        self.asked.append(dict(request.query_params))
        state = request.query_params.get("state", "all")
        return JSONResponse({"alarms": [each for each in self.alarms if state in ("all", each["state"])]})

    async def ledger(self, request: Request) -> Response:
        part = [{"partition": 0, "offset": 10}]
        return JSONResponse({"partitions": part, "accounts": self.accounts, "undecodable": 0})

    async def metrics(self, request: Request) -> Response:
        return PlainTextResponse(
            "# TYPE penstock_processors_chunks_total counter\npenstock_processors_chunks_total 3\n"
        )


@contextlib.asynccontextmanager
async def running(data: Path, hub: Hub | None = None, processors: Processors | None = None) -> AsyncIterator[None]:
    """Serve those that are given."""
    async with contextlib.AsyncExitStack() as stack:
        if hub is not None:
            await stack.enter_async_context(serving(hub.application(), data / "run" / "hub.sock"))
        if processors is not None:
            await stack.enter_async_context(serving(processors.application(), data / "run" / "processors.sock"))
        yield


def account(produced: int, received: list[list[int]], name: str = "press-001") -> dict[str, Any]:
    """The hub's side of an account."""
    empty: dict[str, Any] = {"held": [], "dropped": [], "thinned": [], "duplicates": 0, "account_time_ms": NOW_MS}
    return {"device": name, "epoch": EPOCH, "produced": produced, "received": received, **empty}


def stored(spans: list[list[int]], name: str = "press-001") -> dict[str, Any]:
    """The processors' side."""
    rows = sum(stop - start for start, stop in spans)
    empty: dict[str, Any] = {"quarantined": [], "parked": [], "duplicate_rows": 0}
    return {"device": name, "epoch": EPOCH, "stored": spans, "rows": rows, **empty}
