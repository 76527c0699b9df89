"""What a stream holds: records with an offset, a time, a key, a value and headers, as in Apache Kafka."""

from __future__ import annotations

from dataclasses import dataclass

Header = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be appended. `timestamp_ms` is milliseconds since 1970 UTC."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read back: where it stands and what was appended."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[Header, ...] = ()
