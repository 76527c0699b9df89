"""The embedded store: DuckDB, one writer inside this process; rows and offset in the same transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from processors.chunk import Chunk
from processors.latest import Last, plain
from processors.rows import Rows
from processors.settings import StoreSettings
from processors.stores.state_file import StateFile
from processors.stores.store import State
from streams.frames import KIND_CODES, Kind, Quality

LATEST_HORIZON_NS = 6 * 3600 * 1_000_000_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS readings(
    series INTEGER, time_ns BIGINT, value DOUBLE, integer BIGINT, text VARCHAR, quality UTINYINT,
    epoch BIGINT, sequence BIGINT);
"""

_COUNTS = """
SELECT s.device, r.epoch, count(*), count(*) - count(DISTINCT r.sequence)
FROM readings r JOIN series s ON s.id = r.series GROUP BY s.device, r.epoch
"""


class DuckDBStore:
    """A Store (see stores/store.py) in one file."""

    name = "duckdb"

    def __init__(self, directory: Path, settings: StoreSettings) -> None:
        self._file = StateFile(directory / "readings.duckdb", settings, _SCHEMA)
        self.path = self._file.path

    # -- the consumer ------------------------------------------------------------------------------------------------

    def load(self) -> State:
        state = self._file.load()
        state.readings = int(self._file.query("SELECT count(*) FROM readings")[0][0])
        state.latest = self._latest()
        return state

    def commit(self, chunk: Chunk) -> None:
        with self._file.transaction():
            if len(chunk.rows):
                self._insert_rows(chunk.rows)
            self._file.write(chunk)

    def _insert_rows(self, rows: Rows) -> None:
        names = ("series", "kind", "time_ns", "value", "integer", "quality", "epoch", "sequence")
        columns = {name: getattr(rows, name) for name in names}
        words = pa.array(rows.texts, pa.string())  # as a dictionary: one text may stand in many rows
        columns["text"] = pa.DictionaryArray.from_arrays(pa.array(rows.text, mask=rows.text < 0), words)
        self._file.insert(
            f"""INSERT INTO readings SELECT series, time_ns,
            CASE WHEN kind = {KIND_CODES[Kind.TEXT]} THEN NULL ELSE value END,
            CASE WHEN kind = {KIND_CODES[Kind.INT64]} THEN integer END,
            text, quality, epoch, sequence FROM given""",
            columns,
        )

    def _latest(self) -> list[tuple[int, Last]]:
        found = self._file.query(
            """SELECT series, max(time_ns), arg_max(value, time_ns), arg_max(text, time_ns), arg_max(quality, time_ns)
            FROM readings WHERE time_ns > (SELECT max(time_ns) FROM readings) - $horizon GROUP BY series""",
            {"horizon": LATEST_HORIZON_NS},
        )
        return [
            (n, Last(time_ns, plain(value) if text is None else text, quality))
            for n, time_ns, value, text, quality in found
        ]

    # -- queries -----------------------------------------------------------------------------------------------------

    def series(
        self, number: int, *, device: str, metric: str, start_ns: int, end_ns: int, bucket_ns: int
    ) -> dict[str, list[Any]]:
        found = self._file.query(
            """SELECT time_ns // $bucket * $bucket AS bucket, avg(value), min(value), max(value), count(*)
            FROM readings WHERE series = $series AND time_ns >= $start AND time_ns < $end AND value IS NOT NULL
            AND isfinite(value) GROUP BY bucket ORDER BY bucket""",
            {"series": number, "start": start_ns, "end": end_ns, "bucket": bucket_ns},
        )
        bad = self._file.query(
            """SELECT DISTINCT time_ns // $bucket * $bucket AS bucket FROM readings
            WHERE series = $series AND time_ns >= $start AND time_ns < $end AND quality = $bad ORDER BY bucket""",
            {"series": number, "start": start_ns, "end": end_ns, "bucket": bucket_ns, "bad": Quality.BAD.value},
        )
        names = ("time_ns", "mean", "min", "max", "count")
        return {
            **{name: [row[at] for row in found] for at, name in enumerate(names)},
            "bad_ns": [row[0] for row in bad],
        }

    def readings(self, device: str, *, start_ns: int, end_ns: int, limit: int) -> dict[str, list[Any]]:
        found = self._file.query(
            """SELECT s.metric, r.time_ns, r.value, r.text, r.quality, r.epoch, r.sequence, r.integer
            FROM readings r JOIN series s ON s.id = r.series
            WHERE s.device = $device AND r.time_ns >= $start AND r.time_ns < $end
            ORDER BY r.epoch, r.sequence LIMIT $limit""",
            {"device": device, "start": start_ns, "end": end_ns, "limit": limit},
        )
        names = ("metric", "time_ns", "value", "text", "quality", "epoch", "sequence")
        columns = {name: [row[at] for row in found] for at, name in enumerate(names)}
        columns["value"] = [plain(row[2]) if row[-1] is None else row[-1] for row in found]  # a double is not exact
        return columns

    def alarms(self, *, device: str | None, state: str, limit: int) -> list[dict[str, Any]]:
        return self._file.alarms(device=device, state=state, limit=limit)

    def ledger(self) -> dict[str, Any]:
        return self._file.ledger(_COUNTS)

    def problems(self) -> list[str]:
        return [self._file.problem] if self._file.problem else []

    def close(self) -> None:
        self._file.close()
