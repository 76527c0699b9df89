"""The processors' query API on processors.sock (docs/architecture.md): queries run in threads of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from processors.consumer import Consumer
from processors.engine import Engine
from processors.settings import ProcessorsSettings
from processors.stores.store import Store
from streams.clock import Clock
from streams.errors import MisuseError, PenstockError
from streams.files import Files
from streams.log import StreamReader
from streams.metrics import CONTENT_TYPE, Metrics
from streams.names import QUARANTINE

DAY_NS = 86_400_000_000_000
POINTS_MAX = 10_000

Handler = Callable[[Request], Awaitable[Response]]


class Api:
    """Answers from the store, from memory, and from the consumer's figures."""

    def __init__(
        self,
        settings: ProcessorsSettings,
        engine: Engine,
        store: Store,
        consumer: Consumer,
        log: Path,
        *,
        files: Files,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store
        self._consumer = consumer
        self._log = log
        self._files = files
        self._clock = clock
        self._metrics = Metrics()
        gauge, counter = self._metrics.gauge, self._metrics.counter
        counter("penstock_processors_readings_total", "Readings in the store.").follow(lambda: consumer.readings)
        counter("penstock_processors_chunks_total", "Transactions.").follow(lambda: consumer.chunks)
        counter("penstock_processors_damaged_records_total", "Records of the log that could not be read.").follow(
            lambda: consumer.damaged
        )
        gauge("penstock_processors_lag", "Records on the log that are not in the store.").follow(
            lambda: sum(each["lag"] for each in consumer.lags())
        )

    def application(self) -> Starlette:
        routes = {
            "/health": self._health,
            "/latest": self._latest,
            "/series": self._series,
            "/alarms": self._alarms,
            "/ledger": self._ledger,
            "/quarantine": self._quarantine,
            "/readings": self._readings,
            "/metrics": self._metrics_text,
        }
        return Starlette(routes=[Route(path, _guarded(handler)) for path, handler in routes.items()])

    def problems(self) -> list[str]:
        """Sentences on what is wrong now."""
        found = self._store.problems()
        if self._consumer.problem and self._consumer.problem not in found:
            found.append(self._consumer.problem)
        silent_s = (self._clock.monotonic_ns() - self._consumer.progress_ns) / 1e9
        lag = sum(each["lag"] for each in self._consumer.lags())
        if lag and silent_s > self._settings.stall_s:
            found.append(f"{lag} records wait and none was stored for {silent_s:.0f} s")
        return found

    async def _health(self, request: Request) -> Response:
        problems = await asyncio.to_thread(self.problems)
        return JSONResponse(
            {
                "status": "degraded" if problems else "ok",
                "problems": problems,
                "store": self._store.name,
                "partitions": await asyncio.to_thread(self._consumer.lags),
                "readings": self._consumer.readings,
                "readings_per_s": round(self._consumer.readings_per_s, 1),
                "chunks": self._consumer.chunks,
            }
        )

    async def _latest(self, request: Request) -> Response:
        return JSONResponse(self._engine.latest.to_json(self._engine.table, request.query_params.get("device")))

    async def _series(self, request: Request) -> Response:
        device, metric = _needed(request, "device"), _needed(request, "metric")
        end_ns = _number(request, "end_ns", time.time_ns())
        start_ns = _number(request, "start_ns", end_ns - 3_600_000_000_000)
        points = max(1, min(POINTS_MAX, _number(request, "points", 600)))
        if start_ns >= end_ns:
            raise MisuseError(f"start_ns {start_ns} must be before end_ns {end_ns}")
        number = self._engine.table.find(device, metric)
        if number is None:
            return JSONResponse({"error": f"there is no series {metric} of {device}"}, 404)
        bucket_ns = max(1, -(-(end_ns - start_ns) // points))
        found = await asyncio.to_thread(
            self._store.series, number, device=device, metric=metric,
            start_ns=start_ns, end_ns=end_ns, bucket_ns=bucket_ns,
        )  # fmt: skip
        unit = self._engine.table.info(number).unit
        return JSONResponse({"device": device, "metric": metric, "unit": unit, "bucket_ns": bucket_ns, **found})

    async def _alarms(self, request: Request) -> Response:
        state = request.query_params.get("state", "all")
        if state not in ("open", "closed", "all"):
            raise MisuseError(f"state must be open, closed or all, not {state!r}")
        limit = max(1, min(10_000, _number(request, "limit", 200)))
        device = request.query_params.get("device")
        return JSONResponse(
            {"alarms": await asyncio.to_thread(self._store.alarms, device=device, state=state, limit=limit)}
        )

    async def _ledger(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._store.ledger))

    async def _readings(self, request: Request) -> Response:
        found = await asyncio.to_thread(
            self._store.readings,
            _needed(request, "device"),
            start_ns=_number(request, "start_ns", 0),
            end_ns=_number(request, "end_ns", 1 << 62),
            limit=max(1, min(10_000_000, _number(request, "limit", 100_000))),
        )
        return JSONResponse(found)

    async def _quarantine(self, request: Request) -> Response:
        limit = max(1, min(10_000, _number(request, "limit", 100)))
        return JSONResponse({"records": await asyncio.to_thread(self._quarantined, limit)})

    async def _metrics_text(self, request: Request) -> Response:
        return PlainTextResponse(await asyncio.to_thread(self._metrics.render), media_type=CONTENT_TYPE)

    def _quarantined(self, limit: int) -> list[dict[str, Any]]:
        reader = StreamReader(self._log, QUARANTINE, 0, files=self._files)
        offset = max(reader.earliest, reader.end - limit)
        found: list[dict[str, Any]] = []
        while records := reader.read(offset):
            for record in records:
                headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
                found.append(
                    {
                        "offset": record.offset,
                        "time_ms": record.timestamp_ms,
                        "device": (record.key or b"").decode("utf-8", "replace"),
                        "reason": headers.get("reason", ""),
                        "source": {name: headers.get(name) for name in ("stream", "partition", "offset")},
                        "bytes_hex": (record.value or b"").hex(),
                    }
                )
            offset = records[-1].offset + 1
        reader.close()
        return found[::-1]


def _guarded(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except MisuseError as error:
            return JSONResponse({"error": str(error)}, 400)
        except PenstockError as error:
            return JSONResponse({"error": str(error)}, 503)

    return answer


def _needed(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise MisuseError(f"the parameter {name} is missing")
    return value


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise MisuseError(f"{name} must be a whole number, not {text[:40]!r}") from None
