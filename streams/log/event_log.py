"""The event log of one writing process: its streams, their partitions, and the committer that writes to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from streams.clock import Clock
from streams.errors import MisuseError, TryLaterError
from streams.files import DirectoryLock, DiskFiles, Files
from streams.log.appends import Appended, Part, Place, check_size
from streams.log.batch import take_batch
from streams.log.committer import Committer
from streams.log.partition import Partition, Recovered
from streams.log.partitioner import partition_of
from streams.log.reader import StreamReader
from streams.log.settings import LogSettings
from streams.record import NewRecord

_log = logging.getLogger("penstock.log")

OnCommit = Callable[[Sequence[Appended]], None]


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
        self._partitions: dict[Place, Partition] = {}
        with ExitStack() as opened:  # whoever tries again must not find the log in use by itself
            if isinstance(files, DiskFiles):  # a simulated disk belongs to one simulated process
                for name in streams:
                    opened.callback(DirectoryLock(directory / name, owner=owner).release)
            for name, settings in streams.items():
                for number in range(settings.partitions):
                    partition = Partition(directory / name / str(number), settings, files=files)
                    opened.callback(_close, partition)
                    self._partitions[name, number] = partition
            self._opened = opened.pop_all()
        self._committer = Committer(
            directory, self._partitions, self._settings, clock=clock, tell=self._tell, threaded=threaded
        )

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
        self._committer.add(self._parts(stream, records), token)

    def append_durable(self, stream: str, records: Sequence[NewRecord], *, timeout_s: float = 30.0) -> int:
        """Append and wait until it is on disk; returns the first offset. DiskError when that failed."""
        parts = self._parts(stream, records)
        waiter = _Waiter(len(parts))
        self._committer.add(parts, waiter)
        return self._wait(waiter, timeout_s)

    def append_batch(self, stream: str, partition: int, batch: bytes, *, timeout_s: float = 30.0) -> int:
        """Append a batch that a Kafka client made, untouched, and wait until it is on disk; returns its base offset.

        JunkError when it is not one that can be taken; it says what is not.
        """
        self._partition(stream, partition)
        waiter = _Waiter(1)
        self._committer.add_batch((stream, partition), take_batch(batch), waiter)
        return self._wait(waiter, timeout_s)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return when everything appended so far is committed, or has failed."""
        self._committer.flush(timeout_s)

    def commit(self) -> int:
        """Commit what waits now; returns how many appends that were."""
        return self._committer.commit()

    # -- the rest ----------------------------------------------------------------------------------------------------

    @property
    def pending_bytes(self) -> int:
        """About how much waits for the disk."""
        return self._committer.pending_bytes

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
        with self._committer.lock:
            return self._partition(stream, partition).truncate_before(offset)

    def enforce_retention(self) -> int:
        """Remove segments that are too old or too much; returns how many."""
        now_ms = self._clock.time_ns() // 1_000_000
        with self._committer.lock:
            return sum(each.enforce_retention(now_ms) for each in self._partitions.values())

    @property
    def recovered(self) -> dict[Place, Recovered]:
        """What opening found, by stream and partition."""
        return {place: each.recovered for place, each in self._partitions.items()}

    def health(self) -> list[str]:
        """Sentences on what is wrong now; empty when nothing is."""
        return sorted(set(self._committer.problems.copy().values()))

    def close(self) -> None:
        """Commit what is pending and let go of the files."""
        try:
            self._committer.close()
        finally:
            self._opened.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _parts(self, stream: str, records: Sequence[NewRecord]) -> list[Part]:
        settings = self._settings.get(stream)
        if settings is None:
            raise MisuseError(f"this log does not write the stream {stream!r}; it writes {', '.join(self._settings)}")
        if not records:
            raise MisuseError("an append needs at least one record")
        if settings.partitions == 1:
            return [((stream, 0), records, check_size(records))]
        groups: dict[int, list[NewRecord]] = {}
        for record in records:
            groups.setdefault(partition_of(record.key, settings.partitions), []).append(record)
        return [((stream, number), group, check_size(group)) for number, group in groups.items()]

    def _wait(self, waiter: _Waiter, timeout_s: float) -> int:
        if not self._committer.is_threaded:
            self.commit()
        if not waiter.done.wait(timeout_s):
            raise TryLaterError(f"the disk of {self.directory} did not answer for {timeout_s:.0f} s", retry_after_s=1.0)
        if waiter.error is not None:
            raise waiter.error
        assert waiter.first is not None
        return waiter.first

    def _tell(self, fates: Sequence[Appended]) -> None:
        others: list[Appended] = []
        for fate in fates:
            if isinstance(fate.token, _Waiter):
                fate.token.take(fate)
            else:
                others.append(fate)
        if others and self._on_commit is not None:
            self._on_commit(others)

    def _partition(self, stream: str, partition: int) -> Partition:
        found = self._partitions.get((stream, partition))
        if found is None:
            raise MisuseError(f"there is no partition {partition} of stream {stream!r} in {self.directory}")
        return found


def _close(partition: Partition) -> None:
    try:
        partition.close()
    except OSError as error:
        _log.error("%s did not close cleanly: %s", partition.directory, error)
