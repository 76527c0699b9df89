"""Who may connect: the gateway's own authority, and before it the list of registered devices."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from hub.intake import Authority, Client
from hub.quiet import Quiet
from hub.registry import Registry
from hub.settings import DeviceSettings
from streams.clock import Clock
from streams.metrics import Metrics

_log = logging.getLogger("penstock.hub.admission")

REFUSED_MAX = 200


@dataclass(slots=True)
class _Refused:
    address: str
    last_ms: int
    count: int


class Admission:
    """An Authority that asks another one, after it has turned unknown devices away."""

    def __init__(
        self, inner: Authority, settings: DeviceSettings, registry: Registry, *, clock: Clock, metrics: Metrics
    ) -> None:
        self._inner = inner
        self._settings = settings
        self._registered = frozenset(settings.registered)
        self._registry = registry
        self._clock = clock
        self._quiet = Quiet(clock)
        self._refused: dict[str, _Refused] = {}
        self._count = metrics.counter("penstock_hub_refused_connections_total", "Connections of devices turned away.")

    def admit(self, client: Client, password: bytes | None) -> bool:
        fault = self._fault(client.client_id)
        if fault is None:
            return self._inner.admit(client, password)
        self._count.increment()
        self._remember(client)
        if self._quiet.due(client.client_id) is not None:
            _log.warning("refused %r from %s: %s", client.client_id[:80], client.address, fault)
        return False

    def may_publish(self, client: Client, topic: str) -> bool:
        return self._inner.may_publish(client, topic)

    def may_subscribe(self, client: Client, topic_filter: str) -> bool:
        return self._inner.may_subscribe(client, topic_filter)

    def refused(self) -> list[dict[str, Any]]:
        """The devices turned away, the latest last; at most REFUSED_MAX are remembered."""
        return [
            {"device": device, "address": each.address, "last_ms": each.last_ms, "count": each.count}
            for device, each in self._refused.items()
        ]

    def _fault(self, device: str) -> str | None:
        if self._settings.admission == "registered":
            if device in self._registered:
                return None
            return "it is not registered; add it to hub.devices.registered to let it in"
        if len(self._registry) >= self._settings.count_max and self._registry.find(device) is None:
            return f"{len(self._registry)} devices are known already; raise hub.devices.count_max to let it in"
        return None

    def _remember(self, client: Client) -> None:
        device = client.client_id[:100]
        known = self._refused.pop(device, None)
        count = known.count + 1 if known else 1
        self._refused[device] = _Refused(client.address, self._clock.time_ns() // 1_000_000, count)
        if len(self._refused) > REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
