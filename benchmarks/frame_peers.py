"""How others put the same readings into a message, and take them out again: what the frame codec is measured beside.

Each takes a frame and gives bytes; each gives back all readings of many messages as arrays (series, time, value).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

from streams.frames import Frame

MS = 1_000_000
DOUBLE = 10
"""Sparkplug B's number for the data type."""

Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Peer:
    """One of the others. `encode` is given the names of the series, `decode` the messages and the names."""

    name: str
    encode: Callable[[Frame, Sequence[str]], bytes]
    decode: Callable[[Sequence[bytes], Sequence[str]], Columns]


def _json(frame: Frame, names: Sequence[str]) -> bytes:
    """As most devices send it: one object a reading, milliseconds."""
    readings = [
        {"n": names[column.series], "t": time_ns // MS, "v": value}
        for block in frame.blocks
        for column in block.columns
        for time_ns, value in zip(block.times_ns, column.values)
    ]
    return json.dumps(readings, separators=(",", ":")).encode()


def _from_json(data: Sequence[bytes], names: Sequence[str]) -> Columns:
    """By the fastest JSON library there is for Python."""
    numbers = {name: number for number, name in enumerate(names)}
    readings = [reading for item in data for reading in orjson.loads(item)]
    return (
        np.array([numbers[reading["n"]] for reading in readings], np.int32),
        np.array([reading["t"] for reading in readings], np.int64) * MS,
        np.array([reading["v"] for reading in readings], np.float64),
    )


def _payload() -> Any:
    """The class of Sparkplug B's Payload, as far as readings need it (Sparkplug 3.0, chapter 6.4)."""
    field = descriptor_pb2.FieldDescriptorProto
    described = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto3")
    metric = described.message_type.add(name="Metric")
    for name, number, kind in (
        ("alias", 2, field.TYPE_UINT64),
        ("timestamp", 3, field.TYPE_UINT64),
        ("datatype", 4, field.TYPE_UINT32),
        ("double_value", 13, field.TYPE_DOUBLE),
    ):
        metric.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    payload = described.message_type.add(name="Payload")
    payload.field.add(name="timestamp", number=1, type=field.TYPE_UINT64, label=field.LABEL_OPTIONAL)
    payload.field.add(
        name="metrics", number=2, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".sparkplug.Metric"
    )
    payload.field.add(name="seq", number=3, type=field.TYPE_UINT64, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sparkplug.Payload"))


_Payload = _payload()


def _sparkplug(frame: Frame, names: Sequence[str]) -> bytes:
    """Metrics by alias, as a device sends them after its birth certificate."""
    payload = _Payload(timestamp=frame.blocks[-1].times_ns[-1] // MS, seq=1)
    add = payload.metrics.add
    for block in frame.blocks:
        for column in block.columns:
            for time_ns, value in zip(block.times_ns, column.values):
                add(alias=column.series, timestamp=time_ns // MS, datatype=DOUBLE, double_value=value)
    encoded: bytes = payload.SerializeToString()
    return encoded


def _from_sparkplug(data: Sequence[bytes], names: Sequence[str]) -> Columns:
    metrics = [metric for item in data for metric in _Payload.FromString(item).metrics]
    return (
        np.array([metric.alias for metric in metrics], np.int32),
        np.array([metric.timestamp for metric in metrics], np.int64) * MS,
        np.array([metric.double_value for metric in metrics], np.float64),
    )


def _arrow(frame: Frame, names: Sequence[str]) -> bytes:
    """One row a reading, which is much smaller there than one column a series."""
    pairs = [(block.times_ns, column) for block in frame.blocks for column in block.columns]
    batch = pa.record_batch(
        {
            "series": np.repeat(np.array([column.series for _, column in pairs], np.int32), len(pairs[0][0])),
            "time_ns": np.concatenate([times_ns for times_ns, _ in pairs]),
            "value": np.concatenate([column.values for _, column in pairs]),
        }
    )
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _from_arrow(data: Sequence[bytes], names: Sequence[str]) -> Columns:
    options = pa.ipc.IpcReadOptions(use_threads=False)
    tables = [pa.ipc.open_stream(item, options=options).read_all() for item in data]
    series, times, values = (
        np.concatenate([table[name].to_numpy() for table in tables]) for name in ("series", "time_ns", "value")
    )
    return series, times, values


def _deflated(peer: Peer) -> Peer:
    return Peer(
        f"{peer.name} + zlib",
        lambda frame, names: zlib.compress(peer.encode(frame, names)),
        lambda data, names: peer.decode([zlib.decompress(item) for item in data], names),
    )


JSON = Peer("JSON", _json, _from_json)
JSON_ZLIB = _deflated(JSON)
SPARKPLUG_ZLIB = _deflated(Peer("Sparkplug B", _sparkplug, _from_sparkplug))
ARROW_ZSTD = Peer("Arrow IPC + zstd", _arrow, _from_arrow)
PEERS = (JSON, JSON_ZLIB, SPARKPLUG_ZLIB, ARROW_ZSTD)
