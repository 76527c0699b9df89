"""Settings of the processors."""

from __future__ import annotations

from dataclasses import dataclass

from streams.settings import section, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where rows go."""

    kind: str = setting("duckdb", "The store: embedded, or an InfluxDB server.", choices=("duckdb", "influx"))
    memory_bytes_max: int = setting(
        512 << 20, "Memory that the embedded store may use for its queries and transactions.", minimum=64 << 20
    )
    threads: int = setting(1, "Threads of the embedded store.", minimum=1, maximum=64)
    influx_url: str = setting("http://127.0.0.1:8086", "Where the InfluxDB server is.")
    influx_token: str = setting("", "Its token; USER:PASSWORD for version 1.", secret=True)
    influx_org: str = setting("-", "Its organisation; version 1 does not care.")
    influx_bucket: str = setting("penstock", "Its bucket; for version 1 the name of the database.")
    influx_batch_rows: int = setting(10_000, "Rows in one write to InfluxDB.", minimum=1, maximum=500_000)
    influx_timeout_s: float = setting(30.0, "How long one write to InfluxDB may take.", minimum=1, maximum=600)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmSettings:
    """When an alarm opens and closes."""

    detectors: tuple[str, ...] = setting(("level", "stuck"), "The detectors that look at every series.")
    open_strength: float = setting(1.0, "An alarm opens when a detector's strength reaches this.", minimum=0.01)
    close_strength: float = setting(0.6, "An alarm may close when the strength is below this.", minimum=0.0)
    close_hold_s: float = setting(10.0, "It closes when the strength stayed below for so long.", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorsSettings:
    """How the log is consumed."""

    store: StoreSettings = section(StoreSettings, "The time-series store.")
    alarms: AlarmSettings = section(AlarmSettings, "Detection and alarms.")
    commit_interval_ms: float = setting(
        250.0, "Readings are committed to the store at least this often.", minimum=1, maximum=60_000
    )
    chunk_bytes_max: int = setting(8 << 20, "Bytes of frames in one transaction.", minimum=1 << 16, maximum=256 << 20)
    parked_bytes_max: int = setting(
        64 << 20, "Bytes of frames that may wait for their manifest; more go to quarantine.", minimum=1 << 16
    )
    alerts_bytes_max: int = setting(
        256 << 20, "The oldest alarms are deleted from the log when their stream is larger.", minimum=4 << 20
    )
    quarantine_bytes_max: int = setting(
        1 << 30, "The oldest of the quarantine is deleted when it is larger than this.", minimum=4 << 20
    )
    stall_s: float = setting(30.0, "Work in hand without progress for so long is said in /health.", minimum=1)
