"""A DuckDB file with what every store keeps beside the readings: offsets, series, ranges, manifests, parked frames,
alarms, records to publish, and the state of the detectors. One writer; each query uses a cursor of its own, so that
DuckDB's snapshots keep readers and the writer apart.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from processors.alarms import alarm_from_json
from processors.chunk import Chunk, FrameIn, Outgoing, Parked
from processors.manifests import SeriesInfo
from processors.settings import StoreSettings
from processors.stores.store import State
from streams.errors import DiskError
from streams.names import TELEMETRY
from streams.sequences import SequenceSet

_SCHEMA = """
CREATE TABLE IF NOT EXISTS series(
    id INTEGER PRIMARY KEY, device VARCHAR, metric VARCHAR, kind VARCHAR, unit VARCHAR,
    resolution DOUBLE, minimum DOUBLE, maximum DOUBLE, interval_s DOUBLE);
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


class StateFile:
    """See the head of this file. `write` stands inside `transaction`, with whatever the store adds to it."""

    def __init__(self, path: Path, settings: StoreSettings, schema: str = "") -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        config: dict[str, Any] = {
            "threads": settings.threads,
            "memory_limit": f"{settings.memory_bytes_max // (1 << 20)}MB",
        }
        try:
            self.connection = duckdb.connect(str(path), config=config)
            self.connection.execute(_SCHEMA + schema)
        except duckdb.Error as error:
            raise DiskError(f"cannot open the store {path}: {error}") from error
        self._lock = threading.Lock()
        self.problem: str | None = None

    # -- writing -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside, or nothing. DiskError: nothing."""
        run = self.connection.execute
        try:
            run("BEGIN")
            try:
                yield
                run("COMMIT")
            except BaseException:
                with contextlib.suppress(duckdb.Error):  # a commit that failed has rolled back by itself
                    run("ROLLBACK")
                raise
        except duckdb.Error as error:
            self.problem = f"the store {self.path} takes nothing: {error}; free some space"
            raise DiskError(self.problem) from error
        self.problem = None

    def write(self, chunk: Chunk) -> None:
        """Everything of a chunk but its rows."""
        put = self.put
        put("INSERT OR REPLACE INTO series", [(number, *_fields(info)) for number, info in chunk.series])
        put(
            "INSERT OR REPLACE INTO ranges",
            [
                (device, epoch, json.dumps(seen.stored.spans()), json.dumps(seen.quarantined.spans()))
                for device, epoch, seen in chunk.ranges
            ],
        )
        put("INSERT OR REPLACE INTO offsets", [(*key, at) for key, at in chunk.offsets.items()])
        put("INSERT INTO manifests", chunk.manifests)
        put('DELETE FROM parked WHERE (partition, "offset") IN', chunk.unparked)
        put("INSERT INTO parked", [_parked(each) for each in chunk.parked])
        put(
            "INSERT OR REPLACE INTO alarms",
            [(a.id, a.device, a.closed_ns is None, a.opened_ns, json.dumps(a.to_json())) for a in chunk.alarms],
        )
        put("DELETE FROM outgoing WHERE id IN", [(each,) for each in chunk.published])
        put("INSERT INTO outgoing", [_outgoing(each) for each in chunk.outgoing])
        put("INSERT OR REPLACE INTO detectors", list(chunk.detectors.items()))
        self.count("undecodable", chunk.undecodable)

    def count(self, name: str, more: int) -> None:
        """Add to a counter."""
        if more:
            self.connection.execute(
                "INSERT INTO counters VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
                [name, more],
            )

    def put(self, statement: str, rows: Sequence[tuple[Any, ...]], rest: str = "") -> None:
        """Run `statement`, its rows, `rest`, once for all of the rows: one by one each takes a millisecond or more."""
        if rows:
            columns = {f"c{at}": pa.array(column) for at, column in enumerate(zip(*rows))}
            self.insert(f"{statement} (SELECT {', '.join(columns)} FROM given) {rest}", columns)

    def insert(self, statement: str, columns: Mapping[str, Any]) -> None:
        """Run a statement that reads the columns as a table called `given`."""
        self.connection.register("given", pa.table(dict(columns)))
        try:
            self.connection.execute(statement)
        finally:
            self.connection.unregister("given")

    # -- reading -----------------------------------------------------------------------------------------------------

    def load(self) -> State:
        """All but `readings` and `latest`."""
        run = self.connection.execute
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
        state.undecodable = self.counter("undecodable")
        return state

    def counter(self, name: str) -> int:
        found = self.query("SELECT value FROM counters WHERE name = $name", {"name": name})
        return int(found[0][0]) if found else 0

    def alarms(self, *, device: str | None, state: str, limit: int) -> list[dict[str, Any]]:
        found = self.query(
            """SELECT body FROM alarms WHERE ($device IS NULL OR device = $device)
            AND ($state = 'all' OR is_open = ($state = 'open')) ORDER BY opened_ns DESC LIMIT $limit""",
            {"device": device, "state": state, "limit": limit},
        )
        return [json.loads(body) for (body,) in found]

    def ledger(self, counts: str | None = None) -> dict[str, Any]:
        """The answer of GET /ledger, all of one moment. `counts` is a query for device, epoch, rows, duplicate rows;
        without one, as many rows as are stored.
        """
        with self.cursor() as cursor:
            run = cursor.execute
            run("BEGIN")
            offsets = run("SELECT * FROM offsets WHERE stream = ?", [TELEMETRY]).fetchall()
            ranges = run("SELECT * FROM ranges ORDER BY device, epoch").fetchall()
            parked = run("SELECT device, epoch, first, stop FROM parked").fetchall()
            counted = run(counts).fetchall() if counts else []
            undecodable = run("SELECT value FROM counters WHERE name = 'undecodable'").fetchone()
            run("COMMIT")
        waiting: dict[tuple[str, int], SequenceSet] = {}
        for device, epoch, first, stop in parked:
            waiting.setdefault((device, epoch), SequenceSet()).add(first, stop)
        books = {(d, e): (json.loads(stored), json.loads(quarantined)) for d, e, stored, quarantined in ranges}
        figures = {(device, epoch): (rows, twice) for device, epoch, rows, twice in counted}
        accounts = []
        for key in sorted(books.keys() | waiting.keys() | figures.keys()):
            stored, quarantined = books.get(key, ([], []))
            rows, twice = figures.get(key, (0, 0)) if counts else (sum(stop - start for start, stop in stored), 0)
            accounts.append(
                {
                    "device": key[0], "epoch": key[1], "stored": stored, "quarantined": quarantined,
                    "parked": [list(span) for span in waiting.get(key, SequenceSet())],
                    "rows": rows, "duplicate_rows": twice,
                }
            )  # fmt: skip
        partitions = [{"partition": partition, "offset": at} for _, partition, at in offsets]
        return {"partitions": partitions, "accounts": accounts, "undecodable": undecodable[0] if undecodable else 0}

    def query(self, statement: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self.cursor() as cursor:
            rows: list[tuple[Any, ...]] = cursor.execute(statement, parameters or {}).fetchall()
            return rows

    def cursor(self) -> Any:
        with self._lock:
            return self.connection.cursor()

    def close(self) -> None:
        self.connection.close()


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
