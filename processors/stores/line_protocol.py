"""Readings and alarms as InfluxDB's line protocol, made in columns: no Python object for a reading. Pure.

Measurement `reading`, tags device, metric (and `lap`, see places.py); a field has the same type in every series:

    value float       what can be drawn: float64, float32, int64 and bool (1 or 0), unless it is not finite
    text string       text
    integer integer   int64 that float64 cannot hold
    bits integer      the bits of a float64 that is not finite
    quality, epoch, sequence integer
    time_ns integer   the time of the reading, where its point stands at another one

Measurement `alarm`: tags device, metric, detector; its time is when the alarm was opened.
Source: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from processors.alarms import Alarm
from processors.manifests import SeriesInfo
from processors.rows import Rows
from processors.stores.places import Placed
from streams.frames import KIND_CODES, Kind

READING, ALARM = "reading", "alarm"
BLOCK_BYTES = 8 << 20
LINE_BYTES = 256  # of a line without text, about

_EXACT_MAX = 1 << 53
_INT64 = KIND_CODES[Kind.INT64]
_TEXT = KIND_CODES[Kind.TEXT]
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


class Lines:
    """Lines in one buffer, each with its line feed."""

    def __init__(self, lines: Any) -> None:
        _, ends, data = lines.buffers()
        self._ends: NDArray[np.int32] = np.frombuffer(ends, np.int32)[: len(lines) + 1]
        self.data = memoryview(data)[: self._ends[-1]]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> memoryview:
        return self.data[self._ends[index] : self._ends[index + 1]]


class Heads:
    """The beginning of the lines of each series: measurement and tags."""

    def __init__(self) -> None:
        self._heads: list[str] = []
        self._tables: dict[int, Any] = {}

    def learn(self, series: Iterable[tuple[int, SeriesInfo]]) -> None:
        for number, info in series:
            self._heads += [""] * (number + 1 - len(self._heads))
            self._heads[number] = f"{READING},device={tag(info.device)},metric={tag(info.metric)}"
            self._tables.clear()

    def take(self, series: NDArray[np.int32], lap: NDArray[np.int32]) -> Any:
        """An Arrow column of heads. The first lap of a series has no tag of its own."""
        laps = np.unique(lap)
        if len(laps) == 1:
            return self._table(int(laps[0])).take(pa.array(series))
        table = pa.concat_arrays([self._table(each) for each in laps.tolist()])
        return table.take(pa.array(np.searchsorted(laps, lap) * len(self._heads) + series))

    def _table(self, lap: int) -> Any:
        table = self._tables.get(lap)
        if table is None:
            tail = f",lap={lap} " if lap else " "
            table = self._tables[lap] = pa.array([head + tail for head in self._heads], pa.string())
        return table


class ReadingLines:
    """The lines of placed rows, made block by block, so that memory is bounded whatever the texts are."""

    def __init__(self, rows: Rows, placed: Placed, heads: Heads) -> None:
        self._rows, self._placed, self._heads = rows, placed, heads
        words = [f"text={_quoted(word)}," for word in rows.texts]
        self._words = pa.array(words, pa.string())
        extra = np.array([*(len(word.encode()) for word in words), 0])  # the last for rows without text: index -1
        self._bytes = np.cumsum(LINE_BYTES + extra[rows.text[placed.order]])

    def blocks(self, rows_max: int) -> Iterator[tuple[NDArray[np.int64], Lines]]:
        """Which rows, and their lines: at most so many, and about BLOCK_BYTES."""
        start, stop = 0, len(self._bytes)
        while start < stop:
            before = int(self._bytes[start - 1]) if start else 0
            full = int(np.searchsorted(self._bytes, before + BLOCK_BYTES, side="right"))
            end = max(start + 1, min(full, start + rows_max))
            yield self._placed.order[start:end], self._lines(slice(start, end))
            start = end

    def _lines(self, part: slice) -> Lines:
        rows, pick = self._rows, self._placed.order[part]
        kind, value, integer, time_ns = rows.kind[pick], rows.value[pick], rows.integer[pick], rows.time_ns[pick]
        point_ns = self._placed.point_ns[part]
        is_text = kind == _TEXT
        finite = np.isfinite(value)
        wide = (kind == _INT64) & ((integer > _EXACT_MAX) | (integer < -_EXACT_MAX))
        columns = [
            self._heads.take(rows.series[pick], self._placed.lap[part]),
            _field("value=", value, finite & ~is_text, ","),
            *self._texts(rows.text[pick], is_text),
            *_some("integer=", integer, wide),
            *_some("bits=", value.view(np.int64), ~finite & ~is_text),
            *_some("time_ns=", time_ns, point_ns != time_ns),
            _grades(rows.quality[pick], rows.epoch[pick]),
            pc.cast(pa.array(rows.sequence[pick]), pa.string()),
            "i ",
            pc.cast(pa.array(point_ns), pa.string()),
            "\n",
        ]
        return Lines(pc.binary_join_element_wise(*columns, "", null_handling="replace", null_replacement=""))

    def _texts(self, text: NDArray[np.int32], where: NDArray[np.bool_]) -> Sequence[Any]:
        return [self._words.take(pa.array(text, mask=~where))] if where.any() else []


def alarm_line(alarm: Alarm, point_ns: int) -> str:
    """The line of an alarm; the same place for its opening and its closing."""
    fields = {
        "state": _quoted(alarm.state),
        "strength": repr(_clamped(alarm.strength)),
        "message": _quoted(alarm.message),
        "kind": _quoted(alarm.kind),
        "version": f"{alarm.version}i",
        "id": _quoted(alarm.id),
    }
    if math.isfinite(alarm.value):
        fields["value"] = repr(alarm.value)
    if alarm.closed_ns is not None:
        fields["closed_ns"] = f"{alarm.closed_ns}i"
    tags = f"device={tag(alarm.device)},metric={tag(alarm.metric)},detector={tag(alarm.detector)}"
    return f"{ALARM},{tags} {','.join(f'{name}={value}' for name, value in fields.items())} {point_ns}\n"


def tag(value: str) -> str:
    """A tag's value. Device and metric names need none of this; what InfluxDB cannot hold at all becomes `_`."""
    return re.sub(r"([,= ])", r"\\\1", _CONTROL.sub("_", value)) or "_"


def _field(name: str, values: NDArray[Any], where: NDArray[np.bool_], tail: str) -> Any:
    """`name=value` where it is, null elsewhere."""
    text = pc.cast(pa.array(values, mask=~where), pa.string())
    return pc.binary_join_element_wise(name, text, tail, "")


def _some(name: str, values: NDArray[np.int64], where: NDArray[np.bool_]) -> Sequence[Any]:
    """A column of an integer field that few rows have, or none."""
    return [_field(name, values, where, "i,")] if where.any() else []


def _grades(quality: NDArray[np.uint8], epoch: NDArray[np.int64]) -> Any:
    """Quality and epoch: few are different, so each combination is written once and taken."""
    epochs, codes = (pc.dictionary_encode(pa.array(column)) for column in (epoch, quality))
    table = [
        f"quality={code}i,epoch={epoch}i,sequence="
        for epoch in epochs.dictionary.tolist()
        for code in codes.dictionary.tolist()
    ]
    which = pc.add(pc.multiply(epochs.indices, len(codes.dictionary)), codes.indices)
    return pa.array(table, pa.string()).take(which)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _clamped(value: float) -> float:
    """InfluxDB has no infinity; the largest float sorts the same. NaN becomes 0."""
    return max(-sys.float_info.max, min(sys.float_info.max, value)) if not math.isnan(value) else 0.0
