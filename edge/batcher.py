"""From ticks to a frame: readings in columns, columns that were sampled at the same moments in one block.

The batch holds what the journal holds, in the same order, and decides when that makes a frame. No files, no clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from edge.sensors.sensor import SeriesType, Value
from edge.tick import Tick
from streams.frames import Block, ClockQuality, Column, Frame, Quality

WEIGHT_MAX = 384 * 1024
"""Bytes of readings in a frame (`Tick.weight`), whatever the settings say: it stays far below the largest frame."""


@dataclasses.dataclass(slots=True)
class _Readings:
    times_ns: list[int] = dataclasses.field(default_factory=list)
    values: list[Value] = dataclasses.field(default_factory=list)
    qualities: bytearray = dataclasses.field(default_factory=bytearray)


class Batch:
    """Ticks that will be one frame. `first` is the number of its first reading."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.count = 0
        self.rows = 0
        self.started_ns: int | None = None
        self._columns: dict[int, _Readings] = {}
        self.weight = 0

    @property
    def stop(self) -> int:
        """One past the number of its last reading."""
        return self.first + self.count

    def add(self, tick: Tick, now_ns: int) -> None:
        """Take a tick that came at `now_ns` on the monotonic clock."""
        if self.started_ns is None:
            self.started_ns = now_ns
        for series, value, quality in zip(tick.series, tick.values, tick.qualities):
            column = self._columns.get(series)
            if column is None:
                column = self._columns[series] = _Readings()
            column.times_ns.append(tick.time_ns)
            column.values.append(value)
            column.qualities.append(quality)
            self.rows = max(self.rows, len(column.values))
        self.count += tick.count
        self.weight += tick.weight

    def is_due(self, now_ns: int, *, rows_max: int, age_ns_max: int) -> bool:
        """Whether it is full or old enough to be sealed."""
        if self.started_ns is None:
            return False
        full = self.rows >= rows_max or self.weight >= WEIGHT_MAX
        return full or now_ns - self.started_ns >= age_ns_max

    def frame(self, *, epoch: int, manifest: int, types: Mapping[int, SeriesType], clock: ClockQuality) -> Frame:
        """The frame of all its readings, numbered from `first` on. `types` says what each series is."""
        blocks = tuple(self._blocks(types))
        frame = Frame(epoch=epoch, sequence=self.first, manifest=manifest, clock_quality=clock, blocks=blocks)
        assert frame.count == self.count, "a frame holds each reading of its batch once"
        return frame

    def _blocks(self, types: Mapping[int, SeriesType]) -> Iterable[Block]:
        shared: dict[tuple[int, ...], list[int]] = {}
        for series, column in self._columns.items():
            shared.setdefault(tuple(column.times_ns), []).append(series)
        for times_ns, members in shared.items():
            yield Block(times_ns=times_ns, columns=tuple(self._column(series, types[series]) for series in members))

    def _column(self, series: int, kind: SeriesType) -> Column:
        column = self._columns[series]
        good = not any(quality != Quality.GOOD for quality in column.qualities)
        return Column(
            series=series, kind=kind, values=tuple(column.values), quality=None if good else bytes(column.qualities)
        )
