"""Frames, manifests and chunks for the tests of this room, and the processors over a real log and a real store."""

from __future__ import annotations

import contextlib
import json
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from processors.chunk import Chunk, FrameIn
from processors.consumer import Consumer
from processors.engine import Engine
from processors.outbox import STREAMS, Outbox
from processors.settings import ProcessorsSettings
from processors.stores.registry import open_store
from processors.stores.store import State, Store
from streams.clock import ManualClock
from streams.files import DiskFiles, Files
from streams.frames import KINDS, Block, ClockQuality, Column, Frame, Kind
from streams.frames.encode_numpy import encode
from streams.log import EventLog, LogSettings
from streams.names import DEVICES, MANIFEST, TELEMETRY
from streams.record import NewRecord, Record
from tests.streams.frame_samples import exact

NOW_NS = 1_790_000_000 * 10**9
SECOND_NS = 10**9

Row = tuple[Any, ...]


def manifest(*series: str | Mapping[str, Any]) -> bytes:
    """A manifest; a series is a name, or what is to be said of it."""
    declared = [each if isinstance(each, Mapping) else {"name": each} for each in series]
    return json.dumps(
        {"series": [{"id": number, "type": "float64", **each} for number, each in enumerate(declared)]}
    ).encode()


ONE = manifest("level")


def block(
    series: int, values: Sequence[Any], *, kind: str = Kind.FLOAT64, at_ns: int = NOW_NS, quality: bytes | None = None
) -> Block:
    """A column of one series, one reading a second."""
    times = [at_ns + row * SECOND_NS for row in range(len(values))]
    return Block(times, [Column(series, kind, values, quality)])


def frame(sequence: int, *blocks: Block, payload: bytes = ONE, epoch: int = 1) -> bytes:
    return encode(Frame(epoch, sequence, zlib.crc32(payload), ClockQuality.SYNCHRONISED, blocks))


def simple(sequence: int, values: Sequence[float], *, payload: bytes = ONE, epoch: int = 1) -> bytes:
    """A frame of series 0; a reading is taken as many seconds after NOW_NS as its number says."""
    return frame(sequence, block(0, values, at_ns=NOW_NS + sequence * SECOND_NS), payload=payload, epoch=epoch)


def arrived(*data: bytes, device: str = "d", first: int = 0, partition: int = 0) -> list[FrameIn]:
    """Frames as they stand in the log, from offset `first` on."""
    return [FrameIn(device, partition, first + at, NOW_NS // 10**6 + at, each) for at, each in enumerate(data)]


def engine(state: State | None = None, settings: ProcessorsSettings | None = None) -> Engine:
    return Engine(settings or ProcessorsSettings(), state or State())


def take(engine: Engine, frames: Sequence[FrameIn], *manifests: bytes, device: str = "d") -> list[Chunk]:
    """The transactions of these frames, which count as committed."""
    chunks = list(engine.take(frames, [(device, payload) for payload in manifests]))
    for chunk in chunks:
        engine.latest.take(chunk.rows)
    return chunks


def rows(engine: Engine, chunks: Iterable[Chunk]) -> list[Row]:
    """Readings as (device, metric, kind, epoch, sequence, time, value to the bit, quality, partition, offset)."""
    return [row for chunk in chunks for row in _rows(engine, chunk)]


def _rows(engine: Engine, chunk: Chunk) -> Iterator[Row]:
    each = chunk.rows
    for at in range(len(each)):
        kind, info = KINDS[each.kind[at]], engine.table.info(int(each.series[at]))
        value: Any = float(each.value[at])
        if kind == Kind.TEXT:
            value = each.texts[each.text[at]]
        elif kind in (Kind.INT64, Kind.BOOL):
            value = int(each.integer[at])
        yield (
            info.device, info.metric, str(kind), int(each.epoch[at]), int(each.sequence[at]), int(each.time_ns[at]),
            exact(value), int(each.quality[at]), int(each.partition[at]), int(each.offset[at]),
        )  # fmt: skip


class Log:
    """The hub's side of the event log: it writes what devices send."""

    def __init__(self, data: Path, *, partitions: int = 1, segment_bytes: int = 64 << 20) -> None:
        settings = {
            TELEMETRY: LogSettings(partitions=partitions, segment_bytes=segment_bytes),
            DEVICES: LogSettings(segment_bytes=segment_bytes),
        }
        self.log = EventLog.open(data / "log", settings, files=DiskFiles(), clock=ManualClock(), owner="test hub")

    def telemetry(self, device: str, *frames: bytes, one_by_one: bool = False) -> None:
        """Append frames, as one batch or each as its own."""
        records = [NewRecord(device.encode(), each, NOW_NS // 10**6) for each in frames]
        for batch in [[each] for each in records] if one_by_one else [records]:
            self.log.append_durable(TELEMETRY, batch)

    def manifest(self, device: str, payload: bytes = ONE) -> None:
        self.log.append_durable(DEVICES, [NewRecord(f"{device}/{MANIFEST}".encode(), payload, NOW_NS // 10**6)])

    def close(self) -> None:
        self.log.close()


class Processors:
    """The processors without their process: engine, store, outbox and consumer on a data directory."""

    def __init__(
        self,
        data: Path,
        *,
        settings: ProcessorsSettings | None = None,
        clock: ManualClock | None = None,
        files: Files | None = None,
        wrap: Any = None,
    ) -> None:
        self.settings = settings or ProcessorsSettings()
        self.clock = clock or ManualClock(time_ns=NOW_NS)
        self.data = data
        self.stop = threading.Event()
        files = files or DiskFiles()
        self.log = EventLog.open(
            data / "log", {stream: LogSettings() for stream in STREAMS}, files=files, clock=self.clock, owner="test"
        )
        store: Store = open_store(data / "store", self.settings.store)
        self.store = wrap(store) if wrap else store
        self.state = self.store.load()
        self.engine = Engine(self.settings, self.state)
        self.consumer = Consumer(
            data / "log", self.settings, self.engine, self.store, Outbox(self.log, self.clock), self.state,
            files=DiskFiles(), clock=self.clock,
        )  # fmt: skip

    def drain(self) -> None:
        """Rounds until nothing is left, not even to be forgotten."""
        while self.consumer.round(self.stop) or self._changed():
            pass

    def _changed(self) -> bool:
        before = self.consumer.chunks
        self.consumer.round(self.stop)
        return self.consumer.chunks != before

    def close(self) -> None:
        """Let go of everything, as a kill does; what is committed stays."""
        self.log.close()
        self.store.close()

    def end(self) -> None:
        """A clean stop: drain, keep the detectors' state, let go."""
        self.stop.set()
        self.consumer.run(self.stop)
        assert self.consumer.failed is None, self.consumer.failed
        self.close()

    # -- what came of it ---------------------------------------------------------------------------------------------

    def readings(self, device: str = "d") -> list[Row]:
        """(metric, time, value, text, quality, epoch, sequence), by epoch and sequence."""
        found = self.store.readings(device, start_ns=-(1 << 62), end_ns=1 << 62, limit=10_000_000)
        names = ("metric", "time_ns", "value", "text", "quality", "epoch", "sequence")
        return list(zip(*(found[name] for name in names)))

    def alarms(self) -> list[dict[str, Any]]:
        found = self.store.alarms(device=None, state="all", limit=10_000)
        return sorted(found, key=lambda alarm: str(alarm["id"]))

    def published(self, stream: str) -> list[Record]:
        return published(self.log, stream)


def published(log: EventLog, stream: str) -> list[Record]:
    """Everything on a stream of ours."""
    found: list[Record] = []
    with contextlib.closing(log.reader(stream)) as reader:
        while batch := reader.read(found[-1].offset + 1 if found else 0):
            found += batch
    return found


def ids(records: Iterable[Record]) -> list[str]:
    return [dict(record.headers)["id"].decode() for record in records]
