"""A frame as the spool holds it."""

from __future__ import annotations

import dataclasses
import struct

from streams.errors import CorruptError
from streams.record import Record

_KEY = struct.Struct("<QQII")


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


def read_frame(record: Record) -> SpooledFrame:
    """A record of the spool as a frame. CorruptError when it is none."""
    if record.key is None or record.value is None or len(record.key) != _KEY.size:
        raise CorruptError(f"record {record.offset} of the spool is not a frame")
    epoch, first, count, manifest = _KEY.unpack(record.key)
    return SpooledFrame(record.offset, epoch, first, first + count, manifest, record.value, record.timestamp_ms)
