"""State as a folded log: feeds events to projections, keeps snapshots, and catches up from the log at start.

A snapshot says for each stream and partition up to which offset it stands. It only saves time: without it the same
state is folded from the log's beginning.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hub.events import Event, JunkEvent, decode
from streams.files import Files
from streams.log import DamagedRange
from streams.record import Record

_log = logging.getLogger("penstock.hub.projections")

SNAPSHOT_VERSION = 1

Place = tuple[str, int]
"""A stream and one of its partitions."""


class Reader(Protocol):
    """What is read of one partition (see EventLog.reader)."""

    @property
    def earliest(self) -> int: ...

    @property
    def end(self) -> int: ...

    def read(self, offset: int) -> Sequence[Record]: ...


class Projection(Protocol):
    """A state folded from events. `fold` may depend on nothing but the events, and must not block."""

    @property
    def name(self) -> str:
        """What its snapshot is called."""
        ...

    @property
    def streams(self) -> tuple[str, ...]:
        """Which streams it is folded from."""
        ...

    def fold(self, event: Event) -> object: ...

    def snapshot(self) -> dict[str, Any]:
        """The state as JSON that shares nothing that changes later."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


@dataclass(slots=True)
class _Held:
    projection: Projection
    positions: dict[Place, int] = field(default_factory=dict)
    saved: dict[Place, int] = field(default_factory=dict)


class Snapshot(NamedTuple):
    """The state of a projection at one moment."""

    held: _Held
    positions: dict[Place, int]
    state: dict[str, Any]


class Projections:
    """All projections of one process, with their positions on the log."""

    def __init__(self, directory: Path, files: Files, projections: Sequence[Projection]) -> None:
        """`projections` are empty; their snapshots lie in `directory`."""
        self._directory = directory
        self._files = files
        self._held = [_Held(each) for each in projections]

    def feed(self, stream: str, partition: int, record: Record) -> Event:
        """Fold the next record of a partition into every projection that wants it; returns what it means."""
        event = _decode(stream, record)
        place = (stream, partition)
        for held in self._held:
            if stream in held.projection.streams and record.offset >= held.positions.get(place, 0):
                try:
                    held.projection.fold(event)
                except Exception:  # a defect of ours: one record must not keep the hub from all that follow
                    _log.exception("%s cannot fold %s/%d %d", held.projection.name, stream, partition, record.offset)
                held.positions[place] = record.offset + 1
        return event

    def position(self, stream: str, partition: int) -> int:
        """The offset up to which every projection that wants the stream has folded it."""
        wanting = [held for held in self._held if stream in held.projection.streams]
        return min((held.positions.get((stream, partition), 0) for held in wanting), default=0)

    def start(self, readers: Mapping[Place, Reader]) -> int:
        """Load the snapshots and fold what the log has beyond them; returns the records read. Blocks."""
        for held in self._held:
            self._load(held, {place: reader.end for place, reader in readers.items()})
        return sum(self._catch_up(place, reader) for place, reader in readers.items())

    def changed(self) -> list[Snapshot]:
        """The snapshots that would differ from those on disk, to be given to `write`."""
        return [
            Snapshot(held, dict(held.positions), held.projection.snapshot())
            for held in self._held
            if held.positions != held.saved
        ]

    def write(self, snapshots: Sequence[Snapshot]) -> None:
        """Bring snapshots to disk, each whole or not at all; may be called in a thread. OSError when it refuses."""
        self._files.make_directory(self._directory)
        for each in snapshots:
            positions = [[stream, partition, at] for (stream, partition), at in each.positions.items()]
            document = {"version": SNAPSHOT_VERSION, "positions": positions, "state": each.state}
            data = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
            self._files.replace(self._path(each.held.projection), data)
            each.held.saved = each.positions

    def _path(self, projection: Projection) -> Path:
        return self._directory / f"{projection.name}.json"

    def _read(self, path: Path) -> bytes:
        file = self._files.open(path)
        try:
            return file.read(0, file.size())
        finally:
            file.close()

    def _load(self, held: _Held, ends: Mapping[Place, int]) -> None:
        path = self._path(held.projection)
        if not self._files.exists(path):
            return
        try:
            document = json.loads(self._read(path))
            positions = {(stream, partition): at for stream, partition, at in document["positions"]}
            if document["version"] != SNAPSHOT_VERSION:
                raise ValueError(f"its version is {document['version']}, this program writes {SNAPSHOT_VERSION}")
            beyond = {place: at for place, at in positions.items() if at > ends.get(place, 0)}
            if beyond:
                raise ValueError(f"it stands for records that the log does not have (ends {dict(ends)}, it {beyond})")
            held.projection.restore(document["state"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.error("the snapshot %s is not used, the state is folded from the log: %s", path, error)
            return
        held.positions, held.saved = positions, dict(positions)

    def _catch_up(self, place: Place, reader: Reader) -> int:
        stream, partition = place
        at, end, count = self.position(stream, partition), reader.end, 0
        if at < reader.earliest:
            if at > 0:
                _log.warning(
                    "%s/%d: records %d to %d were deleted before they were folded; counts may be too low",
                    *(stream, partition, at, reader.earliest),
                )
            at = reader.earliest
        while at < end:
            try:
                records = reader.read(at)
            except DamagedRange as damage:
                _log.error("%s/%d: what is damaged is not folded, counts may be too low: %s", stream, partition, damage)
                at = damage.resume
                continue
            for record in records:
                self.feed(stream, partition, record)
            at, count = records[-1].offset + 1, count + len(records)
        return count


def _decode(stream: str, record: Record) -> Event:
    try:
        return decode(stream, record.key, record.value, record.timestamp_ms, record.headers)
    except Exception as error:  # likewise
        _log.exception("cannot decode record %d of %s", record.offset, stream)
        return JunkEvent(None, record.timestamp_ms, stream, f"a defect of the hub: {error!r:.200}")
