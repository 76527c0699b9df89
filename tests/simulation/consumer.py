"""A consumer of the hub's log, with a store that commits rows and offsets in one transaction, as a real store does."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from streams import names
from streams.files import Files
from streams.frames import Frame, Quality, decode
from streams.log import StreamReader, partitions
from streams.record import Record
from streams.sequences import SequenceSet
from tests.simulation.disk import Disk, Mount
from tests.simulation.loop import MachineClock

RECORDS_MAX = 20


class Row(NamedTuple):
    """A stored reading."""

    device: str
    epoch: int
    sequence: int
    series: str
    time_ns: int
    value: Any


class Store:
    """Rows, offsets, and which numbers are stored: all change together or not at all."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.offsets: dict[int, int] = {}
        self.stored: dict[tuple[str, int], SequenceSet] = {}
        self.parked: list[tuple[str, Frame]] = []
        self.manifests: dict[int, dict[int, str]] = {}
        self.manifest_offset = 0


class Consumer:
    """Reads, decodes, passes over what it has, stores. A kill takes back what was not committed."""

    def __init__(self, data: Path, disk: Disk, clock: MachineClock) -> None:
        self._log = data / "log"
        self._disk = disk
        self.store = Store()
        self._shown = 0
        self._mount: Mount | None = None
        self._readers: dict[tuple[str, int], StreamReader] = {}
        self._found: dict[str, list[int]] = {}

    def kill(self) -> None:
        """The process ends; the store keeps what it has committed."""
        if self._mount is not None:
            self._mount.dead = True
        self._mount = None
        self._readers, self._found = {}, {}

    def work(self) -> None:
        """One transaction."""
        files = self._files()
        self._learn_manifests(files)
        for partition in self._partitions(names.TELEMETRY, files):
            records = self._read(names.TELEMETRY, partition, self.store.offsets.get(partition, 0), files)
            if records:
                self._commit(partition, records[:RECORDS_MAX])

    def lag(self) -> int:
        """Records on the log that are not stored."""
        files = self._files()
        ends = {
            partition: self._reader(names.TELEMETRY, partition, files).end
            for partition in self._partitions(names.TELEMETRY, files)
        }
        return sum(end - self.store.offsets.get(partition, 0) for partition, end in ends.items())

    def ledger(self) -> dict[str, Any]:
        """What the processors answer to GET /ledger."""
        return {
            "partitions": [{"partition": number, "offset": at} for number, at in sorted(self.store.offsets.items())],
            "accounts": [
                {
                    "device": device,
                    "epoch": epoch,
                    "stored": spans.spans(),
                    "quarantined": [],
                    "parked": [],
                    "rows": 0,
                    "duplicate_rows": self._duplicate_rows(device, epoch),
                }
                for (device, epoch), spans in self.store.stored.items()
            ],
            "undecodable": 0,
        }

    def new_rows(self) -> list[Row]:
        """Rows that have not been shown before."""
        rows = self.store.rows[self._shown :]
        self._shown = len(self.store.rows)
        return rows

    def stored_instants(self) -> set[tuple[str, str, int]]:
        """What is stored, as (device, series, time)."""
        return {(row.device, row.series, row.time_ns) for row in self.store.rows}

    def _duplicate_rows(self, device: str, epoch: int) -> int:
        numbers = [row.sequence for row in self.store.rows if (row.device, row.epoch) == (device, epoch)]
        return len(numbers) - len(set(numbers))

    def _commit(self, partition: int, records: list[Record]) -> None:
        for record in records:
            assert record.key is not None and record.value is not None
            self._take(record.key.decode(), decode(record.value))
        self.store.offsets[partition] = records[-1].offset + 1

    def _take(self, device: str, frame: Frame) -> None:
        spans = self.store.stored.setdefault((device, frame.epoch), SequenceSet())
        new = SequenceSet(spans.missing(frame.sequence, frame.sequence + frame.count))
        series = self.store.manifests[frame.manifest]
        number = frame.sequence
        for block in frame.blocks:
            for column in block.columns:
                for index, (time_ns, value) in enumerate(zip(block.times_ns, column.values)):
                    assert column.quality is None or column.quality[index] == Quality.GOOD
                    if new.contains(number, number + 1):
                        self.store.rows.append(Row(device, frame.epoch, number, series[column.series], time_ns, value))
                    number += 1
        spans.add(frame.sequence, frame.sequence + frame.count)

    def _learn_manifests(self, files: Files) -> None:
        if not self._partitions(names.DEVICES, files):
            return
        for record in self._read(names.DEVICES, 0, self.store.manifest_offset, files):
            if record.key is not None and record.key.endswith(b"/" + names.MANIFEST.encode()):
                assert record.value is not None
                manifest = json.loads(record.value)
                numbers = {each["id"]: each["name"] for each in manifest["series"]}
                self.store.manifests[zlib.crc32(record.value)] = numbers
            self.store.manifest_offset = record.offset + 1

    def _partitions(self, stream: str, files: Files) -> list[int]:
        if not self._found.get(stream):
            self._found[stream] = partitions(self._log, stream, files=files)
        return self._found[stream]

    def _read(self, stream: str, partition: int, offset: int, files: Files) -> list[Record]:
        """What follows `offset`. After a power cut the log may say that it ends before, until its writer is back."""
        reader = self._reader(stream, partition, files)
        return reader.read(offset) if offset <= reader.end else []

    def _files(self) -> Files:
        if self._mount is None:
            self._mount = self._disk.mount(lambda: None)
        return self._mount

    def _reader(self, stream: str, partition: int, files: Files) -> StreamReader:
        reader = self._readers.get((stream, partition))
        if reader is None:
            reader = self._readers[stream, partition] = StreamReader(self._log, stream, partition, files=files)
        return reader
