"""Asking the hub and the processors over their unix sockets, without ever blocking the page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from streams.control import short_path
from streams.errors import MisuseError, PenstockError, TryLaterError

Query = Mapping[str, str | int | float | None]

TIMEOUT_S = 10.0
CONNECTIONS_MAX = 32  # to one socket; who comes later waits
RETRY_AFTER_S = 1.0


class RefusedError(MisuseError):
    """The other side understood and refused; `status` is its HTTP status (400, 404, 409)."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class Peer:
    """A client of one control API. Connections are kept; a socket that comes back is found again by itself."""

    def __init__(self, path: Path, *, name: str, verb: str) -> None:
        """`name` and `verb` make sentences: "the hub" "is"."""
        self.name = name
        self._path = path
        self._verb = verb
        self._client: httpx.AsyncClient | None = None
        self._address = contextlib.ExitStack()

    async def get(self, route: str, query: Query | None = None) -> Any:
        """GET `route`; the JSON answer, or text. Raises RefusedError, TryLaterError (away, busy) or PenstockError."""
        return await self.request("GET", route, query=query)

    async def request(self, method: str, route: str, *, body: Any = None, query: Query | None = None) -> Any:
        """As `get`, with any method and a JSON body. A query parameter that is None is left out."""
        return (await self.exchange(method, route, body=body, query=query))[1]

    async def exchange(
        self, method: str, route: str, *, body: Any = None, query: Query | None = None
    ) -> tuple[int, Any]:
        """As `request`, with the HTTP status (below 400) before the answer."""
        chosen = {key: value for key, value in (query or {}).items() if value is not None}
        timeout = httpx.Timeout(TIMEOUT_S, read=TIMEOUT_S + float(chosen.get("wait_s", 0)))
        try:
            response = await self._connected().request(method, route, json=body, params=chosen, timeout=timeout)
        except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError, FileNotFoundError) as error:
            await self.close()  # a new run directory may lie at the same path
            raise self._away(error) from None
        except httpx.TimeoutException:
            raise TryLaterError(
                f"{self.name} did not answer within {timeout.read:.0f} s", retry_after_s=RETRY_AFTER_S
            ) from None
        return response.status_code, _answer(response, self.name)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
            self._address.close()

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            address = self._address.enter_context(short_path(self._path))
            limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=8)
            transport = httpx.AsyncHTTPTransport(uds=address, verify=False, limits=limits)
            self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost", trust_env=False)
        return self._client

    def _away(self, error: Exception) -> TryLaterError:
        return TryLaterError(
            f"{self.name} {self._verb} away: nobody answers on {self._path} ({type(error).__name__}); "
            "start everything with `penstock up`, or see the logs in the data directory",
            retry_after_s=RETRY_AFTER_S,
        )


def _answer(response: httpx.Response, name: str) -> Any:
    is_json = response.headers.get("content-type", "").startswith("application/json")
    answer = response.json() if is_json else response.text
    if response.status_code < 400:
        return answer
    message = str(answer.get("error", answer)) if isinstance(answer, dict) else str(answer)
    if response.status_code in (400, 404, 409, 422):
        raise RefusedError(message, status=400 if response.status_code == 422 else response.status_code)
    if response.status_code == 503:
        raise TryLaterError(message, retry_after_s=float(response.headers.get("retry-after", RETRY_AFTER_S)))
    raise PenstockError(f"{name} answered {response.status_code}: {message}")


@dataclass(frozen=True, slots=True)
class Backend:
    """Both peers of the web process."""

    data: Path
    hub: Peer
    processors: Peer

    @classmethod
    def of(cls, data: Path) -> Self:
        """The peers that use the data directory `data`."""
        return cls(
            data=data,
            hub=Peer(data / "run" / "hub.sock", name="the hub", verb="is"),
            processors=Peer(data / "run" / "processors.sock", name="the processors", verb="are"),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(self.hub.close(), self.processors.close())
