"""Which devices there are and what is known of each: a projection of the log, as the hub's users see it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hub.events import ConnectionEvent, Event, FrameEvent, JunkEvent, ManifestEvent, StateEvent
from streams import names
from streams.errors import MisuseError

MANIFESTS_REMEMBERED = 64  # ids a device; a frame that names an older one makes the hub ask once more


@dataclass(slots=True)
class Device:
    """One device: what it said last, and how its connection stands."""

    device: str
    first_seen_ms: int
    last_seen_ms: int
    reported_online: bool = False
    connected: bool = False
    epoch: int | None = None
    boot: str | None = None
    agent: str | None = None
    address: str | None = None
    manifest: Mapping[str, Any] | None = None
    manifest_id: int | None = None
    manifest_ids: list[int] = field(default_factory=list)
    translated: bool = False
    """It sends readings that the hub numbers. Such a device says nothing of itself."""

    @property
    def online(self) -> bool:
        """It said so (if it is one that says so), has not taken it back, and its connection stands."""
        return (self.reported_online or (self.translated and self.boot is None)) and self.connected

    def to_json(self, *, frames: int, readings: int) -> dict[str, Any]:
        """The device as the control API shows it."""
        return {
            "device": self.device,
            "online": self.online,
            "connected": self.connected,
            "epoch": self.epoch,
            "boot": self.boot,
            "agent": self.agent,
            "address": self.address,
            "first_seen_ms": self.first_seen_ms,
            "last_seen_ms": self.last_seen_ms,
            "manifest": self.manifest,
            "manifest_id": self.manifest_id,
            "frames": frames,
            "readings": readings,
        }


class Registry:
    """Every device that ever spoke, folded from `devices` (and from `telemetry`, for when it was seen)."""

    name = "registry"
    streams = (names.DEVICES, names.TELEMETRY)

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}

    def fold(self, event: Event) -> None:
        """Take the next event of the log."""
        if isinstance(event, JunkEvent):
            return
        device = self._device(event)
        match event:
            case FrameEvent():
                _adopt_epoch(device, event.header.epoch)
                device.translated |= names.is_translated(event.header.epoch)
            case ManifestEvent():
                _adopt_manifest(device, event)
            case StateEvent():
                _adopt_state(device, event)
            case ConnectionEvent():
                device.connected = event.connected
                device.address = event.address or device.address

    def get(self, device: str) -> Device:
        """The device of this name. MisuseError names the nearest when there is none."""
        found = self._devices.get(device)
        if found is None:
            raise UnknownDeviceError(f"there is no device {device[:80]!r}{self._nearest(device)}")
        return found

    def find(self, device: str) -> Device | None:
        return self._devices.get(device)

    def all(self) -> list[Device]:
        """Every device, by name."""
        return [self._devices[name] for name in sorted(self._devices)]

    def knows_manifest(self, device: str, manifest_id: int) -> bool:
        """Whether the log holds this manifest of the device."""
        found = self._devices.get(device)
        return found is not None and manifest_id in found.manifest_ids

    def __len__(self) -> int:
        return len(self._devices)

    def snapshot(self) -> dict[str, Any]:
        """The state, as JSON: `restore` makes an equal registry of it."""
        return {"devices": [_plain(device) for device in self._devices.values()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a snapshot in place of what is there. KeyError, TypeError or ValueError when it cannot be one."""
        devices = [Device(**each) for each in state["devices"]]
        self._devices = {device.device: device for device in devices}

    def _device(self, event: Event) -> Device:
        device = self._devices.get(event.device or "")
        if device is None:
            device = Device(event.device or "", first_seen_ms=event.time_ms, last_seen_ms=0)
            self._devices[device.device] = device
        device.first_seen_ms = min(device.first_seen_ms, event.time_ms)
        if not isinstance(event, ConnectionEvent) or event.connected:  # an ended connection is no sign of life
            device.last_seen_ms = max(device.last_seen_ms, event.time_ms)
        return device

    def _nearest(self, device: str) -> str:
        close = difflib.get_close_matches(device, self._devices, n=1, cutoff=0.5)
        if close:
            return f"; did you mean {close[0]}?"
        return "; it has never connected (see the known ones with: penstock device list)"


class UnknownDeviceError(MisuseError):
    """A device that the hub has never heard of."""


def _adopt_manifest(device: Device, event: ManifestEvent) -> None:
    device.manifest, device.manifest_id = event.manifest, event.manifest_id
    if event.manifest_id in device.manifest_ids:
        device.manifest_ids.remove(event.manifest_id)
    device.manifest_ids.append(event.manifest_id)
    del device.manifest_ids[:-MANIFESTS_REMEMBERED]


def _adopt_state(device: Device, event: StateEvent) -> None:
    if event.online:
        device.reported_online = True
        device.boot = event.boot
        _adopt_epoch(device, event.epoch)
        device.agent = event.agent or device.agent
    elif event.boot is None or device.boot is None or event.boot == device.boot:
        device.reported_online = False  # a will of an earlier start, which came late, is not about this one


def _adopt_epoch(device: Device, epoch: int | None) -> None:
    if epoch is not None:  # epochs grow, so the order in which the streams are read does not matter
        device.epoch = epoch if device.epoch is None else max(device.epoch, epoch)


def _plain(device: Device) -> dict[str, Any]:
    """Shallow, because manifests are large and never change."""
    plain = {each.name: getattr(device, each.name) for each in fields(device)}
    return {**plain, "manifest_ids": list(device.manifest_ids)}
