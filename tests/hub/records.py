"""Records as the hub writes them, for the tests of this room."""

from __future__ import annotations

import json
from typing import Any

from hub.events import DEVICE_HEADER, Event, connection_value, decode, device_key, dump
from streams import names
from streams.frames import Block, ClockQuality, Column, Frame, FrameHeader, encode
from streams.record import NewRecord, Record

NOW_MS = 1_700_000_000_000

MANIFEST = {
    "series": [
        {"id": 0, "name": "cpu.load", "unit": "1", "type": "float64", "interval_s": 1.0},
        {"id": 1, "name": "door", "type": "bool"},
    ],
    "device": {"model": "test"},
}


def state(device: str, *, online: bool = True, time_ms: int = NOW_MS, **more: Any) -> NewRecord:
    return NewRecord(device_key(device, names.STATE), dump({"online": online, **more}), time_ms)


def manifest(device: str, payload: Any = None, *, time_ms: int = NOW_MS) -> NewRecord:
    return NewRecord(device_key(device, names.MANIFEST), json.dumps(payload or MANIFEST).encode(), time_ms)


def account(device: str, epoch: int, produced: int, *, time_ms: int = NOW_MS, **more: Any) -> NewRecord:
    body = {"epoch": epoch, "produced": produced, "time_ms": time_ms, **more}
    return NewRecord(device_key(device, names.ACCOUNT), dump(body), time_ms)


def connection(device: str, connected: bool, *, time_ms: int = NOW_MS, address: str = "127.0.0.1:5") -> NewRecord:
    value = connection_value(connected, time_ms, address=address if connected else None)
    return NewRecord(device_key(device, "connection"), value, time_ms)


def result(device: str, key: str, step: int, new_state: str, *, time_ms: int = NOW_MS, **more: Any) -> NewRecord:
    body = {"key": key, "step": step, "state": new_state, "time_ms": time_ms, "device": device, **more}
    return NewRecord(key.encode(), dump(body), time_ms, ((DEVICE_HEADER, device.encode()),))


def frame(epoch: int, sequence: int, count: int, manifest_id: int = 0) -> bytes:
    """A frame with `count` readings of one series."""
    column = Column(series=0, kind="float64", values=[0.5 * row for row in range(count)])
    times_ns = [NOW_MS * 1_000_000 + row * 10**9 for row in range(count)]
    blocks = (Block(times_ns=times_ns, columns=(column,)),)
    return encode(Frame(epoch, sequence, manifest_id, ClockQuality.SYNCHRONISED, blocks))


def stream_of(record: NewRecord) -> str:
    if (record.key or b"").count(b"/"):
        return names.DEVICES
    return names.COMMANDS if (record.value or b"").startswith(b"{") else names.TELEMETRY


def event(record: NewRecord, stream: str | None = None) -> Event:
    return decode(stream or stream_of(record), record.key, record.value, record.timestamp_ms, record.headers)


def at(offset: int, record: NewRecord) -> Record:
    return Record(offset, record.key, record.value, record.timestamp_ms, record.headers)


def header(epoch: int, sequence: int, count: int, manifest_id: int = 0) -> FrameHeader:
    values: dict[str, Any] = dict.fromkeys(FrameHeader._fields, 0)
    values |= {"version": 1, "epoch": epoch, "sequence": sequence, "count": count, "manifest": manifest_id}
    return FrameHeader(**values)
