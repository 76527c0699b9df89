"""The event log of one writing process: group commit over the partitions of its streams.

Appends wait in memory. The committer takes all that came since the last round, writes it, syncs each partition once,
publishes the durable points, and only then says so. What fails is told as failed, and must not be acknowledged.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from streams.clock import Clock
from streams.errors import MisuseError, PenstockError, TryLaterError
from streams.files import DirectoryLock, DiskFiles, Files
from streams.log.batch import encode_batch
from streams.log.partition import Partition, Recovered
from streams.log.partitioner import partition_of
from streams.log.reader import StreamReader
from streams.log.settings import LogSettings
from streams.record import NewRecord

_log = logging.getLogger("penstock.log")


@dataclass(frozen=True, slots=True)
class Appended:
    """The fate of one append, or of the part of it that fell into this partition."""

    token: object
    stream: str
    partition: int
    offset: int
    """Offset of its first record; -1 when it failed."""
    count: int
    error: Exception | None


OnCommit = Callable[[Sequence[Appended]], None]


@dataclass(slots=True)
class _Pending:
    stream: str
    partition: int
    body: bytes
    count: int
    timestamp_ms: int
    token: object


class _Waiter:
    """The token of `append_durable`."""

    def __init__(self, parts: int) -> None:
        self.left = parts
        self.first: int | None = None
        self.error: Exception | None = None
        self.done = threading.Event()

    def take(self, each: Appended) -> None:
        self.error = self.error or each.error
        if self.first is None:
            self.first = each.offset
        self.left -= 1
        if self.left == 0:
            self.done.set()


class EventLog:
    """See `open`. `append` may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        streams: Mapping[str, LogSettings],
        *,
        files: Files,
        clock: Clock,
        on_commit: OnCommit | None,
        owner: str,
        threaded: bool,
    ) -> None:
        self.directory = directory
        self._settings = dict(streams)
        self._files = files
        self._clock = clock
        self._on_commit = on_commit
        self._condition = threading.Condition()
        self._commit_lock = threading.Lock()
        self._pending: list[_Pending] = []
        self._pending_since_ns = 0
        self._closing = False
        self._problems: dict[tuple[str, int], str] = {}
        self._pool: ThreadPoolExecutor | None = None
        self.pending_bytes = 0
        self._locks = [
            DirectoryLock(directory / name, owner=owner) for name in streams if isinstance(files, DiskFiles)
        ]  # a simulated disk belongs to one simulated process
        try:
            self._partitions = {
                (name, number): Partition(directory / name / str(number), settings, files=files)
                for name, settings in streams.items()
                for number in range(settings.partitions)
            }
        except BaseException:
            for lock in self._locks:  # whoever tries again must not find the log in use by itself
                lock.release()
            raise
        self._thread: threading.Thread | None = None
        if threaded:
            self._thread = threading.Thread(target=self._run, name="log committer", daemon=True)
            self._thread.start()

    @classmethod
    def open(
        cls,
        directory: Path,
        streams: Mapping[str, LogSettings],
        *,
        files: Files,
        clock: Clock,
        on_commit: OnCommit | None = None,
        owner: str = "penstock",
        threaded: bool | None = None,
    ) -> EventLog:
        """Open streams below `directory` for writing, and recover them. MisuseError when another process writes them.

        `on_commit` is called after each round, from the committer's thread. Without it, or with `threaded` false,
        there is no thread: rounds are made by `append_durable`, `flush` and `commit`, in the thread that calls them.
        """
        with_thread = on_commit is not None if threaded is None else threaded
        return cls(directory, streams, files=files, clock=clock, on_commit=on_commit, owner=owner, threaded=with_thread)

    # -- appending ---------------------------------------------------------------------------------------------------

    def append(self, stream: str, records: Sequence[NewRecord], token: object = None) -> None:
        """Hand over records, without waiting; `on_commit` tells their fate, once for each partition they fall into.

        TryLaterError when too much waits for the disk already.
        """
        self._add(self._encoded(stream, records), token)

    def append_durable(self, stream: str, records: Sequence[NewRecord], *, timeout_s: float = 30.0) -> int:
        """Append and wait until it is on disk; returns the first offset. DiskError when that failed."""
        parts = self._encoded(stream, records)
        waiter = _Waiter(len(parts))
        self._add(parts, waiter)
        if self._thread is None:
            self.commit()
        if not waiter.done.wait(timeout_s):
            raise TryLaterError(f"the disk of {self.directory} did not answer for {timeout_s:.0f} s", retry_after_s=1.0)
        if waiter.error is not None:
            raise waiter.error
        assert waiter.first is not None
        return waiter.first

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return when everything appended so far is committed, or has failed."""
        if self._thread is None:
            self.commit()
            return
        with self._condition:
            if not self._condition.wait_for(lambda: self.pending_bytes == 0, timeout_s):
                raise TryLaterError(f"{self.directory} was not committed within {timeout_s:.0f} s", retry_after_s=1.0)

    def commit(self) -> int:
        """Make one round; returns how many appends were in it."""
        with self._commit_lock:
            with self._condition:
                taken, self._pending = self._pending, []
            if not taken:
                return 0
            fates = self._round(taken)
            with self._condition:
                self.pending_bytes -= sum(len(each.body) for each in taken)
                self._condition.notify_all()
        for fate in fates:
            if isinstance(fate.token, _Waiter):
                fate.token.take(fate)
        others = [fate for fate in fates if not isinstance(fate.token, _Waiter)]
        if others and self._on_commit is not None:
            self._on_commit(others)
        return len(taken)

    # -- the rest ----------------------------------------------------------------------------------------------------

    def reader(self, stream: str, partition: int = 0) -> StreamReader:
        self._partition(stream, partition)
        return StreamReader(self.directory, stream, partition, files=self._files)

    def end_offset(self, stream: str, partition: int = 0) -> int:
        """First offset that is not on disk yet."""
        return self._partition(stream, partition).durable_end

    def size_bytes(self, stream: str) -> int:
        """Bytes of all segments of a stream."""
        return sum(each.size_bytes() for (name, _), each in self._partitions.items() if name == stream)

    def truncate_before(self, stream: str, partition: int, offset: int) -> int:
        """Remove whole segments below `offset`; returns how many."""
        with self._commit_lock:
            return self._partition(stream, partition).truncate_before(offset)

    def enforce_retention(self) -> int:
        """Remove segments that are too old or too much; returns how many."""
        now_ms = self._clock.time_ns() // 1_000_000
        with self._commit_lock:
            return sum(each.enforce_retention(now_ms) for each in self._partitions.values())

    @property
    def recovered(self) -> dict[tuple[str, int], Recovered]:
        """What opening found, by stream and partition."""
        return {key: each.recovered for key, each in self._partitions.items()}

    def health(self) -> list[str]:
        """Sentences on what is wrong now; empty when nothing is."""
        return sorted(set(self._problems.values()))

    def close(self) -> None:
        """Commit what is pending and let go of the files."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()
        try:
            self.commit()
        finally:
            for partition in self._partitions.values():
                try:
                    partition.close()
                except OSError as error:
                    _log.error("%s did not close cleanly: %s", partition.directory, error)
            if self._pool is not None:
                self._pool.shutdown()
            for lock in self._locks:
                lock.release()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _encoded(self, stream: str, records: Sequence[NewRecord]) -> list[_Pending]:
        settings = self._settings.get(stream)
        if settings is None:
            raise MisuseError(f"this log does not write the stream {stream!r}; it writes {', '.join(self._settings)}")
        if not records:
            raise MisuseError("an append needs at least one record")
        if settings.partitions == 1:
            groups: Mapping[int, Sequence[NewRecord]] = {0: records}
        else:
            grouped: dict[int, list[NewRecord]] = {}
            for record in records:
                grouped.setdefault(partition_of(record.key, settings.partitions), []).append(record)
            groups = grouped
        return [
            _Pending(stream, number, encode_batch(group), len(group), max(r.timestamp_ms for r in group), None)
            for number, group in groups.items()
        ]

    def _add(self, parts: Sequence[_Pending], token: object) -> None:
        size = sum(len(part.body) for part in parts)
        with self._condition:
            if self._closing:
                raise TryLaterError(f"the log {self.directory} is closing", retry_after_s=1.0)
            limit = self._settings[parts[0].stream].pending_bytes_max
            if self.pending_bytes and self.pending_bytes + size > limit:
                raise TryLaterError(
                    f"{self.pending_bytes} bytes wait for the disk of {self.directory}; the limit is {limit}",
                    retry_after_s=0.1,
                )
            for part in parts:
                part.token = token
            if not self._pending:
                self._pending_since_ns = self._clock.monotonic_ns()
                self._condition.notify_all()
            self._pending += parts
            self.pending_bytes += size

    def _round(self, taken: Sequence[_Pending]) -> list[Appended]:
        groups: dict[tuple[str, int], list[_Pending]] = {}
        for each in taken:
            groups.setdefault((each.stream, each.partition), []).append(each)
        written = {key: self._write(key, group) for key, group in groups.items()}
        to_sync = [key for key, result in written.items() if not isinstance(result, Exception)]
        synced = dict(zip(to_sync, self._sync_all(to_sync)))
        fates: list[Appended] = []
        for key, group in groups.items():
            result = written[key]
            error = result if isinstance(result, Exception) else synced[key]
            self._note(key, error)
            offsets = [-1] * len(group) if error or isinstance(result, Exception) else result
            fates += [
                Appended(each.token, each.stream, each.partition, offset, each.count, error)
                for each, offset in zip(group, offsets)
            ]
        return fates

    def _write(self, key: tuple[str, int], group: Sequence[_Pending]) -> list[int] | Exception:
        try:
            return self._partitions[key].write([(each.body, each.count, each.timestamp_ms) for each in group])
        except (PenstockError, OSError) as error:
            return error

    def _sync_all(self, keys: Sequence[tuple[str, int]]) -> list[Exception | None]:
        if len(keys) <= 1 or self._thread is None:
            return [self._sync(key) for key in keys]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="log sync")
        return list(self._pool.map(self._sync, keys))

    def _sync(self, key: tuple[str, int]) -> Exception | None:
        try:
            self._partitions[key].sync()
        except (PenstockError, OSError) as error:
            return error
        return None

    def _note(self, key: tuple[str, int], error: Exception | None) -> None:
        if error is None:
            self._problems.pop(key, None)
        else:
            self._problems[key] = str(error)

    def _partition(self, stream: str, partition: int) -> Partition:
        found = self._partitions.get((stream, partition))
        if found is None:
            raise MisuseError(f"there is no partition {partition} of stream {stream!r} in {self.directory}")
        return found

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._pending or self._closing)
                if self._closing and not self._pending:
                    return
                interval_ms = min(self._settings[each.stream].commit_interval_ms for each in self._pending[:1])
                since_ns = self._pending_since_ns
            if interval_ms and not self._closing:
                left_s = interval_ms / 1e3 - (self._clock.monotonic_ns() - since_ns) / 1e9
                if left_s > 0:
                    with self._condition:
                        self._condition.wait_for(lambda: self._closing, left_s)
            try:
                self.commit()
            except Exception:
                _log.exception("a commit round failed in a way that it should not")
