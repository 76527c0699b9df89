"""The embedded store: DuckDB, one writer inside this process; rows and offset in the same transaction.

Each query uses a cursor of its own: DuckDB's snapshots keep readers and the writer apart.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from processors.alarms import alarm_from_json
from processors.chunk import Chunk, FrameIn, Outgoing, Parked
from processors.latest import Last
from processors.manifests import SeriesInfo
from processors.rows import Rows
from processors.settings import StoreSettings
from processors.stores.store import State
from streams.errors import DiskError
from streams.frames import KIND_CODES, Kind
from streams.names import TELEMETRY
from streams.sequences import SequenceSet

LATEST_HORIZON_NS = 6 * 3600 * 1_000_000_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS series(
    id INTEGER PRIMARY KEY, device VARCHAR, metric VARCHAR, kind VARCHAR, unit VARCHAR,
    resolution DOUBLE, minimum DOUBLE, maximum DOUBLE, interval_s DOUBLE);
CREATE TABLE IF NOT EXISTS readings(
    series INTEGER, time_ns BIGINT, value DOUBLE, integer BIGINT, text VARCHAR, quality UTINYINT,
    epoch BIGINT, sequence BIGINT);
CREATE TABLE IF NOT EXISTS offsets(stream VARCHAR, partition INTEGER, next BIGINT, PRIMARY KEY (stream, partition));
CREATE TABLE IF NOT EXISTS ranges(
    device VARCHAR, epoch BIGINT, stored VARCHAR, quarantined VARCHAR, PRIMARY KEY (device, epoch));
CREATE TABLE IF NOT EXISTS manifests(device VARCHAR, payload BLOB);
CREATE TABLE IF NOT EXISTS parked(
    device VARCHAR, partition INTEGER, "offset" BIGINT, time_ms BIGINT, data BLOB,
    manifest BIGINT, epoch BIGINT, first BIGINT, stop BIGINT);
CREATE TABLE IF NOT EXISTS alarms(
    id VARCHAR PRIMARY KEY, device VARCHAR, is_open BOOLEAN, opened_ns BIGINT, body VARCHAR);
CREATE TABLE IF NOT EXISTS outgoing(
    id VARCHAR, stream VARCHAR, key VARCHAR, value BLOB, headers VARCHAR, time_ms BIGINT);
CREATE TABLE IF NOT EXISTS detectors(name VARCHAR PRIMARY KEY, state BLOB);
CREATE TABLE IF NOT EXISTS counters(name VARCHAR PRIMARY KEY, value BIGINT);
"""

_COUNTS = """
SELECT s.device, r.epoch, count(*), count(*) - count(DISTINCT r.sequence)
FROM readings r JOIN series s ON s.id = r.series GROUP BY s.device, r.epoch
"""


class DuckDBStore:
    """A Store (see stores/store.py) in one file."""

    name = "duckdb"

    def __init__(self, directory: Path, settings: StoreSettings) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / "readings.duckdb"
        config: dict[str, Any] = {
            "threads": settings.threads,
            "memory_limit": f"{settings.memory_bytes_max // (1 << 20)}MB",
        }
        try:
            self._connection = duckdb.connect(str(self.path), config=config)
            self._connection.execute(_SCHEMA)
        except duckdb.Error as error:
            raise DiskError(f"cannot open the store {self.path}: {error}") from error
        self._lock = threading.Lock()
        self._problem: str | None = None

    # -- the consumer ------------------------------------------------------------------------------------------------

    def load(self) -> State:
        run = self._connection.execute
        state = State()
        state.offsets = {(stream, part): at for stream, part, at in run("SELECT * FROM offsets").fetchall()}
        state.series = [(row[0], SeriesInfo(*row[1:])) for row in run("SELECT * FROM series ORDER BY id").fetchall()]
        state.ranges = [
            (device, epoch, SequenceSet(json.loads(stored)), SequenceSet(json.loads(quarantined)))
            for device, epoch, stored, quarantined in run("SELECT * FROM ranges").fetchall()
        ]
        state.manifests = [(device, bytes(payload)) for device, payload in run("SELECT * FROM manifests").fetchall()]
        state.parked = [
            Parked(FrameIn(device, part, at, time_ms, bytes(data)), manifest, epoch, first, stop)
            for device, part, at, time_ms, data, manifest, epoch, first, stop in run("SELECT * FROM parked").fetchall()
        ]
        state.open_alarms = [
            alarm_from_json(body) for (body,) in run("SELECT body FROM alarms WHERE is_open").fetchall()
        ]
        state.outgoing = [
            Outgoing(name, stream, key, bytes(value), _headers(headers), time_ms)
            for name, stream, key, value, headers, time_ms in run("SELECT * FROM outgoing").fetchall()
        ]
        state.detectors = {name: bytes(blob) for name, blob in run("SELECT * FROM detectors").fetchall()}
        state.readings = _one(run("SELECT count(*) FROM readings").fetchone())
        state.undecodable = _one(run("SELECT value FROM counters WHERE name = 'undecodable'").fetchone())
        state.latest = self._latest()
        return state

    def commit(self, chunk: Chunk) -> None:
        run = self._connection.execute
        try:
            run("BEGIN")
            try:
                self._write(chunk)
                run("COMMIT")
            except BaseException:
                run("ROLLBACK")
                raise
        except duckdb.Error as error:
            self._problem = f"the store {self.path} takes nothing: {error}; free some space"
            raise DiskError(self._problem) from error
        self._problem = None

    def _write(self, chunk: Chunk) -> None:
        run, many = self._connection.execute, self._many
        many("INSERT OR REPLACE INTO series VALUES (?,?,?,?,?,?,?,?,?)", [(n, *_fields(i)) for n, i in chunk.series])
        if len(chunk.rows):
            self._insert_rows(chunk.rows)
        many(
            "INSERT OR REPLACE INTO ranges VALUES (?,?,?,?)",
            [
                (d, e, json.dumps(seen.stored.spans()), json.dumps(seen.quarantined.spans()))
                for d, e, seen in chunk.ranges
            ],
        )
        many("INSERT OR REPLACE INTO offsets VALUES (?,?,?)", [(*key, at) for key, at in chunk.offsets.items()])
        many("INSERT INTO manifests VALUES (?,?)", chunk.manifests)
        many('DELETE FROM parked WHERE partition = ? AND "offset" = ?', chunk.unparked)
        many("INSERT INTO parked VALUES (?,?,?,?,?,?,?,?,?)", [_parked(each) for each in chunk.parked])
        many(
            "INSERT OR REPLACE INTO alarms VALUES (?,?,?,?,?)",
            [(a.id, a.device, a.closed_ns is None, a.opened_ns, json.dumps(a.to_json())) for a in chunk.alarms],
        )
        many("DELETE FROM outgoing WHERE id = ?", [(each,) for each in chunk.published])
        many("INSERT INTO outgoing VALUES (?,?,?,?,?,?)", [_outgoing(each) for each in chunk.outgoing])
        many("INSERT OR REPLACE INTO detectors VALUES (?,?)", list(chunk.detectors.items()))
        if chunk.undecodable:
            run(
                "INSERT INTO counters VALUES ('undecodable', ?) "
                "ON CONFLICT DO UPDATE SET value = value + excluded.value",
                [chunk.undecodable],
            )

    def _insert_rows(self, rows: Rows) -> None:
        columns = {
            "series": rows.series, "kind": rows.kind, "time_ns": rows.time_ns, "value": rows.value,
            "integer": rows.integer, "quality": rows.quality, "epoch": rows.epoch, "sequence": rows.sequence,
            "text": rows.text,
        }  # fmt: skip
        text = "NULL"
        if rows.texts:
            self._connection.execute("CREATE OR REPLACE TEMP TABLE words(id INTEGER, word VARCHAR)")
            self._many("INSERT INTO words VALUES (?,?)", list(enumerate(rows.texts)))
            text = "(SELECT word FROM words WHERE words.id = c.text)"
        self._connection.register("chunk_rows", columns)
        try:
            self._connection.execute(
                f"""INSERT INTO readings SELECT series, time_ns,
                CASE WHEN kind = {KIND_CODES[Kind.TEXT]} THEN NULL ELSE value END,
                CASE WHEN kind = {KIND_CODES[Kind.INT64]} THEN integer END,
                {text}, quality, epoch, sequence FROM chunk_rows c"""
            )
        finally:
            self._connection.unregister("chunk_rows")

    def _many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        values = list(rows)
        if values:
            self._connection.executemany(statement, values)

    def _latest(self) -> list[tuple[int, Last]]:
        found = self._connection.execute(
            """SELECT series, max(time_ns), arg_max(value, time_ns), arg_max(text, time_ns), arg_max(quality, time_ns)
            FROM readings WHERE time_ns > (SELECT max(time_ns) FROM readings) - ? GROUP BY series""",
            [LATEST_HORIZON_NS],
        ).fetchall()
        return [
            (n, Last(time_ns, value if text is None else text, quality)) for n, time_ns, value, text, quality in found
        ]

    # -- queries -----------------------------------------------------------------------------------------------------

    def series(
        self, number: int, *, device: str, metric: str, start_ns: int, end_ns: int, bucket_ns: int
    ) -> dict[str, list[Any]]:
        found = self._query(
            """SELECT time_ns // $bucket * $bucket AS bucket, avg(value), min(value), max(value), count(*)
            FROM readings WHERE series = $series AND time_ns >= $start AND time_ns < $end AND value IS NOT NULL
            AND isfinite(value) GROUP BY bucket ORDER BY bucket""",
            {"series": number, "start": start_ns, "end": end_ns, "bucket": bucket_ns},
        )
        names = ("time_ns", "mean", "min", "max", "count")
        return {name: [row[at] for row in found] for at, name in enumerate(names)}

    def readings(self, device: str, *, start_ns: int, end_ns: int, limit: int) -> dict[str, list[Any]]:
        found = self._query(
            """SELECT s.metric, r.time_ns, coalesce(r.integer, CASE WHEN isfinite(r.value) THEN r.value END), r.text,
            r.quality, r.epoch, r.sequence FROM readings r JOIN series s ON s.id = r.series
            WHERE s.device = $device AND r.time_ns >= $start AND r.time_ns < $end
            ORDER BY r.epoch, r.sequence LIMIT $limit""",
            {"device": device, "start": start_ns, "end": end_ns, "limit": limit},
        )
        names = ("metric", "time_ns", "value", "text", "quality", "epoch", "sequence")
        return {name: [row[at] for row in found] for at, name in enumerate(names)}

    def alarms(self, *, device: str | None, state: str, limit: int) -> list[dict[str, Any]]:
        found = self._query(
            """SELECT body FROM alarms WHERE ($device IS NULL OR device = $device)
            AND ($state = 'all' OR is_open = ($state = 'open')) ORDER BY opened_ns DESC LIMIT $limit""",
            {"device": device, "state": state, "limit": limit},
        )
        return [json.loads(body) for (body,) in found]

    def ledger(self) -> dict[str, Any]:
        with self._cursor() as cursor:
            run = cursor.execute
            run("BEGIN")  # all of it from one snapshot
            offsets = run("SELECT * FROM offsets WHERE stream = ?", [TELEMETRY]).fetchall()
            ranges = run("SELECT * FROM ranges ORDER BY device, epoch").fetchall()
            parked = run("SELECT device, epoch, first, stop FROM parked").fetchall()
            counts = {(device, epoch): (rows, twice) for device, epoch, rows, twice in run(_COUNTS).fetchall()}
            undecodable = _one(run("SELECT value FROM counters WHERE name = 'undecodable'").fetchone())
            run("COMMIT")
        waiting: dict[tuple[str, int], SequenceSet] = {}
        for device, epoch, first, stop in parked:
            waiting.setdefault((device, epoch), SequenceSet()).add(first, stop)
        books = {(d, e): (json.loads(stored), json.loads(quarantined)) for d, e, stored, quarantined in ranges}
        accounts = []
        for key in sorted(books.keys() | waiting.keys() | counts.keys()):
            stored, quarantined = books.get(key, ([], []))
            rows, twice = counts.get(key, (0, 0))
            accounts.append(
                {
                    "device": key[0], "epoch": key[1], "stored": stored, "quarantined": quarantined,
                    "parked": [list(span) for span in waiting.get(key, SequenceSet())],
                    "rows": rows, "duplicate_rows": twice,
                }
            )  # fmt: skip
        partitions = [{"partition": partition, "offset": at} for _, partition, at in offsets]
        return {"partitions": partitions, "accounts": accounts, "undecodable": undecodable}

    def problems(self) -> list[str]:
        return [self._problem] if self._problem else []

    def close(self) -> None:
        self._connection.close()

    def _query(self, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            rows: list[tuple[Any, ...]] = cursor.execute(statement, parameters).fetchall()
            return rows

    def _cursor(self) -> Any:
        with self._lock:
            return self._connection.cursor()


def _fields(info: SeriesInfo) -> tuple[Any, ...]:
    return (
        info.device, info.metric, info.kind, info.unit, info.resolution, info.minimum, info.maximum, info.interval_s,
    )  # fmt: skip


def _parked(each: Parked) -> tuple[Any, ...]:
    frame = each.frame
    return (
        frame.device, frame.partition, frame.offset, frame.time_ms, frame.data,
        each.manifest, each.epoch, each.first, each.stop,
    )  # fmt: skip


def _outgoing(each: Outgoing) -> tuple[Any, ...]:
    headers = json.dumps([(name, value.decode("utf-8", "replace")) for name, value in each.headers])
    return each.id, each.stream, each.key, each.value, headers, each.time_ms


def _headers(text: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value.encode()) for name, value in json.loads(text))


def _one(row: tuple[Any, ...] | None) -> int:
    return int(row[0]) if row and row[0] is not None else 0
