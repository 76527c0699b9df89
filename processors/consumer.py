"""Follows the log and commits what the engine makes of it: one thread, one transaction after the other.

Manifests are read before frames, each up to the durable point, so a frame meets its manifest if that is on the log. A
commit that fails is tried again with the very same chunk: the log waits, nothing is passed over.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from processors.chunk import Chunk, FrameIn, Outgoing
from processors.engine import Engine
from processors.outbox import Outbox
from processors.settings import ProcessorsSettings
from processors.stores.store import State, Store
from streams.clock import Clock
from streams.errors import DiskError, PenstockError
from streams.files import Files
from streams.frames.decode_compiled import batches
from streams.log import DamagedRange, OffsetOutOfRange, StreamReader, partitions
from streams.names import DEVICES, MANIFEST, TELEMETRY
from streams.record import Record

_log = logging.getLogger("penstock.processors")

RETRY_S_FIRST = 0.1
RETRY_S_MAX = 10.0
SNAPSHOT_INTERVAL_S = 5.0
DRAIN_S = 5.0
RATE_WINDOW = 40


class Consumer:
    """See the head of this file. The figures may be read from any thread."""

    def __init__(
        self,
        log: Path,
        settings: ProcessorsSettings,
        engine: Engine,
        store: Store,
        outbox: Outbox,
        state: State,
        *,
        files: Files,
        clock: Clock,
    ) -> None:
        self._log = log
        self._settings = settings
        self._engine = engine
        self._store = store
        self._outbox = outbox
        self._files = files
        self._clock = clock
        self._offsets = dict(state.offsets)
        self._readers: dict[tuple[str, int], StreamReader] = {}
        self._outgoing, self._published = outbox.unpublished(state.outgoing)
        self._snapshot_ns = clock.monotonic_ns()
        self._rates: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOW)
        self.readings = state.readings
        self.chunks = 0
        self.damaged = 0
        self.progress_ns = clock.monotonic_ns()
        self.problem: str | None = None
        self.failed: BaseException | None = None

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop`, then what is left on the log, within a bound."""
        try:
            while not stop.is_set():
                if not self.round(stop):
                    stop.wait(self._settings.commit_interval_ms / 1000)
            deadline_ns = self._clock.monotonic_ns() + round(DRAIN_S * 1e9)
            while self.round(None) and self._clock.monotonic_ns() < deadline_ns:
                pass
            self._commit(Chunk(detectors=self._engine.snapshot(), published=self._take_published()), None)
        except BaseException as error:  # the process must not go on as if somebody consumed
            self.failed = error
            _log.critical("the consumer died", exc_info=True)

    def round(self, stop: threading.Event | None) -> bool:
        """Commit what is on the log now; returns whether there may be more at once."""
        manifests, devices_at = self._manifests()
        frames, frames_at = self._frames()
        more = sum(len(frame.data) for frame in frames) >= self._settings.chunk_bytes_max // 2
        offsets = {**devices_at, **frames_at}
        if not offsets and not self._published and not self._outgoing:
            return False
        for part, last in self._parts(frames):
            chunk = self._engine.take(part, manifests)
            manifests = []
            if last:
                chunk.offsets = offsets
            else:
                chunk.offsets = {(TELEMETRY, frame.partition): frame.offset + 1 for frame in part}
            self._finish(chunk, stop)
        return more

    def lags(self) -> list[dict[str, int]]:
        """How far each partition is consumed."""
        found = []
        for number in partitions(self._log, TELEMETRY, files=self._files):
            reader = StreamReader(self._log, TELEMETRY, number, files=self._files)
            offset, end = self._offsets.get((TELEMETRY, number), 0), reader.end
            reader.close()
            found.append({"partition": number, "offset": offset, "end": end, "lag": max(0, end - offset)})
        return found

    @property
    def readings_per_s(self) -> float:
        """Over the last few commits."""
        rates = list(self._rates)
        if len(rates) < 2:
            return 0.0
        elapsed_s = (self._clock.monotonic_ns() - rates[0][0]) / 1e9
        return sum(count for _, count in rates[1:]) / max(elapsed_s, 1e-3)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _manifests(self) -> tuple[list[tuple[str, bytes]], dict[tuple[str, int], int]]:
        found: list[tuple[str, bytes]] = []
        ends: dict[tuple[str, int], int] = {}
        for number in partitions(self._log, DEVICES, files=self._files):
            while records := self._read(DEVICES, number, ends, 4 << 20):
                for record in records:
                    device, _, channel = (record.key or b"").decode("utf-8", "replace").partition("/")
                    if channel == MANIFEST and record.value is not None:
                        found.append((device, record.value))
        return found, ends

    def _frames(self) -> tuple[list[FrameIn], dict[tuple[str, int], int]]:
        found: list[FrameIn] = []
        ends: dict[tuple[str, int], int] = {}
        for number in partitions(self._log, TELEMETRY, files=self._files):
            for record in self._read(TELEMETRY, number, ends, self._settings.chunk_bytes_max):
                device = (record.key or b"").decode("utf-8", "replace")
                found.append(FrameIn(device, number, record.offset, record.timestamp_ms, record.value or b""))
        return found, ends

    def _read(self, stream: str, partition: int, ends: dict[tuple[str, int], int], bytes_max: int) -> list[Record]:
        """The next records of a partition; damage and holes are said and passed over."""
        key = stream, partition
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = StreamReader(self._log, stream, partition, files=self._files)
        offset = ends.get(key, self._offsets.get(key, 0))
        try:
            records = reader.read(offset, bytes_max=bytes_max)
        except DamagedRange as error:
            self.damaged += error.resume - offset
            self.problem = str(error)
            _log.error("%s", error)
            ends[key] = error.resume
            return []
        except OffsetOutOfRange as error:
            self._on_gap(key, offset, error, ends)
            return []
        if records:
            ends[key] = records[-1].offset + 1
        return records

    def _on_gap(
        self, key: tuple[str, int], offset: int, error: OffsetOutOfRange, ends: dict[tuple[str, int], int]
    ) -> None:
        """Past the end: after a power cut the writer has not recovered yet, so wait. Before the start: it is gone."""
        if offset > error.end:
            self.problem = f"{error}; waiting for its writer"
            return
        self.problem = f"{error}; retention removed what was not stored yet, the processors go on at {error.earliest}"
        _log.error("%s", self.problem)
        ends[key] = error.earliest

    @staticmethod
    def _parts(frames: list[FrameIn]) -> Iterator[tuple[list[FrameIn], bool]]:
        """Frames in parts whose readings fit in memory, and whether it is the last."""
        ranges = list(batches([frame.data for frame in frames]))
        if not ranges:
            yield [], True
        for index, each in enumerate(ranges):
            yield frames[each.start : each.stop], index == len(ranges) - 1

    # -- committing --------------------------------------------------------------------------------------------------

    def _finish(self, chunk: Chunk, stop: threading.Event | None) -> None:
        chunk.published = self._take_published()
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._snapshot_ns > SNAPSHOT_INTERVAL_S * 1e9 and len(chunk.rows):
            chunk.detectors = self._engine.snapshot()
            self._snapshot_ns = now_ns
        self._commit(chunk, stop)
        self._outgoing += chunk.outgoing
        self._publish()

    def _commit(self, chunk: Chunk, stop: threading.Event | None) -> None:
        if chunk.is_empty():
            return
        wait_s = RETRY_S_FIRST
        while True:
            try:
                self._store.commit(chunk)
                break
            except PenstockError as error:
                self.problem = str(error)
                _log.error("%s; the log waits, tried again in %.1f s", error, wait_s)
                if stop is None or stop.wait(wait_s):
                    raise
                wait_s = min(RETRY_S_MAX, wait_s * 2)
        self._offsets |= chunk.offsets
        self._engine.latest.take(chunk.rows)
        self.readings += len(chunk.rows)
        self.chunks += 1
        self.progress_ns = self._clock.monotonic_ns()
        self._rates.append((self.progress_ns, len(chunk.rows)))
        if len(chunk.rows):
            self.problem = None

    def _publish(self) -> None:
        if not self._outgoing:
            return
        waiting: list[Outgoing] = self._outgoing
        try:
            self._published += self._outbox.publish(waiting)
            self._outgoing = []
        except DiskError as error:
            self.problem = str(error)

    def _take_published(self) -> list[str]:
        published, self._published = self._published, []
        return published
