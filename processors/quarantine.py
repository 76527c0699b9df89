"""The stream `quarantine`: what could not be used, with the reason and the raw bytes; how it is written and read.

A range of the log that cannot be read, or that retention removed too early, has a record too, without bytes.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any

from processors.chunk import FrameIn, Outgoing
from streams.log import DamagedRange, StreamReader
from streams.names import QUARANTINE, TELEMETRY
from streams.record import Record


def frame_record(frame: FrameIn, reason: str) -> Outgoing:
    """The record of a frame."""
    return Outgoing(
        id=f"{TELEMETRY}/{frame.partition}/{frame.offset}",
        stream=QUARANTINE,
        key=frame.device,
        value=frame.data,
        headers=_headers(reason, TELEMETRY, frame.partition, frame.offset),
        time_ms=frame.time_ms,
    )


def hole_record(stream: str, partition: int, offset: int, resume: int, reason: str) -> Outgoing:
    """The record of the offsets [offset, resume) of a stream, which are passed over."""
    headers = _headers(reason, stream, partition, offset)
    return Outgoing(f"{stream}/{partition}/{offset}-{resume}", QUARANTINE, "", b"", headers)


def newest(reader: StreamReader, *, limit: int, bytes_max: int) -> tuple[list[dict[str, Any]], int]:
    """The newest records as JSON, at most `limit` and `bytes_max` bytes of values, newest first; and how many of
    `limit` were left out for their bytes."""
    found: deque[Record] = deque()
    size = left_out = 0
    for record in _records(reader, max(reader.earliest, reader.end - limit)):
        found.append(record)
        size += len(record.value or b"")
        while size > bytes_max and len(found) > 1:
            size -= len(found.popleft().value or b"")
            left_out += 1
    return [_to_json(record) for record in reversed(found)], left_out


def at(reader: StreamReader, offset: int) -> dict[str, Any] | None:
    """The record at an offset as JSON; None when there is none."""
    if not reader.earliest <= offset < reader.end:
        return None
    first = next(_records(reader, offset), None)
    return _to_json(first) if first is not None and first.offset == offset else None


def _records(reader: StreamReader, offset: int) -> Iterator[Record]:
    """What can be read from `offset` on."""
    while True:
        try:
            records = reader.read(offset)
        except DamagedRange as error:
            offset = error.resume
            continue
        if not records:
            return
        yield from records
        offset = records[-1].offset + 1


def _headers(reason: str, stream: str, partition: int, offset: int) -> tuple[tuple[str, bytes], ...]:
    values = {"reason": reason, "stream": stream, "partition": str(partition), "offset": str(offset)}
    return tuple((name, value.encode("utf-8", "replace")) for name, value in values.items())


def _to_json(record: Record) -> dict[str, Any]:
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    source: dict[str, Any] = {"stream": headers.get("stream")}
    for name in ("partition", "offset"):
        source[name] = None
        with contextlib.suppress(KeyError, ValueError):
            source[name] = int(headers[name])
    return {
        "offset": record.offset,
        "time_ms": record.timestamp_ms,
        "device": (record.key or b"").decode("utf-8", "replace"),
        "reason": headers.get("reason", ""),
        "source": source,
        "bytes_hex": (record.value or b"").hex(),
    }
