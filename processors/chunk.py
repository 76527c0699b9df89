"""One transaction of the store: rows, and everything that must become true together with them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from processors.alarms import Alarm
from processors.dedupe import Seen
from processors.manifests import SeriesInfo
from processors.rows import Rows, no_rows


@dataclass(frozen=True, slots=True)
class FrameIn:
    """A frame as it stands in the log."""

    device: str
    partition: int
    offset: int
    time_ms: int
    data: bytes
    fault: str | None = None
    """Why the hub could not translate it: it is no frame."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A frame that waits for its manifest."""

    frame: FrameIn
    manifest: int
    epoch: int
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record for a stream of ours. The id makes a second publication visible."""

    id: str
    stream: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    time_ms: int = 0


@dataclass(slots=True)
class Chunk:
    """See the head of this file."""

    rows: Rows = field(default_factory=no_rows)
    series: list[tuple[int, SeriesInfo]] = field(default_factory=list)
    ranges: list[tuple[str, int, Seen]] = field(default_factory=list)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    """Next offset to read, by stream and partition."""
    manifests: list[tuple[str, bytes]] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    unparked: list[tuple[int, int]] = field(default_factory=list)
    """(partition, offset) of frames that wait no longer."""
    alarms: list[Alarm] = field(default_factory=list)
    """Those that changed, each once, as it is after this transaction."""
    outgoing: list[Outgoing] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    """Ids of records that are on their stream now."""
    detectors: dict[str, bytes] = field(default_factory=dict)
    """State of the detectors, when it is time to keep it."""
    undecodable: int = 0

    def is_empty(self) -> bool:
        """Whether committing it would change nothing."""
        return not any(len(getattr(self, each.name)) for each in fields(self) if each.name != "undecodable")
