"""Counting what is answered."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.metrics import Metrics


class Counting:
    """ASGI middleware that counts HTTP answers by status, apart for the API and the page."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, api_prefix: str) -> None:
        self._app = app
        self._metrics = metrics
        self._api_prefix = api_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        part = "api" if scope["path"].startswith(self._api_prefix) else "page"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                name, meaning = "penstock_web_responses_total", "Answers to browsers and programs."
                self._metrics.counter(name, meaning, part=part, status=str(message["status"])).increment()
            await send(message)

        await self._app(scope, receive, counted)
