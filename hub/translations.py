"""What the hub needs to go on translating after a restart, folded from the log: series learnt, and how far it got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.events import Event, FrameEvent, ManifestEvent
from hub.learning import is_learnt
from streams import names


@dataclass(slots=True)
class Translation:
    """Of one device."""

    manifest: Mapping[str, Any] | None = None
    epoch: int = 0
    """The latest that the hub gave it; 0: none yet."""
    stop: int = 0
    """One past the number of the last reading of this epoch."""


class Translations:
    """All devices whose readings the hub has numbered."""

    name = "translations"
    streams = (names.DEVICES, names.TELEMETRY)

    def __init__(self) -> None:
        self._devices: dict[str, Translation] = {}

    def fold(self, event: Event) -> None:
        """Take the next event of the log."""
        match event:
            case ManifestEvent() if is_learnt(event.manifest):
                self._device(event.device).manifest = event.manifest
            case FrameEvent() if names.is_translated(event.header.epoch):
                device, header = self._device(event.device), event.header
                stop = header.sequence + header.count
                if header.epoch > device.epoch:
                    device.epoch, device.stop = header.epoch, stop
                elif header.epoch == device.epoch:
                    device.stop = max(device.stop, stop)

    def find(self, device: str) -> Translation:
        """What is known of a device; of one that is new, nothing."""
        return self._devices.get(device) or Translation()

    def snapshot(self) -> dict[str, Any]:
        """The state, as JSON: `restore` makes equal translations of it."""
        rows = self._devices.items()
        return {"devices": [[name, each.manifest, each.epoch, each.stop] for name, each in rows]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a snapshot in place of what is there. KeyError, TypeError or ValueError when it cannot be one."""
        self._devices = {name: Translation(manifest, epoch, stop) for name, manifest, epoch, stop in state["devices"]}

    def _device(self, device: str) -> Translation:
        return self._devices.setdefault(device, Translation())
