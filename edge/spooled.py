"""A frame as the spool holds it."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping

from streams.errors import CorruptError
from streams.record import Header, Record

_KEY = struct.Struct("<QQII")
_UNNUMBERED = "unnumbered"


@dataclasses.dataclass(frozen=True, slots=True)
class SpooledFrame:
    """`payload` is the frame's bytes; its readings are [first, stop) of `epoch`; `manifest` says what they mean."""

    offset: int
    epoch: int
    first: int
    stop: int
    manifest: int
    payload: bytes
    sealed_ms: int = 0
    """When it was sealed, milliseconds since 1970."""
    unnumbered: tuple[tuple[str, str, int], ...] = ()
    """Readings that were thinned while it was collected: series, reason, how many."""

    @property
    def size(self) -> int:
        """What it counts against the budget."""
        return frame_bytes(len(self.payload))


def frame_bytes(payload_bytes: int) -> int:
    """What a frame of this size takes in the spool, about."""
    return payload_bytes + _KEY.size + 16


def frame_key(*, epoch: int, first: int, stop: int, manifest: int) -> bytes:
    """The record key under which a frame is kept, so that its numbers are known without decoding it."""
    return _KEY.pack(epoch, first, stop - first, manifest)


def frame_headers(unnumbered: Mapping[tuple[str, str], int]) -> tuple[Header, ...]:
    """What stands beside the frame in its record."""
    if not unnumbered:
        return ()
    counts = [[*key, count] for key, count in sorted(unnumbered.items())]
    return ((_UNNUMBERED, json.dumps(counts, separators=(",", ":")).encode()),)


def read_frame(record: Record) -> SpooledFrame:
    """A record of the spool as a frame. CorruptError when it is none."""
    if record.key is None or record.value is None or len(record.key) != _KEY.size:
        raise CorruptError(f"record {record.offset} of the spool is not a frame")
    epoch, first, count, manifest = _KEY.unpack(record.key)
    unnumbered = tuple((a, b, n) for a, b, n in json.loads(dict(record.headers).get(_UNNUMBERED, b"[]")))
    return SpooledFrame(
        record.offset, epoch, first, first + count, manifest, record.value, record.timestamp_ms, unnumbered
    )
