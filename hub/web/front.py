"""What the page asks for: the answers of both peers, shared by every open page, and the trends made of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from hub.ledger import reconcile
from hub.web.backend import Backend, Peer, Query
from hub.web.sharing import PATIENCE_S, Answer, Shared, silent
from hub.web.trends import POINTS_MAX, Trends
from streams.clock import Clock
from streams.errors import PenstockError, TryLaterError

_log = logging.getLogger(__name__)

TREND_EVERY_S = 2.0
TREND_SPAN_NS = int(TREND_EVERY_S * POINTS_MAX) * 10**9
FRESH_S = 0.8  # a page asks each second
LEDGER_PATIENCE_S = 0.8  # with the processors, who count; it must end before the ledger itself counts as silent


class Front:
    """Asks on behalf of all pages of this process."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self.backend = backend
        self.clock = clock
        self.trends = Trends()
        self._shared = Shared(clock)

    async def hub(self, route: str, query: Query | None = None, *, max_age_s: float = FRESH_S) -> Answer:
        return await self._ask(self.backend.hub, route, query, max_age_s)

    async def processors(self, route: str, query: Query | None = None, *, max_age_s: float = FRESH_S) -> Answer:
        return await self._ask(self.backend.processors, route, query, max_age_s)

    async def ledger(self) -> Answer:
        """The reconciled ledger as JSON, with `processors_away` (a sentence or null)."""
        return await self._shared.ask("ledger", self._ledger, max_age_s=FRESH_S, who=self.backend.hub.name)

    async def _ledger(self) -> Mapping[str, Any]:
        """As `ledger` below; processors that hang are as good as away."""
        peer = self.backend.processors
        said = await self._ask(peer, "/ledger", None, FRESH_S, patience_s=LEDGER_PATIENCE_S)
        away = said.problem or (silent(peer.name) if said.is_open else None)
        return _reconciled(await self.backend.hub.get("/ledger"), None if away else said.value, away)

    async def series(self, device: str, metric: str, *, span_s: int, points: int) -> Answer:
        """The last `span_s` seconds of a series; pages that look at the same series share the answer."""
        step_ns = max(10**9, span_s * 10**9 // points)
        end_ns = (self.clock.time_ns() // step_ns + 1) * step_ns

        async def question() -> Any:
            span: Query = {"start_ns": end_ns - span_s * 10**9, "end_ns": end_ns, "points": points}
            return await self.backend.processors.get("/series", {"device": device, "metric": metric, **span})

        key, who = ("series", device, metric, span_s), self.backend.processors.name
        return await self._shared.ask(key, question, max_age_s=FRESH_S, who=who)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Follow the fleet's trends for as long as the context lasts."""
        task = asyncio.create_task(self._watch(), name="trends")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            try:
                await self._follow()
            except PenstockError as error:
                _log.debug("no trends just now: %s", error)
            except Exception:
                _log.exception("trends")
            await asyncio.sleep(TREND_EVERY_S)

    async def _follow(self) -> None:
        """Take in the latest readings; what is new is looked up in the store, one at a time, to crowd nobody out."""
        devices, latest = await asyncio.gather(self.hub("/devices"), self.processors("/latest"))
        if devices.value is None or latest.value is None:
            return
        for device, metric in self.trends.learn(devices.value["devices"], latest.value["devices"]):
            end_ns = self.clock.time_ns()
            span = {"start_ns": end_ns - TREND_SPAN_NS, "end_ns": end_ns, "points": POINTS_MAX}
            past = await self.backend.processors.get("/series", {"device": device, "metric": metric, **span})
            self.trends.recall(device, metric, past["time_ns"], past["mean"])

    async def _ask(
        self, peer: Peer, route: str, query: Query | None, max_age_s: float, *, patience_s: float = PATIENCE_S
    ) -> Answer:
        key = (peer.name, route, tuple(sorted((query or {}).items())))
        return await self._shared.ask(
            key, lambda: peer.get(route, query), max_age_s=max_age_s, who=peer.name, patience_s=patience_s
        )


async def ledger(backend: Backend) -> Mapping[str, Any]:
    """The ledger of both answers. Without the processors, what the hub has received counts as on its way.

    The processors are asked first: what they have done since is then in flight, never missing.
    Raises TryLaterError when the hub is away.
    """
    away = None
    processors = None
    try:
        processors = await backend.processors.get("/ledger")
    except TryLaterError as error:
        away = str(error)
    return _reconciled(await backend.hub.get("/ledger"), processors, away)


def _reconciled(hub: Any, processors: Any, away: str | None) -> Mapping[str, Any]:
    return {**reconcile(hub, processors).to_json(), "processors_away": away}
