"""Settings of one stream."""

from __future__ import annotations

from dataclasses import dataclass

from streams.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a stream is cut into partitions and segments, and how long it is kept."""

    partitions: int = setting(
        1, "Partitions of the stream; a key always falls into the same one.", minimum=1, maximum=64
    )
    segment_bytes: int = setting(64 << 20, "Size at which a new segment is begun.", minimum=4096, maximum=1 << 30)
    index_interval_bytes: int = setting(4096, "Distance between entries of the index.", minimum=512)
    retention_bytes: int | None = setting(
        None, "Oldest segments are removed above this size of a partition.", minimum=1
    )
    retention_s: float | None = setting(None, "Segments whose newest record is older are removed.", minimum=1)
    commit_interval_ms: float = setting(
        0.0, "How long a commit waits for company; 0 takes what came during the one before.", minimum=0, maximum=1000
    )
    pending_bytes_max: int = setting(
        64 << 20, "Appends are refused above this much that waits for the disk.", minimum=1 << 16, maximum=1 << 30
    )
