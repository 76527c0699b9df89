"""Values of an OPC UA server as they change, by a subscription (asyncua).

Source: OPC UA part 4, 5.12 and 5.13 (monitored items, subscriptions), 7.38 (status codes and their overflow bit).
"""

from __future__ import annotations

import asyncio
import calendar
import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.inlet import Inlet
from edge.sensors.declared import SeriesOptions, unique
from edge.sensors.library import library
from edge.sensors.sensor import Bad, Given, SensorContext, SensorFailedError, Series
from streams.settings import setting

_LOOK_S = 0.25
_OVERFLOW = 0x480
_SEVERITY = 0xC0000000
"""Of a status code: 0 is good."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpcuaSeriesOptions(SeriesOptions):
    """One variable of the server."""

    node: str = setting(doc="Its node id, such as ns=2;s=Line1.Temperature or ns=2;i=1001.")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpcuaOptions:
    """Which server, and what to subscribe to."""

    url: str = setting(doc="opc.tcp://HOST:4840/path")
    username: str = setting("", "User name; empty: anonymous.")
    password_file: str = setting("", "File with the password.")
    security: str = setting(
        "", "POLICY,MODE,CERTIFICATE,KEY: Basic256Sha256,SignAndEncrypt,own.der,own.pem; empty: none."
    )
    time: str = setting("source", "Whose time a reading gets.", choices=("source", "arrival"))
    queue: int = setting(10, "Changes that the server keeps for each series between two messages.", minimum=1)
    silence_s_max: float = setting(0.0, "A series without a value for so long is BAD; 0: never.", minimum=0)
    series: tuple[OpcuaSeriesOptions, ...] = setting((), "What to subscribe to, one table a series.")

    def __post_init__(self) -> None:
        unique(self.series)
        if not self.url.startswith("opc.tcp://") or "@" in self.url:
            raise ValueError("url must be like opc.tcp://HOST:4840/path; the name belongs to username")


class OpcuaSensor:
    """Holds one session; the server sends changes at most each `interval_s` and the sensor takes them all."""

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(OpcuaOptions)
        self.name = context.name
        self.silence_s_max = self._options.silence_s_max
        self._interval_s = context.interval_s
        self._timeout_s = context.timeout_s

    def open(self) -> Sequence[Series]:
        library("asyncua", extra="sensors-opcua")
        return [each.declare(None) for each in self._options.series]

    def run(self, inlet: Inlet) -> None:
        asyncio.run(self._run(inlet))

    def close(self) -> None:
        pass

    async def _run(self, inlet: Inlet) -> None:
        asyncua = library("asyncua", extra="sensors-opcua")
        client = asyncua.Client(self._options.url, timeout=self._timeout_s)
        try:
            await self._set_up(client)
            async with client:
                await self._listen(asyncua, client, inlet)
        except SensorFailedError as error:
            raise SensorFailedError(f"{self._options.url}: {error}") from None
        except Exception as error:  # asyncua lets all kinds through
            raise SensorFailedError(f"{self._options.url}: {str(error) or type(error).__name__}") from None

    async def _set_up(self, client: Any) -> None:
        if self._options.security:
            await client.set_security_string(self._options.security)
        if self._options.username:
            client.set_user(self._options.username)
            client.set_password(_password(self._options.password_file))

    async def _listen(self, asyncua: Any, client: Any, inlet: Inlet) -> None:
        series = self._options.series
        nodes = [client.get_node(each.node) for each in series]
        handler = _Changes(inlet, dict(zip(nodes, series)), use_source_time=self._options.time == "source")
        client.connection_lost_callback = handler.connection_lost
        subscription = await client.create_subscription(self._interval_s * 1000, handler)
        items = await subscription.subscribe_data_change(
            nodes, queuesize=self._options.queue, sampling_interval=self._interval_s * 1000
        )
        refused = {each.name: item for each, item in zip(series, items) if isinstance(item, asyncua.ua.StatusCode)}
        if refused:
            inlet.put({name: Bad(f"the server refuses it: {status.name}") for name, status in refused.items()})
        while not inlet.stopping:
            if handler.failure is not None:
                raise handler.failure
            await asyncio.sleep(_LOOK_S)


class _Changes:
    """Told by asyncua of each change."""

    def __init__(self, inlet: Inlet, series: dict[Any, OpcuaSeriesOptions], *, use_source_time: bool) -> None:
        self.failure: Exception | None = None
        self._inlet = inlet
        self._series = series
        self._use_source_time = use_source_time

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        found = data.monitored_item.Value
        each, status = self._series[node], found.StatusCode
        if status is not None and status.value & _OVERFLOW == _OVERFLOW:
            self._inlet.lost(1)  # at least one: the server does not count
        given: Given
        if status is not None and status.value & _SEVERITY:
            given = Bad(f"the server says {status.name}")
        else:
            given = each.value(value)
        self._inlet.put({each.name: given}, self._time_ns(found.SourceTimestamp))

    def _time_ns(self, source: datetime.datetime | None) -> int | None:
        """The source's time, if it is wanted and is one: a clock that was never set says 1601."""
        if not self._use_source_time or source is None:
            return None
        time_ns = nanoseconds(source)
        return time_ns if time_ns > 0 else None

    async def connection_lost(self, error: Exception) -> None:
        self.failure = SensorFailedError(f"the connection is lost: {str(error) or type(error).__name__}")

    def status_change_notification(self, status: Any) -> None:
        self.failure = SensorFailedError(f"the subscription has ended: {status}")


def nanoseconds(time: datetime.datetime) -> int:
    """Since 1970 UTC; a time without a zone is UTC, as OPC UA's are."""
    return calendar.timegm(time.utctimetuple()) * 1_000_000_000 + time.microsecond * 1000


def _password(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise SensorFailedError(f"password_file {path!r} cannot be read: {error.strerror}") from None
