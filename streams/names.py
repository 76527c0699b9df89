"""The names that both ends of the wire share: streams, device ids and MQTT topics (docs/protocol.md)."""

from __future__ import annotations

import re
from typing import NamedTuple

from streams.errors import JunkError

TELEMETRY = "telemetry"
DEVICES = "devices"
COMMANDS = "commands"
ALERTS = "alerts"
QUARANTINE = "quarantine"
SESSIONS = "sessions"

TOPIC_ROOT = "penstock/v1"

# device -> hub
FRAMES = "frames"
MANIFEST = "manifest"
STATE = "state"
ACCOUNT = "account"
RESULTS = "results"
# device -> hub, in the formats of others
READINGS = "readings"
JSON = "json"
SENML = "senml"
LINES = "lines"
TRANSLATED = frozenset({READINGS, JSON, SENML, LINES})
UPSTREAM = frozenset({FRAMES, MANIFEST, STATE, ACCOUNT, RESULTS}) | TRANSLATED

# hub -> device
COMMAND = "commands"
REQUESTS = "requests"
COMMITTED = "committed"
DOWNSTREAM = frozenset({COMMAND, REQUESTS, COMMITTED})

FAULT_HEADER = "fault"
"""A record of `telemetry` with this header is no frame: it says why the hub could not translate these bytes."""
FORMAT_HEADER = "format"

EPOCH_TRANSLATED = 1 << 52
"""Readings that the hub numbers have an epoch from here to twice this: no device's own, be it a time in s, ms or ns."""

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}")


class DeviceTopic(NamedTuple):
    """A topic of the agent's protocol, taken apart."""

    device: str
    channel: str


def check_device(device: str) -> str:
    """Return `device` if it is a device id: 1 to 64 of A-Z a-z 0-9 . _ - and no leading sign. JunkError otherwise."""
    if not _DEVICE.fullmatch(device):
        raise JunkError(
            f"{device[:80]!r} is not a device id: use 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or a digit"
        )
    return device


def is_translated(epoch: int) -> bool:
    """Whether the hub gave this epoch to readings that came without numbers."""
    return EPOCH_TRANSLATED <= epoch < 2 * EPOCH_TRANSLATED


def topic(device: str, channel: str) -> str:
    """The topic of one channel of a device, for example penstock/v1/press-7/frames."""
    return f"{TOPIC_ROOT}/{device}/{channel}"


def parse_topic(text: str) -> DeviceTopic | None:
    """Take a topic apart; None when it is not one of the agent's protocol."""
    parts = text.split("/")
    if len(parts) != 4 or f"{parts[0]}/{parts[1]}" != TOPIC_ROOT:
        return None
    if not _DEVICE.fullmatch(parts[2]) or parts[3] not in UPSTREAM | DOWNSTREAM:
        return None
    return DeviceTopic(parts[2], parts[3])
