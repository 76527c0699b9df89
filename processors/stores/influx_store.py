"""Readings and alarms in InfluxDB; what the processors must remember in a small DuckDB file beside it.

Rows go first, then the transaction of the file: a kill in between writes the same points a second time, which changes
nothing (docs/decisions/0007-no-two-readings-share-a-point.md). What InfluxDB refuses for good goes to quarantine, in
that transaction. Alarms are in the file first and are copied from there, so that InfluxDB has none that was not kept.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb

from processors.alarms import alarm_from_json
from processors.chunk import Chunk
from processors.latest import Last, newest
from processors.manifests import SeriesInfo
from processors.settings import StoreSettings
from processors.stores import influx_queries
from processors.stores.influx_count import Count
from processors.stores.influx_server import InfluxServer, Refused, check
from processors.stores.line_protocol import Heads, ReadingLines, alarm_line
from processors.stores.places import Placed, Places
from processors.stores.refusals import Refusal, set_aside, write
from processors.stores.state_file import StateFile
from processors.stores.store import State
from streams.clock import Clock, SystemClock
from streams.errors import DiskError, MisuseError, TryLaterError

_log = logging.getLogger("penstock.processors")

ALARMS_AT_ONCE = 1000
WRITERS = 2  # the server takes a second request while it syncs the first
RETRY_S = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS places(series INTEGER, lap INTEGER, point_ns BIGINT, PRIMARY KEY (series, lap));
CREATE TABLE IF NOT EXISTS latest(
    series INTEGER PRIMARY KEY, time_ns BIGINT, value DOUBLE, text VARCHAR, quality UTINYINT, epoch BIGINT,
    sequence BIGINT);
CREATE TABLE IF NOT EXISTS alarm_points(
    id VARCHAR PRIMARY KEY, device VARCHAR, metric VARCHAR, detector VARCHAR, point_ns BIGINT, waits BOOLEAN);
"""

# An alarm stands where it was opened, or just behind those that stand there already.
_PLACE_ALARM = """
INSERT INTO alarm_points SELECT $id, $device, $metric, $detector, coalesce(max(point_ns) + 1, $opened_ns), true
FROM alarm_points WHERE device = $device AND metric = $metric AND detector = $detector
AND point_ns >= $opened_ns AND point_ns < $opened_ns + 1000
ON CONFLICT DO UPDATE SET waits = true
"""

_IF_NEWER = """
ON CONFLICT DO UPDATE SET time_ns = excluded.time_ns, value = excluded.value, text = excluded.text,
quality = excluded.quality, epoch = excluded.epoch, sequence = excluded.sequence
WHERE excluded.epoch > epoch OR (excluded.epoch = epoch AND excluded.sequence >= sequence)
"""


class InfluxStore:
    """A Store (see stores/store.py). MisuseError at construction: the package or a setting."""

    name = "influx"

    def __init__(self, directory: Path, settings: StoreSettings, clock: Clock | None = None) -> None:
        self._server = InfluxServer(settings)
        # One file for each bucket, whatever its address is: another bucket is filled from the beginning of the log.
        path = directory / f"influx-{quote(settings.influx_bucket, safe='')}.duckdb"
        self._file = StateFile(path, settings, _SCHEMA)
        self._settings = settings
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="influx")
        self._infos: dict[int, SeriesInfo] = {}
        self._heads = Heads()
        self._places = Places()
        self._count = Count(self._server, clock or SystemClock())
        self._alarms_wait = True
        self._problem: str | None = None
        self._alarm_problem: str | None = None
        self._refused = 0
        self._refused_why = ""

    # -- the consumer ------------------------------------------------------------------------------------------------

    def load(self) -> State:
        state = self._file.load()
        self._learn(state.series)
        self._places = Places(self._file.query("SELECT series, lap, point_ns FROM places"))
        state.readings = self._file.counter("readings")
        state.latest = [
            (number, Last(time_ns, value if text is None else text, *more))
            for number, time_ns, value, text, *more in self._file.query("SELECT * FROM latest")
        ]
        try:
            self._problem = check(self._settings)
        except MisuseError as error:  # whoever mends it need not start us again: the log waits
            self._problem = str(error)
        if self._problem:
            _log.error("%s", self._problem)
        return state

    def commit(self, chunk: Chunk) -> None:
        self._learn(chunk.series)
        placed = self._places.place(chunk.rows)
        refusals = self._write(chunk, placed)
        kept = set_aside(chunk, refusals, self._infos)
        with self._file.transaction():
            self._file.write(chunk)
            self._file.count("readings", int(kept.sum()))
            self._keep(chunk, placed)
        self._places.take(placed)  # committed: from here on nothing may be raised
        if refusals:
            self._say_refused(refusals)
            chunk.rows = chunk.rows.pick(kept)
        self._alarms_wait |= bool(chunk.alarms)
        self._copy_alarms()

    def _learn(self, series: Sequence[tuple[int, SeriesInfo]]) -> None:
        self._infos.update(series)
        self._heads.learn(series)

    def _write(self, chunk: Chunk, placed: Placed) -> list[Refusal]:
        """Write the rows; returns those that are refused."""
        refusals: list[Refusal] = []
        if not len(chunk.rows):
            return refusals
        writing: deque[Future[list[Refusal]]] = deque()
        try:
            for rows, lines in ReadingLines(chunk.rows, placed, self._heads).blocks(self._settings.influx_batch_rows):
                if len(writing) == WRITERS:
                    refusals += writing.popleft().result()
                writing.append(self._writers.submit(write, self._server, lines, rows, chunk.rows.time_ns))
            while writing:
                refusals += writing.popleft().result()
        except TryLaterError as error:
            self._problem = str(error)
            raise
        finally:
            wait(writing)  # nobody writes what a second attempt may write at the same time
        if len(refusals) == len(chunk.rows) and all("field type conflict" in each.reason for each in refusals):
            self._problem = (
                f"{self._server} takes no reading: {refusals[0].reason}; another program has used the measurement in "
                f"{self._server.bucket}: name another bucket in processors.store.influx_bucket"
            )
            raise TryLaterError(self._problem, retry_after_s=RETRY_S)
        self._problem = None
        return refusals

    def _keep(self, chunk: Chunk, placed: Placed) -> None:
        """What must become true with the chunk, beside what every store keeps."""
        if len(chunk.rows):
            self._file.put("INSERT OR REPLACE INTO places", list(placed.changed()))
            self._keep_latest(chunk)
        for alarm in chunk.alarms:
            names = ("id", "device", "metric", "detector", "opened_ns")
            self._file.connection.execute(_PLACE_ALARM, {name: getattr(alarm, name) for name in names})

    def _keep_latest(self, chunk: Chunk) -> None:
        rows = [
            (number, last.time_ns, *_value_and_text(last.value), last.quality, last.epoch, last.sequence)
            for number, last in newest(chunk.rows)
        ]
        self._file.put("INSERT INTO latest", rows, _IF_NEWER)

    def _say_refused(self, refusals: Sequence[Refusal]) -> None:
        self._refused += len(refusals)
        self._refused_why = refusals[-1].reason
        _log.error("%s", self._refused_problem())

    def _copy_alarms(self) -> None:
        """Write the alarms that InfluxDB has not got yet; those that it does not take now are written next time."""
        try:
            while self._alarms_wait:
                found = self._file.query(
                    "SELECT id, point_ns, body FROM alarm_points JOIN alarms USING (id) WHERE waits LIMIT $limit",
                    {"limit": ALARMS_AT_ONCE},
                )
                self._write_alarms([alarm_line(alarm_from_json(body), point_ns) for _, point_ns, body in found])
                with self._file.transaction():
                    self._file.put("UPDATE alarm_points SET waits = false WHERE id IN", [each[:1] for each in found])
                self._alarms_wait = len(found) == ALARMS_AT_ONCE
            self._alarm_problem = None
        except (TryLaterError, DiskError, duckdb.Error) as error:
            self._alarm_problem = f"alarms wait for InfluxDB: {error}"

    def _write_alarms(self, lines: Sequence[str]) -> None:
        try:
            self._server.write("".join(lines).encode())
        except Refused as error:
            if len(lines) > 1:
                for line in lines:
                    self._write_alarms([line])
            else:
                _log.error("InfluxDB refuses an alarm, which stands in /alarms alone: %s: %s", error, lines[0].strip())

    # -- queries -----------------------------------------------------------------------------------------------------

    def series(
        self, number: int, *, device: str, metric: str, start_ns: int, end_ns: int, bucket_ns: int
    ) -> dict[str, list[Any]]:
        return influx_queries.buckets(
            self._server, device, metric, start_ns=start_ns, end_ns=end_ns, bucket_ns=bucket_ns
        )

    def readings(self, device: str, *, start_ns: int, end_ns: int, limit: int) -> dict[str, list[Any]]:
        kinds = dict(self._file.query("SELECT metric, kind FROM series WHERE device = $device", {"device": device}))
        return influx_queries.readings(self._server, device, kinds, start_ns=start_ns, end_ns=end_ns, limit=limit)

    def alarms(self, *, device: str | None, state: str, limit: int) -> list[dict[str, Any]]:
        return self._file.alarms(device=device, state=state, limit=limit)

    def ledger(self) -> dict[str, Any]:
        ledger = self._file.ledger()
        self._count.apply(ledger)
        return ledger

    def problems(self) -> list[str]:
        found = [self._problem, self._alarm_problem, self._file.problem]
        if self._refused:
            found.append(self._refused_problem())
        if self._count.missing:
            found.append(
                f"{self._server} lacks {self._count.missing} readings that it acknowledged; the log can fill it again: "
                f"stop the processors, delete {self._file.path}, start them"
            )
        return [each for each in found if each]

    def close(self) -> None:
        self._count.close()
        self._writers.shutdown()
        self._server.close()
        self._file.close()

    def _refused_problem(self) -> str:
        return (
            f"InfluxDB refused {self._refused} readings since the start; they are in quarantine "
            f"(penstock quarantine list): {self._refused_why}"
        )


def _value_and_text(value: float | str | None) -> tuple[float | None, str | None]:
    return (None, value) if isinstance(value, str) else (value, None)
