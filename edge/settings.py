"""Settings of the edge agent: the `[edge]` table of the settings file."""

from __future__ import annotations

import dataclasses
import re
import socket
from collections.abc import Mapping
from typing import Any

from streams.errors import JunkError
from streams.names import check_device
from streams.settings import section, setting

_NOT_IN_A_DEVICE_ID = re.compile(r"[^A-Za-z0-9._\-]+")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """How to talk to the hub's MQTT gateway, or to a broker before it."""

    username: str = setting("", "MQTT user name; empty sends none.")
    password: str = setting("", "MQTT password; empty sends none.", secret=True)
    keepalive_s: int = setting(30, "Silence after which the connection is checked.", minimum=5, maximum=3600)
    connect_timeout_s: float = setting(10.0, "How long one attempt to connect may take.", minimum=0.1, maximum=120)
    retry_s_min: float = setting(0.5, "First pause after a failed connection; it doubles.", minimum=0.01, maximum=3600)
    retry_s_max: float = setting(60.0, "Longest pause between attempts to connect.", minimum=0.01, maximum=3600)
    ack_timeout_s: float = setting(
        60.0, "A message without PUBACK for so long ends the connection; it is sent again.", minimum=1
    )
    session_expiry_s: int = setting(
        86400, "How long a broker keeps commands for an absent agent (MQTT 5).", minimum=0, maximum=0xFFFFFFFE
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SensorSettings:
    """One `[[edge.sensors]]` table."""

    kind: str = setting(doc="Which sensor: host (all that this machine has), load, cpu, memory, disk, network ...")
    interval_s: float = setting(1.0, "Seconds from one reading to the next.", minimum=0.001, maximum=86400)
    options: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"doc": "What this kind of sensor wants to know, for example paths of disk."}
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """Everything that the agent can be told."""

    device: str = setting("", "Device id; empty takes this machine's host name.")
    model: str = setting("", "What the device is, for people; empty asks the machine.")
    hub_host: str = setting("127.0.0.1", "Host name or address of the hub's MQTT gateway, or of a broker before it.")
    hub_port: int = setting(1883, "TCP port of the gateway.", minimum=1, maximum=65535)
    link: LinkSettings = section(LinkSettings, "The connection to the gateway.")
    sensors: tuple[SensorSettings, ...] = setting((SensorSettings(kind="host"),), "What to read, one table a sensor.")
    labels: Mapping[str, str] = dataclasses.field(
        default_factory=dict, metadata={"doc": 'Labels of the device, for example site = "hall-2".'}
    )
    read_timeout_s: float = setting(5.0, "A sensor that takes longer has failed.", minimum=0.01, maximum=600)
    retry_s_max: float = setting(60.0, "Longest pause before a failed sensor is tried again.", minimum=0.01)
    time_step_us: int = setting(1000, "Times of readings are cut to whole steps.", minimum=1, maximum=1_000_000)
    commit_interval_s: float = setting(
        1.0, "A power cut loses at most so much; 0 syncs the disk at every reading.", minimum=0, maximum=60
    )
    frame_readings_max: int = setting(100, "Readings of one series in a frame.", minimum=1, maximum=10_000)
    frame_age_s: float = setting(2.0, "Oldest reading in a frame when it is sealed.", minimum=0.01, maximum=3600)
    spool_bytes_max: int = setting(
        256 * 1024 * 1024, "Frames kept for the hub; beyond it the oldest are dropped, and declared.", minimum=65536
    )
    memory_readings_max: int = setting(
        50_000,
        "Readings kept in memory while the disk is full; then the oldest are dropped, and declared.",
        minimum=100,
    )
    inflight_frames_max: int = setting(16, "Frames sent ahead of their PUBACK.", minimum=1, maximum=1000)
    account_interval_s: float = setting(10.0, "Seconds between accounts to the hub.", minimum=0.05, maximum=3600)
    health_interval_s: float = setting(
        10.0, "Seconds between readings of the agent's own health; 0 takes none.", minimum=0, maximum=3600
    )
    commands_running_max: int = setting(4, "Commands that run at the same time.", minimum=1, maximum=64)
    commands_kept_max: int = setting(
        1000, "Ended commands whose keys are remembered, so that none runs twice.", minimum=10, maximum=100_000
    )
    command_timeout_s: float = setting(60.0, "A command that takes longer has failed.", minimum=0.05, maximum=86400)
    stop_timeout_s: float = setting(5.0, "How long a stop may spend on sending what is left.", minimum=0, maximum=600)

    def __post_init__(self) -> None:
        if self.device:
            try:
                check_device(self.device)
            except JunkError as error:
                raise ValueError(f"edge.device: {error}") from None

    @property
    def device_id(self) -> str:
        """The device id: the one that is set, or the host name made valid."""
        return self.device or device_from_host(socket.gethostname())


def device_from_host(host: str) -> str:
    """A device id made of a host name: the domain is cut off, other characters become `-`."""
    name = _NOT_IN_A_DEVICE_ID.sub("-", host.split(".")[0]).lstrip("-._")[:64]
    return name or "device"
