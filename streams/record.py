"""What a stream holds: records with an offset, a time, a key, a value and headers, as in Apache Kafka."""

from __future__ import annotations

from typing import NamedTuple

Header = tuple[str, bytes]


class NewRecord(NamedTuple):
    """A record to be appended. `timestamp_ms` is milliseconds since 1970 UTC."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[Header, ...] = ()


class Record(NamedTuple):
    """A record as read back: where it stands and what was appended."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[Header, ...] = ()
