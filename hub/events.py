"""The hub's log read back: each record becomes the one event that it means, once written and at every start alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hub.account import Account, read_accounts
from hub.manifest import manifest_id, read_manifest
from hub.payload import optional_number, optional_text, read_object, text, whole
from streams import names
from streams.errors import JunkError
from streams.frames import layout
from streams.frames.header import FrameHeader, read_header
from streams.record import Header

CONNECTION = "connection"
DEVICE_HEADER = "device"


@dataclass(frozen=True, slots=True)
class FrameEvent:
    """A device sent a frame that can be read."""

    device: str
    time_ms: int
    header: FrameHeader
    checksum: int = 0
    """Of its bytes: a frame that is sent again has the same."""


@dataclass(frozen=True, slots=True)
class ManifestEvent:
    """A device said what its series mean."""

    device: str
    time_ms: int
    manifest_id: int
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StateEvent:
    """A birth, or the will of a device."""

    device: str
    time_ms: int
    online: bool
    boot: str | None
    epoch: int | None
    agent: str | None
    produced: int | None = None
    """The number that its next reading gets."""


@dataclass(frozen=True, slots=True)
class AccountEvent:
    """A device accounted for its readings."""

    device: str
    time_ms: int
    accounts: tuple[Account, ...]


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """A connection of a device began or ended, as the hub saw it."""

    device: str
    time_ms: int
    connected: bool
    address: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class CommandEvent:
    """A command was asked for, or took a step."""

    device: str
    time_ms: int
    key: str
    state: str
    step: int
    """0: made by the hub; from 1: the device's own count."""
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JunkEvent:
    """A record that cannot be understood; it stays on the log as it came."""

    device: str | None
    time_ms: int
    channel: str
    reason: str


Event = FrameEvent | ManifestEvent | StateEvent | AccountEvent | ConnectionEvent | CommandEvent | JunkEvent


def decode(
    stream: str, key: bytes | None, value: bytes | None, time_ms: int, headers: tuple[Header, ...] = ()
) -> Event:
    """What a record of `telemetry`, `devices` or `commands` means; what means nothing is a JunkEvent."""
    device, channel = _source(stream, key, headers)
    if stream == names.TELEMETRY and headers:
        told = dict(headers)
        if names.FAULT_HEADER in told:
            channel = told.get(names.FORMAT_HEADER, b"").decode("utf-8", "replace")
            return JunkEvent(device, time_ms, channel, told[names.FAULT_HEADER].decode("utf-8", "replace"))
    read = _READERS.get(channel)
    if read is None:
        return JunkEvent(device, time_ms, channel, f"a record of {stream} with the key {key!r:.100}")
    try:
        return read(device, time_ms, value or b"")
    except JunkError as error:
        return JunkEvent(device, time_ms, channel, str(error))


def device_key(device: str, channel: str) -> bytes:
    """The key of a record of `devices`."""
    return f"{device}/{channel}".encode()


def connection_value(connected: bool, time_ms: int, *, address: str | None = None, reason: str | None = None) -> bytes:
    """The payload of DEVICE/connection."""
    return dump({"connected": connected, "time_ms": time_ms, "address": address, "reason": reason})


def dump(value: Any) -> bytes:
    """JSON as the hub writes it on the log."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _source(stream: str, key: bytes | None, headers: tuple[Header, ...]) -> tuple[str, str]:
    if stream == names.COMMANDS:
        device = next((value for name, value in headers if name == DEVICE_HEADER), b"")
        return device.decode("utf-8", "replace"), stream
    name = (key or b"").decode("utf-8", "replace")
    if stream == names.TELEMETRY:
        return name, stream
    device_name, _, channel = name.rpartition("/")
    return device_name, channel


def _frame(device: str, time_ms: int, value: bytes) -> Event:
    return FrameEvent(device, time_ms, read_header(value), int.from_bytes(value[-layout.CRC_BYTES :], "little"))


def _manifest(device: str, time_ms: int, value: bytes) -> Event:
    return ManifestEvent(device, time_ms, manifest_id(value), read_manifest(value))


def _state(device: str, time_ms: int, value: bytes) -> Event:
    source = read_object(value, "the state")
    online = source.get("online")
    if not isinstance(online, bool):
        raise JunkError(f"the state: online must be true or false, not {online!r:.80}")
    return StateEvent(
        device,
        time_ms,
        online,
        boot=optional_text(source, "boot", "the state", length_max=200),
        epoch=None if source.get("epoch") is None else whole(source, "epoch", "the state"),
        agent=optional_text(source, "agent", "the state", length_max=200),
        produced=None if source.get("produced") is None else whole(source, "produced", "the state"),
    )


def _account(device: str, time_ms: int, value: bytes) -> Event:
    return AccountEvent(device, time_ms, read_accounts(value))


def _connection(device: str, time_ms: int, value: bytes) -> Event:
    source = read_object(value, "the connection")
    return ConnectionEvent(device, time_ms, bool(source.get("connected")), source.get("address"), source.get("reason"))


def _command(device: str, time_ms: int, value: bytes) -> Event:
    what = "the step of a command"
    body = read_object(value, what)
    optional_number(body, "progress", what)
    optional_text(body, "error", what, length_max=100_000)
    step = whole(body, "step", what)
    if device and step == 0:  # what came from a device carries its name in a header
        raise JunkError("the step of a command: a device counts its steps from 1")
    return CommandEvent(
        device=device or text(body, "device", what, length_max=64),
        time_ms=time_ms,
        key=text(body, "key", what, length_max=64),
        state=text(body, "state", what, length_max=16),
        step=step,
        body=body,
    )


_READERS: dict[str, Callable[[str, int, bytes], Event]] = {
    names.TELEMETRY: _frame,
    names.MANIFEST: _manifest,
    names.STATE: _state,
    names.ACCOUNT: _account,
    CONNECTION: _connection,
    names.COMMANDS: _command,
}
