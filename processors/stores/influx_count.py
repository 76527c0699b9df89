"""How many points InfluxDB really has of each account: counted by itself, in at most a tenth of the time.

Counting reads every point, so it runs in a thread of its own and a ledger waits for it only shortly. Between two counts
the rows of an account are what was counted, and what InfluxDB acknowledged since. Only numbers that are committed as
stored are counted: what a commit writes just now is no second copy.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from processors.stores.influx_server import InfluxServer, literal
from processors.stores.line_protocol import READING
from streams.clock import Clock
from streams.errors import PenstockError

_log = logging.getLogger("penstock.processors")

WAIT_S = 3.0
PAUSE = 9  # times as long as the count took
FAILED_PAUSE_NS = 10_000_000_000
ACCOUNTS_AT_ONCE = 100
SPANS_MAX = 50  # an account in more pieces is not counted

Key = tuple[str, int]
Account = Mapping[str, Any]


class _Counted(NamedTuple):
    stored: int
    """Readings that were committed as stored."""
    points: int


class Count:
    """See the head of this file. Safe for several threads."""

    def __init__(self, server: InfluxServer, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._due_ns = clock.monotonic_ns()
        self._counted: dict[Key, _Counted] = {}
        self._counted_ms: int | None = None
        self.missing = 0
        """Points that were acknowledged and are not there, though the bucket keeps everything for good."""

    def apply(self, ledger: dict[str, Any]) -> None:
        """Set `rows` and `duplicate_rows` of each account, and `counted_ms`: when InfluxDB last counted, or None."""
        with self._lock:
            if self._thread is None and self._clock.monotonic_ns() >= self._due_ns:
                self._thread = threading.Thread(target=self._run, args=(ledger["accounts"],), name="count", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(WAIT_S)
        for account in ledger["accounts"]:
            found = self._counted.get((account["device"], account["epoch"]))
            if found is not None:
                account["rows"] = found.points + _stored(account) - found.stored
                account["duplicate_rows"] = max(0, found.points - found.stored)
        ledger["counted_ms"] = self._counted_ms

    def _run(self, accounts: Sequence[Account]) -> None:
        started_ns = self._clock.monotonic_ns()
        pause_ns = 0
        try:
            counted: dict[Key, _Counted] = {}
            countable = [each for each in accounts if 0 < len(each["stored"]) <= SPANS_MAX]
            for start in range(0, len(countable), ACCOUNTS_AT_ONCE):
                counted |= self._ask(countable[start : start + ACCOUNTS_AT_ONCE])
            missing = sum(max(0, each.stored - each.points) for each in counted.values())
            self.missing = missing if missing and not self._server.forgets() else 0
            self._counted, self._counted_ms = counted, self._clock.time_ns() // 1_000_000
        except PenstockError as error:
            _log.warning("the readings in InfluxDB could not be counted: %s", error)
            pause_ns = FAILED_PAUSE_NS
        except Exception:
            if not self._closed:  # else the connections went away under it
                raise
        finally:
            ended_ns = self._clock.monotonic_ns()
            self._due_ns = ended_ns + max(pause_ns, PAUSE * (ended_ns - started_ns))
            self._thread = None

    def close(self) -> None:
        """Wait shortly for a count that is going on; it is of no use any more."""
        self._closed = True
        thread = self._thread
        if thread is not None:
            thread.join(WAIT_S)

    def _ask(self, accounts: Sequence[Account]) -> dict[Key, _Counted]:
        points = [0] * len(accounts)
        for index, series in self._server.ask("; ".join(map(_question, accounts))):
            points[index] = int(series["values"][0][1])
        return {
            (each["device"], each["epoch"]): _Counted(_stored(each), count) for each, count in zip(accounts, points)
        }


def _question(account: Account) -> str:
    spans = " OR ".join(f"(sequence >= {start} AND sequence < {stop})" for start, stop in account["stored"])
    where = f"device = {literal(account['device'])} AND epoch = {account['epoch']} AND ({spans})"
    return f'SELECT COUNT(sequence) FROM "{READING}" WHERE {where}'


def _stored(account: Account) -> int:
    return sum(stop - start for start, stop in account["stored"])
