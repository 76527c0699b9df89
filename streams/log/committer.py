"""Group commit: appends wait in memory until a round takes all that came since the last one.

A round writes them, syncs each partition once, publishes the durable points, and only then says so. What fails is told
as failed, and must not be acknowledged.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from streams.clock import Clock
from streams.errors import PenstockError, TryLaterError
from streams.log.appends import Appended, Part, Place, Round, Shared
from streams.log.batch import NewBatch
from streams.log.partition import Partition
from streams.log.settings import LogSettings

_log = logging.getLogger("penstock.log")

Tell = Callable[[Sequence[Appended]], None]

_ROUND_BYTES = 4 << 20
"""A round takes about so much, so that nobody waits long for it."""
_SWITCH_INTERVAL_S = 0.0002
"""A round needs Python's lock back after each call of the system; a busy thread keeps it 5 ms unless told not to."""
_SYNCS_AT_ONCE = 4


class Committer:
    """`add` may be called from any thread. Rounds are made by a thread of its own, or by who calls `commit`."""

    def __init__(
        self,
        directory: Path,
        partitions: Mapping[Place, Partition],
        settings: Mapping[str, LogSettings],
        *,
        clock: Clock,
        tell: Tell,
        threaded: bool,
    ) -> None:
        self._directory = directory
        self._partitions = partitions
        self._limits = {stream: each.pending_bytes_max for stream, each in settings.items()}
        self._intervals_ns = {stream: round(each.commit_interval_ms * 1e6) for stream, each in settings.items()}
        self._clock = clock
        self._tell = tell
        self._mutex = threading.Lock()
        self._condition = threading.Condition(self._mutex)
        self.lock = threading.Lock()
        """Held during a round; who changes partitions in another way holds it too."""
        self._pending: deque[Round] = deque()
        """What waits; the last one still takes more."""
        self._interval_ns = self._due_ns = 0
        self._added = self._settled = 0
        self._closing = False
        self._pool: ThreadPoolExecutor | None = None
        self.problems: dict[Place, str] = {}
        self.pending_bytes = 0
        self._thread: threading.Thread | None = None
        if threaded:
            sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL_S))
            self._thread = threading.Thread(target=self._run, name="log committer", daemon=True)
            self._thread.start()

    @property
    def is_threaded(self) -> bool:
        return self._thread is not None

    def add(self, parts: Sequence[Part], token: object) -> None:
        """Let an append wait for the next round. TryLaterError when too much waits already."""
        size = parts[0][2] if len(parts) == 1 else sum([size for _, _, size in parts])
        with self._mutex:
            waiting = self._make_room(parts[0][0][0], size)
            for part in parts:
                waiting.add(part, token)
            self._added += len(parts)

    def add_batch(self, place: Place, batch: NewBatch, token: object) -> None:
        """The same with a batch that stays as it is."""
        with self._mutex:
            self._make_room(place[0], batch.size).add_batch(place, batch, token)
            self._added += 1

    def _make_room(self, stream: str, size: int) -> Round:
        """The round that takes `size` bytes more."""
        if self._closing:
            raise TryLaterError(f"the log {self._directory} is closing", retry_after_s=1.0)
        if self.pending_bytes and self.pending_bytes + size > self._limits[stream]:
            raise TryLaterError(
                f"{self.pending_bytes} bytes wait for the disk of {self._directory}; "
                f"the limit is {self._limits[stream]}",
                retry_after_s=0.1,
            )
        interval_ns, pending = self._intervals_ns[stream], self._pending
        if not pending or interval_ns < self._interval_ns:
            self._interval_ns, self._due_ns = interval_ns, self._clock.monotonic_ns() + interval_ns
            self._condition.notify_all()
        if not pending or pending[-1].bytes > _ROUND_BYTES:
            pending.append(Round())
        self.pending_bytes += size
        return pending[-1]

    def commit(self) -> int:
        """Make the rounds that what waits now needs; returns how many appends were in them."""
        return sum(self._commit_one() for _ in range(len(self._pending)))

    def _commit_one(self) -> int:
        with self.lock:
            with self._condition:
                taken = self._pending.popleft() if self._pending else None
            if taken is None:
                return 0
            try:
                fates = self._round(taken)
            finally:
                with self._condition:
                    self.pending_bytes -= taken.bytes
                    self._settled += taken.appends
                    self._condition.notify_all()
        self._tell(fates)
        return taken.appends

    def flush(self, timeout_s: float) -> None:
        """Return when all that was added so far is committed, or has failed."""
        if self._thread is None:
            self.commit()
            return
        with self._condition:
            added = self._added
            if not self._condition.wait_for(lambda: self._settled >= added, timeout_s):
                raise TryLaterError(f"{self._directory} was not committed within {timeout_s:.0f} s", retry_after_s=1.0)

    def close(self) -> None:
        """Commit what waits; nothing is added any more."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()
        try:
            self.commit()
        finally:
            if self._pool is not None:
                self._pool.shutdown()

    # -- a round -----------------------------------------------------------------------------------------------------

    def _round(self, taken: Round) -> list[Appended]:
        written = {place: self._write(place, group) for place, group in taken.groups.items()}
        to_sync = [place for place, result in written.items() if not isinstance(result, Exception)]
        errors = dict(zip(to_sync, self._sync_all(to_sync)))
        fates: list[Appended] = []
        for place, group in taken.groups.items():
            result = written[place]
            error = result if isinstance(result, Exception) else errors[place]
            if error is None:
                self.problems.pop(place, None)
            else:
                self.problems[place] = str(error)
            stream, partition = place
            for shared, base in zip(group, [-1] * len(group) if isinstance(result, Exception) else result):
                for token, count in shared.members:
                    fates.append(Appended(token, stream, partition, -1 if error else base, count, error))
                    base += count
        return fates

    def _write(self, place: Place, group: Sequence[Shared]) -> list[int] | Exception:
        """Write what waits for a partition; returns the base offsets of its batches, or why nothing was written."""
        try:
            return self._partitions[place].write([shared.close() for shared in group])
        except (PenstockError, OSError) as error:
            return error
        except Exception as error:  # a defect of ours: who appended must not wait for ever
            _log.exception("a round of %s failed", place)
            return error

    def _sync_all(self, places: Sequence[Place]) -> list[Exception | None]:
        if len(places) <= 1 or self._thread is None:
            return [self._sync(place) for place in places]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=_SYNCS_AT_ONCE, thread_name_prefix="log sync")
        return list(self._pool.map(self._sync, places))

    def _sync(self, place: Place) -> Exception | None:
        try:
            self._partitions[place].sync()
        except (PenstockError, OSError) as error:
            return error
        return None

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._pending or self._closing)
                self._wait_for_company()
                if self._closing and not self._pending:
                    return
            try:
                self.commit()
            except Exception:
                _log.exception("a commit round failed in a way that it should not")

    def _wait_for_company(self) -> None:
        """Until the round is due, or an append came that wants it sooner and it is."""
        while self._interval_ns and not self._closing:
            left_s = (self._due_ns - self._clock.monotonic_ns()) / 1e9
            if left_s <= 0 or not self._condition.wait(left_s):
                return
