"""The settings of the hub, each with its sentence."""

from __future__ import annotations

from dataclasses import dataclass

from hub.bridge_settings import BridgeSettings
from hub.gateway_settings import GatewaySettings
from streams.settings import section, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class HubLogSettings:
    """The event log on this machine's disk."""

    partitions: int = setting(
        1,
        "Partitions of the telemetry stream; a device's frames always go to the same one. Fixed once data is there.",
        minimum=1,
        maximum=64,
    )
    segment_bytes: int = setting(
        64 << 20, "A file of the log is closed at this size and a new one begun.", minimum=1 << 16, maximum=1 << 30
    )
    retention_days: float = setting(
        7.0, "Telemetry older than this is deleted from the log, which is not the store; 0 keeps all.", minimum=0.0
    )
    retention_bytes: int = setting(
        20 << 30, "The oldest telemetry is deleted from the log when it is larger than this; 0 keeps all.", minimum=0
    )
    commit_interval_ms: float = setting(
        0.0,
        "How long the log gathers messages before it syncs the disk; 0 syncs as fast as the disk can, longer saves it.",
        minimum=0.0,
        maximum=1000.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """Which devices may connect."""

    admission: str = setting(
        "open",
        "open lets in every device that passes hub.mqtt; registered lets in only those of hub.devices.registered.",
        choices=("open", "registered"),
    )
    registered: tuple[str, ...] = setting((), "The ids of the devices that may connect when admission is registered.")
    count_max: int = setting(
        10_000, "When this many devices are known, a new one is refused until this is raised.", minimum=1
    )
    learnt_series_max: int = setting(
        1000,
        "Series that are learnt of a device that sends JSON, SenML or line protocol; what has more is quarantined.",
        minimum=1,
        maximum=65_536,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """Commands to devices."""

    open_max: int = setting(
        100, "The most commands of one device that may be open at once; more are refused until some end.", minimum=1
    )
    kept_max: int = setting(
        2000, "How many commands that have ended can still be listed, and their keys not be used again.", minimum=1
    )
    silence_s: float = setting(
        86_400.0,
        "A device that got a command and has not said how it ended this long after its deadline has failed it.",
        minimum=0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """Every setting of the hub."""

    mqtt: GatewaySettings = section(GatewaySettings, "The MQTT server for devices.")
    broker: BridgeSettings = section(BridgeSettings, "Another broker, which devices publish to instead.")
    log: HubLogSettings = section(HubLogSettings, "The event log.")
    devices: DeviceSettings = section(DeviceSettings, "Which devices may connect.")
    commands: CommandSettings = section(CommandSettings, "Commands to devices.")
    snapshot_interval_s: float = setting(
        30.0,
        "How often what is known of devices, commands and readings is saved, so that a start is quick.",
        minimum=1.0,
    )
