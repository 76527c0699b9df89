"""Follows the log and commits what the engine makes of it: one thread, one transaction after the other.

Manifests are read before frames, each up to the durable point, so a frame meets its manifest if that is on the log. A
commit that fails is tried again with the very same chunk: the log waits, nothing is passed over. What cannot be read,
or is not there any more, is passed over with a record in quarantine that says so.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path

from processors import quarantine
from processors.chunk import Chunk, FrameIn, Outgoing
from processors.engine import Engine
from processors.outbox import Outbox
from processors.settings import ProcessorsSettings
from processors.stores.store import State, Store
from streams.clock import Clock
from streams.errors import PenstockError, TryLaterError
from streams.files import Files
from streams.log import DamagedRange, OffsetOutOfRange, StreamReader, partitions
from streams.names import DEVICES, FAULT_HEADER, MANIFEST, TELEMETRY
from streams.record import Record

_log = logging.getLogger("penstock.processors")

RETRY_S_FIRST = 0.1
RETRY_S_MAX = 10.0
RETRY_ASKED_S_MAX = 60.0  # what a store that is busy may ask for
SNAPSHOT_INTERVAL_S = 5.0
DRAIN_S = 5.0
RATE_WINDOW = 40
HOLES_SAID_MAX = 10
DEVICES_BYTES = 4 << 20

Place = tuple[str, int]
"""Stream and partition."""


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
        self._readers: dict[Place, StreamReader] = {}
        self._holes: list[Outgoing] = []
        self._holes_said: deque[str] = deque(maxlen=HOLES_SAID_MAX)
        self._problems: dict[str, str] = {}
        self._snapshot_ns = clock.monotonic_ns()
        self._rates: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOW)
        self.readings = state.readings
        self.chunks = 0
        self.passed_over = 0
        """Records of the log that could not be read, or were not there any more, since the start."""
        self.progress_ns = clock.monotonic_ns()
        self.failed: BaseException | None = None
        outbox.recover(state.outgoing)

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop`, then what is left on the log, within a bound."""
        try:
            while not stop.is_set():
                if not self.round(stop):
                    stop.wait(self._settings.commit_interval_ms / 1000)
            deadline_ns = self._clock.monotonic_ns() + round(DRAIN_S * 1e9)
            while self.round(stop) and self._clock.monotonic_ns() < deadline_ns:
                pass
            self._commit(Chunk(detectors=self._engine.snapshot(), published=self._outbox.take_published()), stop)
        except PenstockError as error:
            self.failed = error
            _log.error("stopped before all was stored: %s; the next start goes on from there", error)
        except BaseException as error:  # the process must not go on as if somebody consumed
            self.failed = error
            _log.critical("the consumer died", exc_info=True)
        finally:
            for reader in self._readers.values():
                reader.close()

    def round(self, stop: threading.Event) -> bool:
        """Commit what is on the log now; returns whether more was there than one round takes.

        A commit that fails is tried again until `stop` is set; then its error is raised.
        """
        self._publish()
        if self._outbox.is_full():
            return False
        manifests, offsets = self._manifests()
        frames, passed, more = self._frames()
        offsets |= passed
        if not offsets and not frames and self._outbox.is_idle():
            return False
        for chunk in self._engine.take(frames, manifests):
            chunk.offsets |= offsets
            chunk.outgoing += self._holes
            offsets, self._holes = {}, []
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

    def problems(self) -> list[str]:
        """Sentences on what is wrong now, and on every hole since the start."""
        return [*list(self._problems.values()), *list(self._holes_said)]  # copies: the thread goes on

    @property
    def readings_per_s(self) -> float:
        """Over the last few commits."""
        rates = list(self._rates)
        if len(rates) < 2:
            return 0.0
        elapsed_s = (self._clock.monotonic_ns() - rates[0][0]) / 1e9
        return sum(count for _, count in rates[1:]) / max(elapsed_s, 1e-3)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _manifests(self) -> tuple[list[tuple[str, bytes]], dict[Place, int]]:
        """Every manifest that is new on the log, each once, and where reading goes on."""
        found: dict[tuple[str, bytes], None] = {}
        ends: dict[Place, int] = {}
        for number in partitions(self._log, DEVICES, files=self._files):
            place = DEVICES, number
            offset = start = self._offsets.get(place, 0)
            while True:
                records, following = self._read(place, offset, DEVICES_BYTES)
                if following == offset:
                    break
                offset = following
                for record in records:
                    device, _, channel = (record.key or b"").decode("utf-8", "replace").partition("/")
                    if channel == MANIFEST and record.value is not None:
                        found[device, record.value] = None
            if offset != start:
                ends[place] = offset
        return list(found), ends

    def _frames(self) -> tuple[list[FrameIn], dict[Place, int], bool]:
        """The next frames, where reading goes on in partitions that were passed over, and whether there is more."""
        found: list[FrameIn] = []
        passed: dict[Place, int] = {}
        more = False
        numbers = partitions(self._log, TELEMETRY, files=self._files)
        for number in numbers:
            place = TELEMETRY, number
            offset, end = self._offsets.get(place, 0), self._reader(place).end
            records, following = self._read(place, offset, self._settings.chunk_bytes_max // len(numbers))
            more |= offset < following < end
            if not records and following != offset:
                passed[place] = following
            for record in records:
                device = (record.key or b"").decode("utf-8", "replace")
                fault = dict(record.headers).get(FAULT_HEADER) if record.headers else None
                reason = None if fault is None else fault.decode("utf-8", "replace")
                value = record.value or b""
                found.append(FrameIn(device, number, record.offset, record.timestamp_ms, value, reason))
        return found, passed, more

    def _read(self, place: Place, offset: int, bytes_max: int) -> tuple[list[Record], int]:
        """The next records of a partition, and the offset behind them; damage and holes are said and passed over."""
        where = f"{place[0]}/{place[1]}"
        try:
            records = self._reader(place).read(offset, bytes_max=bytes_max)
        except DamagedRange as error:
            self._pass_over(place, offset, error.resume, str(error))
            return [], error.resume
        except OffsetOutOfRange as error:
            if offset > error.end:  # after a power cut the writer has not recovered yet
                self._problems[where] = f"{error}; waiting for its writer"
            elif error.earliest > offset:
                what = f"{error.earliest - offset} records of {where} were deleted before they were stored"
                reason = f"{what} ({error}); keep the log for longer (hub.log.retention_days, hub.log.retention_bytes)"
                self._pass_over(place, offset, error.earliest, reason)
                return [], error.earliest
            return [], offset
        except OSError as error:
            self._problems[where] = f"{where} cannot be read: {error}; it is tried again"
            return [], offset
        self._problems.pop(where, None)
        return records, records[-1].offset + 1 if records else offset

    def _pass_over(self, place: Place, offset: int, resume: int, reason: str) -> None:
        self.passed_over += resume - offset
        self._holes.append(quarantine.hole_record(*place, offset, resume, reason))
        self._holes_said.append(reason)
        _log.error("%s", reason)

    def _reader(self, place: Place) -> StreamReader:
        reader = self._readers.get(place)
        if reader is None:
            reader = self._readers[place] = StreamReader(self._log, *place, files=self._files)
        return reader

    # -- committing --------------------------------------------------------------------------------------------------

    def _finish(self, chunk: Chunk, stop: threading.Event) -> None:
        chunk.published = self._outbox.take_published()
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._snapshot_ns > SNAPSHOT_INTERVAL_S * 1e9 and len(chunk.rows):
            chunk.detectors = self._engine.snapshot()
            self._snapshot_ns = now_ns
        self._commit(chunk, stop)
        self._outbox.add(chunk.outgoing)
        self._publish()

    def _commit(self, chunk: Chunk, stop: threading.Event) -> None:
        if chunk.is_empty():
            return
        wait_s = RETRY_S_FIRST
        while True:
            try:
                self._store.commit(chunk)
                break
            except PenstockError as error:
                asked_s = error.retry_after_s if isinstance(error, TryLaterError) else 0.0
                pause_s = max(wait_s, min(asked_s, RETRY_ASKED_S_MAX))
                self._problems["store"] = str(error)
                _log.error("%s; the log waits, tried again in %.1f s", error, pause_s)
                if stop.wait(pause_s):
                    raise
                wait_s = min(RETRY_S_MAX, wait_s * 2)
        self._problems.pop("store", None)
        self._offsets |= chunk.offsets
        self._engine.latest.take(chunk.rows)
        self.readings += len(chunk.rows)
        self.chunks += 1
        self.progress_ns = self._clock.monotonic_ns()
        self._rates.append((self.progress_ns, len(chunk.rows)))

    def _publish(self) -> None:
        try:
            self._outbox.publish()
            self._problems.pop("outbox", None)
        except (PenstockError, OSError) as error:
            if self._problems.get("outbox") != str(error):
                _log.error("alarms and quarantine cannot be published: %s; tried again", error)
            self._problems["outbox"] = str(error)
