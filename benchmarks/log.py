"""The event log: appending, time to durable, reading with checksums, recovery; beside SQLite and what the disk can do.

Records of 4 KiB that cannot be compressed, one an append, from one thread, with the settings that a hub has. All in a
temporary directory (TMPDIR chooses the disk). The best of a few runs counts: the machine's other work only ever adds.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.line import Line
from streams.clock import SystemClock
from streams.errors import TryLaterError
from streams.files import DiskFiles
from streams.log import Appended, EventLog, LogSettings, StreamReader
from streams.log.batch import encode_batch
from streams.log.checksum import crc32c
from streams.log.durable import NAME as DURABLE
from streams.log.partition import Partition
from streams.record import NewRecord

RUNS = 3
APPEND_S = 2.0
PACED_S = 3.0
PACED_PER_S = 10_000
ROWS_A_TRANSACTION = 100
RECORD_BYTES = 4096
READ_BYTES = 512 << 20
RECOVER_BYTES = 10**9
PIECE_BYTES = 1 << 20

STREAM = "telemetry"
PAYLOAD = os.urandom(RECORD_BYTES)


def run() -> Iterator[Line]:
    """The figures of the log."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        root = Path(name)
        yield _append(root)
        yield _durable(root)
        yield from _read(root)
        yield _recover(root)


def opened(
    directory: Path, on_commit: Callable[[Sequence[Appended]], None] | None = None, *, commit_interval_ms: float = 0.0
) -> EventLog:
    settings = LogSettings(commit_interval_ms=commit_interval_ms)
    return EventLog.open(
        directory, {STREAM: settings}, files=DiskFiles(), clock=SystemClock(), on_commit=on_commit, owner="benchmark"
    )


def record() -> NewRecord:
    return NewRecord(None, PAYLOAD, time.time_ns() // 1_000_000)


def removed(directory: Path) -> None:
    """Take a log or a database away, so that the next run begins like this one."""
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


# -- appending ---------------------------------------------------------------------------------------------------------


def _append(root: Path) -> Line:
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(_append_ours(root / "append"))
        theirs.append(_append_sqlite(root / "sqlite"))
    rate, syncs_per_s = max(ours)
    return Line(
        name="log/append/4KiB/5ms", value=rate, unit="MB/s",
        peer=f"SQLite WAL FULL, {ROWS_A_TRANSACTION} rows a transaction", peer_value=max(theirs),
        note=f"{rate * 1e6 / RECORD_BYTES:,.0f} appends/s, {syncs_per_s:.0f} syncs/s",
    )  # fmt: skip


def _append_ours(directory: Path) -> tuple[float, float]:
    """MB/s and syncs/s, from the first append until the last is on disk."""
    durable = rounds = 0

    def tell(fates: Sequence[Appended]) -> None:
        nonlocal durable, rounds
        durable += len(fates)
        rounds += 1

    log = opened(directory, tell, commit_interval_ms=5.0)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < APPEND_S:
        for _ in range(32):
            try:
                log.append(STREAM, [record()])
                count += 1
            except TryLaterError:
                time.sleep(0.001)
    log.flush()
    elapsed_s = time.perf_counter() - started
    end = log.end_offset(STREAM)
    log.close()
    if durable != count or end != count:
        raise BenchmarkError(f"{count} records were appended, {durable} told as durable, and the log ends at {end}")
    removed(directory)
    return count * RECORD_BYTES / elapsed_s / 1e6, rounds / elapsed_s


def _append_sqlite(directory: Path) -> float:
    """MB/s of a table with a growing key."""
    directory.mkdir(exist_ok=True)
    database = sqlite3.connect(directory / "log.db", isolation_level=None)
    for statement in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "CREATE TABLE log (id INTEGER PRIMARY KEY, value BLOB)",
    ):
        database.execute(statement)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < APPEND_S:
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO log VALUES (?, ?)", [(count + more, PAYLOAD) for more in range(ROWS_A_TRANSACTION)]
        )
        database.execute("COMMIT")
        count += ROWS_A_TRANSACTION
    elapsed_s = time.perf_counter() - started
    database.close()
    removed(directory)
    return count * RECORD_BYTES / elapsed_s / 1e6


# -- time to durable ---------------------------------------------------------------------------------------------------


def _durable(root: Path) -> Line:
    ours, bare = [], []
    for _ in range(RUNS):
        ours.append(_durable_ours(root / "durable"))
        bare.append(_sync_bare(root / "bare"))
    p50_ms, p99_ms, per_round = min(ours)
    return Line(
        name="log/durable/10k/p50", value=p50_ms, unit="ms",
        peer="a bare write + fdatasync of 40 KiB", peer_value=min(bare),
        note=f"p99 {p99_ms:.2f} ms, {per_round:.0f} frames of 4 KiB a sync, {PACED_PER_S:,} frames/s",
    )  # fmt: skip


def _durable_ours(directory: Path) -> tuple[float, float, float]:
    """Milliseconds from append to told as durable, p50 and p99, at a steady rate; and frames a sync."""
    latencies_s: list[float] = []
    rounds = 0

    def tell(fates: Sequence[Appended]) -> None:
        nonlocal rounds
        now = time.perf_counter()
        latencies_s.extend([now - fate.token for fate in fates])  # type: ignore[operator]
        rounds += 1

    log = opened(directory, tell)
    started, count, wanted = time.perf_counter(), 0, round(PACED_S * PACED_PER_S)
    while count < wanted:
        due = min(wanted, int((time.perf_counter() - started) * PACED_PER_S))
        while count < due:
            log.append(STREAM, [record()], token=time.perf_counter())
            count += 1
        time.sleep(0.0005)
    log.flush()
    log.close()
    removed(directory)
    if len(latencies_s) != wanted:
        raise BenchmarkError(f"{wanted} frames were appended and {len(latencies_s)} told as durable")
    percentiles = statistics.quantiles(latencies_s, n=100)
    return percentiles[49] * 1e3, percentiles[98] * 1e3, wanted / rounds


def _sync_bare(directory: Path) -> float:
    """Milliseconds of one write with one fdatasync, p50: no frame can be durable sooner."""
    directory.mkdir(exist_ok=True)
    file = os.open(directory / "file", os.O_CREAT | os.O_WRONLY)
    times_s = []
    for _ in range(500):
        started = time.perf_counter()
        os.write(file, PAYLOAD * 10)
        os.fdatasync(file)
        times_s.append(time.perf_counter() - started)
    os.close(file)
    removed(directory)
    return statistics.median(times_s) * 1e3


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(root: Path) -> Iterator[Line]:
    shared, single = root / "shared", root / "single"
    fill(shared, READ_BYTES)
    _fill_single(single, READ_BYTES // 4)
    rates, plain, singles, records = [], [], [], []
    for _ in range(RUNS):
        rates.append(_rate(shared, _read_batches))
        plain.append(_rate(shared, _read_plain))
        singles.append(_rate(single, _read_batches))
        records.append(_rate(shared, _read_records))
    yield Line(
        name="log/read/crc", value=max(rates), unit="MB/s",
        peer="plain read() of the same files", peer_value=max(plain),
        note=f"from cache; {max(singles):,.0f} when every record is a batch of its own",
    )  # fmt: skip
    yield Line(
        name="log/read/records", value=max(records), unit="MB/s", peer="plain read() of the same files",
        peer_value=max(plain), note=f"the same as Python objects: {max(records) * 1e6 / RECORD_BYTES:,.0f} records/s",
    )  # fmt: skip
    removed(shared)
    removed(single)


def fill(directory: Path, size: int) -> int:
    """A log of `size` bytes as a busy hub writes it; returns how many records are in it."""
    log = opened(directory, lambda fates: None)
    for count in range(1, 1 << 40):
        while True:
            try:
                log.append(STREAM, [record()])
                break
            except TryLaterError:
                log.flush()
        if count % 1000 == 0 and log.size_bytes(STREAM) + log.pending_bytes >= size:
            log.close()
            return count
    raise BenchmarkError("the log was never full")


def _fill_single(directory: Path, size: int) -> None:
    """A log in which each record was synced alone, as by a quiet hub; without the syncs, which would take long."""
    partition = Partition(directory / STREAM / "0", LogSettings(), files=DiskFiles())
    for _ in range(size // RECORD_BYTES // 100):
        partition.write([encode_batch([record()]) for _ in range(100)])
    partition.sync()
    partition.close()


def _rate(directory: Path, work: Callable[[Path], int]) -> float:
    """MB/s of reading all segments."""
    size = sum(path.stat().st_size for path in segments(directory))
    started = time.perf_counter()
    seen = work(directory)
    elapsed_s = time.perf_counter() - started
    if seen != size:
        raise BenchmarkError(f"{seen} of {size} bytes were read")
    return size / elapsed_s / 1e6


def segments(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.log"))


def _read_batches(directory: Path) -> int:
    reader = StreamReader(directory, STREAM, files=DiskFiles())
    offset = size = 0
    while offset < reader.end:
        for found in reader.read_batches(offset, bytes_max=1 << 40):
            size += found.header.size
            offset = found.header.next_offset
    reader.close()
    return size


def _read_records(directory: Path) -> int:
    """Counts by the sizes of the files: the records themselves are thrown away."""
    reader = StreamReader(directory, STREAM, files=DiskFiles())
    offset = 0
    while records := reader.read(offset):
        offset = records[-1].offset + 1
    size = reader.size_bytes if offset == reader.end else 0
    reader.close()
    return size


def _read_plain(directory: Path) -> int:
    return sum(len(piece) for path in segments(directory) for piece in pieces(path))


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


# -- recovery ----------------------------------------------------------------------------------------------------------


def _recover(root: Path) -> Line:
    """The worst case: nothing tells how far the log was durable, so that every byte of it is checked."""
    directory = root / "recover"
    count = fill(directory, RECOVER_BYTES)
    ours_s, theirs_s = [], []
    for _ in range(RUNS):
        (directory / STREAM / "0" / DURABLE).unlink()
        started = time.perf_counter()
        log = opened(directory)
        ours_s.append(time.perf_counter() - started)
        found, recovered = log.end_offset(STREAM), log.recovered[STREAM, 0]
        log.close()
        written_bytes = sum(path.stat().st_size for path in segments(directory))
        if found != count or recovered.checked_bytes != written_bytes or recovered.damaged or recovered.cut_bytes:
            raise BenchmarkError(f"{count} records were written; recovery found {found}: {recovered}")
        started = time.perf_counter()
        for path in segments(directory):
            for piece in pieces(path):
                crc32c(piece)
        theirs_s.append(time.perf_counter() - started)
    removed(directory)
    return Line(
        name="log/recover/1GB", value=min(ours_s), unit="s",
        peer="reading the same bytes with CRC-32C once", peer_value=min(theirs_s),
        note="from cache, no durable point: everything is checked",
    )  # fmt: skip
