"""The durable inbox of commands: what has been seen is never run twice, whatever is killed when.

A command is on disk before it is acknowledged to the hub, and that it runs is on disk before it runs. A command that
was running when the agent was killed has failed: it may have taken effect, so it is not tried again. Old ended commands
are forgotten beyond a bound, and only after their deadline, when they could not run again anyway.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from edge.inbox_entry import InboxEntry, JsonObject, parse_command
from edge.records import pack_record, scan_records
from streams.clock import Clock
from streams.errors import CorruptError
from streams.files import File, Files

_log = logging.getLogger(__name__)

FILE_NAME = "commands"
_REWRITE_BYTES = 256 * 1024
_HARD_BOUND = 4
"""Times `kept_max`: beyond it even commands whose deadline has not passed are forgotten, if they have ended."""


class Inbox:
    """Commands by key. Blocks on the disk; one call at a time. OSError: nothing was taken, try again."""

    def __init__(self, directory: Path, *, files: Files, clock: Clock, kept_max: int) -> None:
        self._path = directory / FILE_NAME
        self._files = files
        self._clock = clock
        self._kept_max = kept_max
        self._entries: dict[str, InboxEntry] = {}
        self._file: File | None = None
        self._good_bytes = 0

    def open(self) -> list[InboxEntry]:
        """Read what an earlier start left; returns the commands that have not ended, oldest first."""
        self._files.make_directory(self._path.parent)
        new = not self._files.exists(self._path)
        self._file = self._files.open(self._path, write=True, create=True)
        if new:
            self._files.sync_directory(self._path.parent)
        scan = scan_records(self._file.read(0, self._file.size()))
        for payload in (*scan.payloads, *scan.later):
            self._fold(payload)
        self._good_bytes = scan.good_bytes
        if scan.lost_bytes:
            level = logging.ERROR if scan.later else logging.WARNING
            _log.log(level, "%s ends in %d bytes that cannot be read; they are cut", self._path, scan.lost_bytes)
        if scan.later:
            self._rewrite()
        return [entry for entry in self._entries.values() if not entry.ended]

    def get(self, key: str) -> InboxEntry | None:
        """The command of that key, if it has been seen."""
        return self._entries.get(key)

    def waiting(self) -> int:
        """Commands that have not ended."""
        return sum(not entry.ended for entry in self._entries.values())

    def accept(self, payload: bytes, state: str, **more: Any) -> InboxEntry:
        """Take a new command with its first step, durably. JunkError when it is none."""
        entry = parse_command(payload)
        assert entry.key not in self._entries, "asked before whether it has been seen"
        step = entry.next_step(state, self._now_ms(), more)
        kept = InboxEntry(entry.key, entry.name, entry.arguments, entry.deadline_ms)
        kept.take(step)
        self._append({"entry": kept.to_json()})
        self._entries[entry.key] = kept
        self._forget()
        return kept

    def step(self, entry: InboxEntry, state: str, **more: Any) -> JsonObject:
        """The command went on: returns what to publish, after it is on disk."""
        step = entry.next_step(state, self._now_ms(), more)
        self._append({"step": step})
        entry.take(step)
        return step

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _now_ms(self) -> int:
        return self._clock.time_ns() // 1_000_000

    def _append(self, record: JsonObject) -> None:
        assert self._file is not None, "the inbox is open"
        data = pack_record(json.dumps(record, allow_nan=False).encode())
        if self._file.size() != self._good_bytes:  # a torn tail, or an append that failed half-way
            self._file.truncate(self._good_bytes)
        self._file.append((data,))
        self._file.sync()
        self._good_bytes += len(data)
        if self._good_bytes > _REWRITE_BYTES and self._good_bytes > 2 * self._live_bytes():
            self._rewrite()

    def _live_bytes(self) -> int:
        return sum(len(json.dumps(entry.to_json())) + 20 for entry in self._entries.values())

    def _rewrite(self) -> None:
        records = [json.dumps({"entry": entry.to_json()}).encode() for entry in self._entries.values()]
        data = b"".join(pack_record(record) for record in records)
        self._files.replace(self._path, data)
        if self._file is not None:
            self._file.close()
        self._file = self._files.open(self._path, write=True)
        self._good_bytes = len(data)

    def _fold(self, payload: bytes) -> None:
        try:
            record = json.loads(payload)
            if "entry" in record:
                entry = InboxEntry.from_json(record["entry"])
                self._entries[entry.key] = entry
            elif (seen := self._entries.get(record["step"]["key"])) is not None:
                seen.take(record["step"])
        except (ValueError, KeyError, TypeError, CorruptError) as error:
            _log.error("%s holds a record that cannot be used, it is passed over: %s", self._path, error)

    def _forget(self) -> None:
        ended = [entry for entry in self._entries.values() if entry.ended]
        now_ms = self._now_ms()
        surplus = len(ended) - self._kept_max
        for entry in ended[: max(0, surplus)]:
            if entry.deadline_ms < now_ms or surplus > (_HARD_BOUND - 1) * self._kept_max:
                del self._entries[entry.key]
                surplus -= 1
