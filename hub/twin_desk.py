"""Takes wishes for a device's settings and brings them to it: at once when it is there, and after each of its births.

What a device has already does no harm: it knows the version, and says again what became of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from hub.dispatch import ConflictError
from hub.events import DesiredEvent, Event, ReportedEvent, StateEvent, device_key, dump
from hub.journal import Journal
from hub.registry import Registry
from hub.twins import Twin, Twins
from streams import names
from streams.clock import Clock
from streams.errors import MisuseError
from streams.record import NewRecord

_log = logging.getLogger("penstock.hub.twins")

SETTINGS_BYTES_MAX = 64 << 10
DEPTH_MAX = 16


class TwinDesk:
    """All methods are called in the event loop."""

    def __init__(
        self,
        twins: Twins,
        registry: Registry,
        journal: Journal,
        *,
        publish: Callable[[str, str, bytes], bool],
        clock: Clock,
    ) -> None:
        self._twins = twins
        self._registry = registry
        self._journal = journal
        self._publish = publish
        self._clock = clock
        self._changing: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def get(self, device: str) -> Twin:
        """The twin of a known device. UnknownDeviceError."""
        self._registry.get(device)
        return self._twins.get(device)

    async def change(self, device: str, patch: Mapping[str, Any], version: int | None = None) -> Twin:
        """Merge `patch` into what is desired (null takes a setting back); returns the twin once this is on disk.

        With `version`, only if that is what is desired at present. Raises UnknownDeviceError, ConflictError,
        MisuseError, DiskError.
        """
        self._registry.get(device)
        async with self._changing.setdefault(device, asyncio.Lock()):
            twin = self._twins.get(device)
            if version is not None and version != twin.version:
                raise ConflictError(
                    f"the desired settings of {device} have version {twin.version} by now, not {version}; "
                    "look at them again, and change that"
                )
            settings = _merged(twin.desired, patch, DEPTH_MAX)
            now_ms = self._clock.time_ns() // 1_000_000
            value = dump({"version": twin.version + 1, "settings": settings})
            if len(value) > SETTINGS_BYTES_MAX:
                raise MisuseError(f"the desired settings have {len(value)} bytes; at most {SETTINGS_BYTES_MAX} can be")
            record = NewRecord(device_key(device, names.DESIRED), value, now_ms)
            await asyncio.shield(self._journal.write(names.DEVICES, [record]))
        return self._twins.get(device)

    async def wait(self, device: str, wait_s: float) -> Twin:
        """The twin, once the device has said what became of what is desired, or `wait_s` have passed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while not (twin := self.get(device)).settled and loop.time() < deadline:
            told: asyncio.Future[None] = loop.create_future()
            self._waiting.setdefault(device, []).append(told)
            await asyncio.wait([told], timeout=deadline - loop.time())
            if not told.done():
                self._waiting[device].remove(told)
        return twin

    def react(self, event: Event) -> None:
        """A new event on the log: a wish, a birth, or what became of a wish."""
        match event:
            case DesiredEvent():
                self._deliver(event.device)
            case StateEvent(online=True) if self._twins.get(event.device).version:
                self._deliver(event.device)
            case ReportedEvent():
                _log.info("%s: settings of version %d are %s", event.device, event.version, event.outcome)
                for told in self._waiting.pop(event.device, ()):
                    if not told.done():
                        told.set_result(None)

    def _deliver(self, device: str) -> None:
        twin = self._twins.get(device)
        payload = dump({"version": twin.version, "settings": twin.desired})
        self._publish(device, names.topic(device, names.DESIRED), payload)


def _merged(target: Any, patch: Any, depth: int) -> Any:
    """RFC 7396: objects are merged, null takes a member away (the device's own setting holds again), else replaced."""
    if not isinstance(patch, Mapping):
        return patch
    if depth == 0:
        raise MisuseError(f"the settings are nested more than {DEPTH_MAX} levels deep")
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value, depth - 1)
    return merged
