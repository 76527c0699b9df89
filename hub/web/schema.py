"""The shapes of the HTTP API, as its OpenAPI description shows them. Times are UTC: `_ms` and `_ns` since 1970."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Span = tuple[int, int]


class Shape(BaseModel):
    """Keys may be added in later versions; readers ignore what they do not know."""

    model_config = ConfigDict(extra="allow")


class Error(Shape):
    error: str = Field(description="A sentence that names the thing, the value and the remedy.")


class Device(Shape):
    device: str = Field(description="The device id.")
    online: bool = Field(description="What the device says of itself (birth or will).")
    connected: bool = Field(description="Whether it has a connection to the gateway now.")
    epoch: int | None = Field(description="The epoch that it numbers readings in.")
    boot: str | None = Field(description="A random id of its last start.")
    agent: str | None = Field(description="What runs on it, with version.")
    address: str | None = Field(description="Where it connects from.")
    first_seen_ms: int | None
    last_seen_ms: int | None
    manifest: dict[str, Any] | None = Field(description="Its series and labels; null until it has sent them.")
    manifest_id: int | None = Field(description="CRC-32 of the manifest's bytes.")
    frames: int = Field(description="Frames received, without repetitions.")
    readings: int = Field(description="Readings received, without repetitions.")


class Reading(Shape):
    time_ns: int
    value: float | int | bool | str | None
    quality: int | str | None
    unit: str | None


class DeviceDetail(Device):
    latest: dict[str, Reading] | None = Field(description="The last reading of each series; null without processors.")


class Devices(Shape):
    devices: list[Device]


class Series(Shape):
    """Buckets of equal length; empty ones are left out."""

    device: str
    metric: str
    unit: str | None
    time_ns: list[int] = Field(description="Beginning of each bucket.")
    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]
    count: list[int]
    bad_ns: list[int] = Field(description="The buckets in which the device itself calls a reading bad.")
    bucket_ns: int


class Evidence(Shape):
    """Where the reading that opened an alarm stands."""

    epoch: int | None
    sequence: int | None
    partition: int | None
    offset: int | None


class Alarm(Shape):
    id: str
    device: str
    metric: str
    detector: str
    version: int | str
    kind: Literal["process", "sensor"] = Field(description="What went wrong: the process, or the sensor that sees it.")
    state: Literal["open", "closed"]
    opened_ns: int
    closed_ns: int | None
    strength: float
    value: float | int | bool | str | None = Field(description="The reading that opened it.")
    message: str
    parameters: dict[str, Any]
    evidence: Evidence


class Alarms(Shape):
    alarms: list[Alarm] = Field(description="Newest first.")


class Step(Shape):
    state: str
    time_ms: int


class Command(Shape):
    key: str = Field(description="Its identity: the same key never runs twice.")
    device: str
    name: str
    arguments: dict[str, Any]
    state: Literal["queued", "sent", "accepted", "running", "succeeded", "failed", "rejected", "expired", "cancelled"]
    created_ms: int
    deadline_ms: int
    ended_ms: int | None
    result: Any | None
    error: str | None
    progress: float | None
    history: list[Step]


class Commands(Shape):
    commands: list[Command] = Field(description="Newest first.")


class NewCommand(BaseModel):
    """A command to send. It runs once, and never after its deadline."""

    model_config = ConfigDict(extra="forbid")

    device: str = Field(examples=["pump-001"])
    name: str = Field(description="What the device is to do.", examples=["identify", "read_now"])
    arguments: dict[str, Any] = Field(default_factory=dict)
    deadline_s: float = Field(default=60.0, gt=0, le=30 * 86400, description="Seconds from now.")
    key: str | None = Field(default=None, max_length=128, description="Repeat a request safely: the same key, one run.")


class InFlight(Shape):
    held: int = Field(description="In the device, not acknowledged yet.")
    logged: int = Field(description="On the hub's log, not processed yet.")


class Amounts(Shape):
    """produced = stored + thinned + dropped + quarantined + in flight + lost"""

    produced: int
    stored: int
    thinned: int = Field(description="Left out on purpose, and declared.")
    dropped: int = Field(description="Given up by the device, and declared with a reason.")
    quarantined: int = Field(description="Received, kept, and not readable.")
    in_flight: InFlight
    lost: int = Field(description="What is left. It must be 0.")
    duplicates: int = Field(description="Received once more, and recognised.")
    duplicate_rows: int = Field(description="Stored twice. It must be 0.")
    conflicts: int = Field(description="Came under the numbers of other readings, and are not stored. It must be 0.")


class Account(Amounts):
    device: str
    epoch: int
    lost_ranges: list[Span] = Field(description="Sequence numbers [start, stop) that are nowhere.")


class Ledger(Shape):
    accounts: list[Account]
    totals: Amounts
    undecodable: int = Field(description="Frames in quarantine whose readings cannot be told.")
    balanced: bool = Field(description="As far as is known no reading is lost, stored twice or under another's number.")
    verdict: Literal["balanced", "not balanced", "unknown"] = Field(
        description="Whether every reading is accounted for; unknown while the processors do not answer."
    )
    processors_away: str | None = Field(description="Why the stored side is missing, if it is.")


class Part(Shape):
    status: Literal["ok", "degraded", "away"]
    problems: list[str]


class Health(Shape):
    status: Literal["ok", "degraded"]
    problems: list[str]
    hub: Part
    processors: Part
