"""The processors' query API on processors.sock (docs/architecture.md): queries run in threads of their own.

A parameter that is wrong is refused by name; nothing is clipped in silence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from processors import quarantine
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

HOUR_NS = 3_600_000_000_000
TIME_NS_MAX = 1 << 62
POINTS_MAX = 10_000
QUEUES_SAID_MAX = 5
ALARMS_MAX = 10_000
READINGS_MAX = 10_000_000
QUARANTINE_MAX = 10_000
QUARANTINE_BYTES_MAX = 4 << 20

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
        counter(
            "penstock_processors_passed_over_records_total",
            "Records of the log that could not be read, or were deleted before they were stored.",
        ).follow(lambda: consumer.passed_over)
        gauge("penstock_processors_parked_frames", "Frames that wait for their manifest.").follow(
            lambda: sum(queue.frames for queue in engine.parking.queues())
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
        found = [*self._store.problems(), *self._consumer.problems()]  # both may say the same
        silent_s = (self._clock.monotonic_ns() - self._consumer.progress_ns) / 1e9
        lag = sum(each["lag"] for each in self._consumer.lags())
        if lag and silent_s > self._settings.stall_s:
            found.append(f"{lag} records wait and none was stored for {silent_s:.0f} s")
        now_ms = self._clock.time_ns() // 1_000_000
        for queue in self._engine.parking.queues()[:QUEUES_SAID_MAX]:
            waiting_s = (now_ms - queue.since_ms) / 1000
            if waiting_s > self._settings.stall_s:
                found.append(
                    f"{queue.frames} frames of {queue.device} wait for their manifest {queue.manifest:08x} since "
                    f"{waiting_s:.0f} s; the device sends it when it connects"
                )
        return list(dict.fromkeys(found))

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
        start_ns, end_ns = self._span(request, hours=1)
        points = _number(request, "points", 600, minimum=1, maximum=POINTS_MAX)
        number = self._engine.table.find(device, metric)
        if number is None:
            return _not_there(f"there is no series {metric} of {device}")
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
            raise MisuseError(f"state must be open, closed or all, not {state[:40]!r}")
        limit = _number(request, "limit", 200, minimum=1, maximum=ALARMS_MAX)
        device = request.query_params.get("device")
        return JSONResponse(
            {"alarms": await asyncio.to_thread(self._store.alarms, device=device, state=state, limit=limit)}
        )

    async def _ledger(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._store.ledger))

    async def _readings(self, request: Request) -> Response:
        device = _needed(request, "device")
        start_ns, end_ns = self._span(request, hours=None)
        limit = _number(request, "limit", 100_000, minimum=1, maximum=READINGS_MAX)
        if not self._engine.table.has(device):
            return _not_there(f"there is no device {device}")
        found = await asyncio.to_thread(self._store.readings, device, start_ns=start_ns, end_ns=end_ns, limit=limit)
        return JSONResponse(found)

    async def _quarantine(self, request: Request) -> Response:
        limit = _number(request, "limit", 100, minimum=1, maximum=QUARANTINE_MAX)
        offset = _number(request, "offset", -1, minimum=-1, maximum=TIME_NS_MAX)
        with contextlib.closing(StreamReader(self._log, QUARANTINE, 0, files=self._files)) as reader:
            if offset >= 0:
                record = await asyncio.to_thread(quarantine.at, reader, offset)
                if record is None:
                    return _not_there(
                        f"there is no record at offset {offset} in quarantine; see `penstock quarantine list`"
                    )
                return JSONResponse({"records": [record], "left_out": 0})
            records, left_out = await asyncio.to_thread(
                quarantine.newest, reader, limit=limit, bytes_max=QUARANTINE_BYTES_MAX
            )
        return JSONResponse({"records": records, "left_out": left_out})

    async def _metrics_text(self, request: Request) -> Response:
        return PlainTextResponse(await asyncio.to_thread(self._metrics.render), media_type=CONTENT_TYPE)

    def _span(self, request: Request, *, hours: int | None) -> tuple[int, int]:
        """start_ns and end_ns; by default the last `hours`, or all there is."""
        now_ns = self._clock.time_ns()
        times = {"minimum": -TIME_NS_MAX, "maximum": TIME_NS_MAX}
        end_ns = _number(request, "end_ns", TIME_NS_MAX if hours is None else now_ns, **times)
        start_ns = _number(request, "start_ns", -TIME_NS_MAX if hours is None else end_ns - hours * HOUR_NS, **times)
        if start_ns >= end_ns:
            raise MisuseError(f"start_ns {start_ns} must be before end_ns {end_ns}")
        return start_ns, end_ns


def _guarded(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except MisuseError as error:
            return JSONResponse({"error": str(error)}, 400)
        except PenstockError as error:
            return JSONResponse({"error": str(error)}, 503)

    return answer


def _not_there(sentence: str) -> Response:
    return JSONResponse({"error": sentence}, 404)


def _needed(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise MisuseError(f"the parameter {name} is missing")
    return value


def _number(request: Request, name: str, default: int, *, minimum: int, maximum: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise MisuseError(f"{name} must be a whole number, not {text[:40]!r}") from None
    if not minimum <= value <= maximum:
        raise MisuseError(f"{name} must be from {minimum} to {maximum}, not {text[:40]}")
    return value
