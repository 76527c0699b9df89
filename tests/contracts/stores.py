"""Readings, chunks and stores as the tests of stores think of them."""

from __future__ import annotations

import dataclasses
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from processors.alarms import Alarm
from processors.chunk import Chunk
from processors.dedupe import Dedupe
from processors.manifests import SeriesInfo
from processors.rows import Rows
from processors.series import SeriesTable
from processors.settings import StoreSettings
from processors.stores.registry import open_store
from processors.stores.store import State, Store
from streams.frames import KIND_CODES, Kind, Quality

SECOND = 1_000_000_000
NOON = 1_790_000_000 * SECOND
EPOCH = 1_789_000_000
DEVICE = "press-001"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading, as a test thinks of it."""

    sequence: int
    value: Any = 1.0
    time_ns: int = NOON
    metric: str = "oil.pressure"
    device: str = DEVICE
    epoch: int = EPOCH
    quality: int = Quality.GOOD


class Maker:
    """Makes chunks, and numbers series and readings as the engine does."""

    def __init__(self, state: State | None = None) -> None:
        known = state or State()
        self.table = SeriesTable(known.series)
        self.dedupe = Dedupe()
        for device, epoch, stored, quarantined in known.ranges:
            book = self.dedupe.book(device, epoch)
            book.stored, book.quarantined = stored, quarantined

    def chunk(self, readings: Iterable[Reading], **more: Any) -> Chunk:
        found = list(readings)
        for each in found:
            assert self.dedupe.admit(each.device, each.epoch, each.sequence, each.sequence + 1), "numbered twice"
        rows = self._rows(found)
        return Chunk(rows=rows, series=self.table.take_changed(), ranges=self.dedupe.take_changed(), **more)

    def _rows(self, readings: list[Reading]) -> Rows:
        kinds = [_kind(each.value) for each in readings]
        texts = [each.value for each in readings if isinstance(each.value, str)]
        numbers = [self.table.number(SeriesInfo(each.device, each.metric, kind)) for each, kind in zip(readings, kinds)]
        text = np.cumsum([kind == Kind.TEXT for kind in kinds], dtype=np.int32) - 1
        whole = [int(each.value) if kind in (Kind.INT64, Kind.BOOL) else 0 for each, kind in zip(readings, kinds)]
        values = [np.nan if isinstance(each.value, str) else float(each.value) for each in readings]
        return Rows(
            series=np.array(numbers, np.int32),
            kind=np.array([KIND_CODES[kind] for kind in kinds], np.uint8),
            time_ns=np.array([each.time_ns for each in readings], np.int64),
            value=np.array(values, np.float64),
            integer=np.array(whole, np.int64),
            text=np.where([kind == Kind.TEXT for kind in kinds], text, -1).astype(np.int32),
            quality=np.array([each.quality for each in readings], np.uint8),
            epoch=np.array([each.epoch for each in readings], np.int64),
            sequence=np.array([each.sequence for each in readings], np.int64),
            partition=np.zeros(len(readings), np.int32),
            offset=np.arange(len(readings), dtype=np.int64),
            texts=texts,
        )


class Home:
    """A store with its directory: opened, closed, thrown back to an earlier state."""

    def __init__(self, directory: Path, settings: StoreSettings) -> None:
        self.directory, self.settings = directory, settings
        self.store: Store
        self.open()

    def open(self) -> State:
        self.store = open_store(self.directory, self.settings)
        return self.store.load()

    def reopen(self) -> State:
        self.store.close()
        return self.open()

    def keep(self, aside: Path) -> None:
        """A copy of what is on disk now."""
        self.store.close()
        shutil.copytree(self.directory, aside)
        self.open()

    def throw_back(self, aside: Path) -> State:
        """As if the process had been killed before its transaction: what is on its disk is as it was."""
        self.store.close()
        shutil.rmtree(self.directory)
        shutil.copytree(aside, self.directory)
        return self.open()

    def stored(self, device: str = DEVICE, *, start_ns: int = 0, end_ns: int = 1 << 62, limit: int = 10**6) -> set[Any]:
        """What the store has of a device: (metric, time, value or text, quality, epoch, sequence)."""
        found = self.store.readings(device, start_ns=start_ns, end_ns=end_ns, limit=limit)
        columns = zip(*(found[name] for name in ("metric", "time_ns", "value", "text", "quality", "epoch", "sequence")))
        rows = [
            (metric, at, _bits(value if text is None else text), *more) for metric, at, value, text, *more in columns
        ]
        assert len(set(rows)) == len(rows), "a reading is stored twice"
        return set(rows)

    def rows(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Rows and duplicate rows by device and epoch, as the ledger has them."""
        accounts = self.store.ledger()["accounts"]
        return {(each["device"], each["epoch"]): (each["rows"], each["duplicate_rows"]) for each in accounts}


def expected(readings: Iterable[Reading]) -> set[Any]:
    return {
        (each.metric, each.time_ns, _bits(each.value), each.quality, each.epoch, each.sequence) for each in readings
    }


def _bits(value: Any) -> Any:
    """Equal for values that are equal to the bit; whole numbers and bools are equal to the float that is the same."""
    if isinstance(value, str):
        return value
    if value is None or not np.isfinite(float(value)):
        return None  # JSON has neither
    exact = isinstance(value, int) and int(float(value)) != value
    return value if exact else struct.pack("<d", float(value))


def _kind(value: Any) -> Kind:
    kinds = {bool: Kind.BOOL, int: Kind.INT64, str: Kind.TEXT, np.float32: Kind.FLOAT32}
    return kinds.get(type(value), Kind.FLOAT64)


def ticks(count: int, *, first: int = 0, start_ns: int = NOON, step_ns: int = SECOND, **more: Any) -> list[Reading]:
    """Readings of one series at a steady pace."""
    return [
        Reading(sequence=first + n, time_ns=start_ns + n * step_ns, value=float(first + n), **more)
        for n in range(count)
    ]


def alarm(sequence: int, **more: Any) -> Alarm:
    fields: dict[str, Any] = {
        "id": f"{DEVICE}/oil.pressure/level/{EPOCH}/{sequence}", "device": DEVICE, "metric": "oil.pressure",
        "detector": "level", "version": 1, "kind": "process", "opened_ns": NOON + sequence * SECOND, "strength": 1.5,
        "value": 20.25, "message": 'oil.pressure of press-001 says "20 bar", usually 3 \\ 4',
        "parameters": {"open_strength": 1.0}, "evidence": {"epoch": EPOCH, "sequence": sequence},
    }  # fmt: skip
    return Alarm(**{**fields, **more})
