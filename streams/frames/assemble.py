"""A frame as bytes: what both encoders share. Checks first, then header, blocks, checksum."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from streams.errors import MisuseError
from streams.frames import layout
from streams.frames.floats import Encoded, FloatValues, Ints, encode_float32, encode_float64, encode_raw
from streams.frames.frame import Block, Column, Frame, Kind
from streams.frames.packing import Hints, column_key, time_key
from streams.frames.values import bools, narrowed, not_float32, texts
from streams.frames.varint import put_unsigned

Floats = Any
"""Floats in the encoder's own form: a list, or a numpy array."""

LITERAL_PART = 4
"""At most one value in so many is a literal; with more, the column is written as patterns."""

_EMPTY: dict[str, int] = {
    Kind.FLOAT64: layout.DECIMAL,
    Kind.FLOAT32: layout.FLOAT32_DECIMAL,
    Kind.INT64: layout.INT64,
    Kind.BOOL: layout.BOOL,
    Kind.TEXT: layout.TEXT,
}
_RAW = frozenset(
    {
        layout.NARROW_SPLIT,
        layout.NARROW_PATTERN,
        layout.PATTERN,
        layout.FLOAT32_SPLIT,
        layout.FLOAT32_PATTERN,
    }
)


class Backend(Protocol):
    """What an encoder does with numbers. `series` is for error messages; -1 stands for the times."""

    def integers(self, values: Sequence[Any], series: int) -> Ints:
        """Checked int64 values in the encoder's own form. Raises MisuseError."""
        ...

    def floats(self, values: Sequence[Any], series: int) -> Floats:
        """Checked float values in the encoder's own form. Raises MisuseError."""
        ...

    def put_integers(self, out: bytearray, values: Ints, hints: Hints | None, key: int, *, wide: bool) -> None:
        """Append an integer column. `key` is that of its hint; not `wide`: all values are below 2**54."""
        ...

    def put_times(
        self, out: bytearray, times: Ints, unit: int, reference: int, hints: Hints | None, key: int
    ) -> tuple[int, int]:
        """Append unit and time column, relative to `reference` if the unit is `unit`; returns the new pair."""
        ...

    def special_rows(self, values: Floats) -> list[int]: ...

    def without(self, values: Floats, rows: list[int]) -> Floats:
        """The values, with those of `rows` (not all) replaced by plain neighbours."""
        ...

    def pattern(self, values: Floats, row: int) -> int:
        """The unsigned float64 pattern of one value."""
        ...

    def columns(self, values: Floats) -> FloatValues: ...


def assemble(
    frame: Frame,
    choose: Callable[[int], Backend],
    hints: Hints | None,
    resolutions: Mapping[int, float] | None,
    deflate: bool,
) -> bytes:
    """The bytes of a frame; `choose` names the backend for a block of so many rows.

    Raises MisuseError when the frame cannot be one.
    """
    _check_frame(frame)
    body = bytearray()
    writer = _Writer(choose, hints, resolutions or {})
    for number, block in enumerate(frame.blocks):
        _check_block(block, number)
        writer.put_block(body, block, number)
    if len(body) > layout.BODY_BYTES_MAX:
        raise MisuseError(f"the columns take {len(body)} bytes, the most is {layout.BODY_BYTES_MAX}; split the frame")
    return _closed(frame, body, deflate)


def _closed(frame: Frame, body: bytearray, deflate: bool) -> bytes:
    """Header, body, checksum."""
    flags = int(frame.clock_quality)
    if deflate:
        smaller = bytearray()
        put_unsigned(smaller, len(body))
        deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
        smaller += deflater.compress(body) + deflater.flush()
        if len(smaller) < len(body):
            body, flags = smaller, flags | layout.FLAG_DEFLATED
    out = bytearray(layout.MAGIC)
    out += bytes((layout.VERSION, flags))
    out += frame.manifest.to_bytes(4, "little")
    for number in (frame.epoch, frame.sequence, frame.count):
        put_unsigned(out, number)
    out += body
    out += zlib.crc32(out).to_bytes(layout.CRC_BYTES, "little")
    if len(out) > layout.FRAME_BYTES_MAX:
        raise MisuseError(f"the frame takes {len(out)} bytes, the most is {layout.FRAME_BYTES_MAX}; split it")
    return bytes(out)


def _check_frame(frame: Frame) -> None:
    for name, number, most in (
        ("epoch", frame.epoch, layout.NUMBER_MAX),
        ("sequence", frame.sequence, layout.NUMBER_MAX - frame.count),
        ("manifest", frame.manifest, (1 << 32) - 1),
        ("clock_quality", frame.clock_quality, layout.FLAG_CLOCK),
    ):
        if not isinstance(number, int) or not 0 <= number <= most:
            raise MisuseError(f"{name} {number!r} of a frame is not a whole number from 0 to {most}")
    for name, number, most in (
        ("readings", frame.count, layout.READINGS_MAX),
        ("blocks", len(frame.blocks), layout.BLOCKS_MAX),
        ("columns", sum(len(block.columns) for block in frame.blocks), layout.COLUMNS_MAX),
    ):
        if number > most:
            raise MisuseError(f"{number} {name} in a frame, the most is {most}; split it")


def _check_block(block: Block, number: int) -> None:
    rows, columns = len(block.times_ns), len(block.columns)
    if rows > layout.ROWS_MAX:
        raise MisuseError(f"block {number} has {rows} rows, the most is {layout.ROWS_MAX}; split it")
    if rows and not columns:
        raise MisuseError(f"block {number} has {rows} times and no columns; leave it out")
    for column in block.columns:
        if len(column.values) != rows:
            raise MisuseError(f"series {column.series} has {len(column.values)} values for {rows} times; give one each")
        _check_series(column.series)
        if column.kind not in _EMPTY:
            raise MisuseError(f"series {column.series}: {column.kind!r} is not a type; use one of {', '.join(Kind)}")
        if column.quality is not None:
            _check_quality(column, rows)


def _check_series(series: Any) -> None:
    if not isinstance(series, int) or not 0 <= series <= layout.SERIES_MAX:
        raise MisuseError(f"series {series!r} is not a whole number from 0 to {layout.SERIES_MAX}")


def _check_quality(column: Column, rows: int) -> None:
    quality = bytes(column.quality or b"")
    if len(quality) != rows:
        raise MisuseError(f"series {column.series} has {len(quality)} qualities for {rows} times; give one each")
    if max(quality, default=0) > 2:
        raise MisuseError(f"series {column.series}: quality {max(quality)} is not 0 (good), 1 (uncertain) or 2 (bad)")


class _Writer:
    """Writes blocks one after the other; remembers the time reference between them."""

    def __init__(self, choose: Callable[[int], Backend], hints: Hints | None, resolutions: Mapping[int, float]) -> None:
        self._choose = choose
        self._backend = choose(0)
        self._hints = hints
        self._resolutions = resolutions
        self._unit, self._reference = -1, 0

    def put_block(self, out: bytearray, block: Block, number: int) -> None:
        self._backend = self._choose(len(block.times_ns))
        put_unsigned(out, len(block.times_ns))
        put_unsigned(out, len(block.columns))
        if len(block.times_ns):
            times = self._backend.integers(block.times_ns, -1)
            self._unit, self._reference = self._backend.put_times(
                out, times, self._unit, self._reference, self._hints, time_key(number)
            )
        for column in block.columns:
            self._put_column(out, column)

    def _put_column(self, out: bytearray, column: Column) -> None:
        put_unsigned(out, column.series)
        place = len(out)
        kind = column.kind
        out.append(_EMPTY[kind])
        if not len(column.values):
            return
        if kind in (Kind.FLOAT64, Kind.FLOAT32):
            self._put_floats(out, column, kind == Kind.FLOAT32)
        elif kind == Kind.INT64:
            integers = self._backend.integers(column.values, column.series)
            self._backend.put_integers(out, integers, self._hints, column_key(column.series, 0), wide=True)
        elif kind == Kind.BOOL:
            self._put_list(out, list(map(int, bools(column.values, column.series))), column_key(column.series, 0))
        else:
            self._put_texts(out, texts(column.values, column.series), column.series)
        if column.quality is not None and any(column.quality):
            out[place] |= layout.QUALIFIED
            self._put_list(out, list(column.quality), column_key(column.series, 3))

    def _put_list(self, out: bytearray, values: list[int], key: int) -> None:
        self._backend.put_integers(out, self._backend.integers(values, -1), self._hints, key, wide=False)

    def _put_floats(self, out: bytearray, column: Column, float32: bool) -> None:
        values = self._backend.floats(column.values, column.series)
        if float32:
            self._check_float32(values, column)
        marks = self._marks(values)
        place = len(out) - 1
        encoded = None
        if len(_literals(marks)) * LITERAL_PART <= len(column.values) and len(marks) < len(column.values):
            encoded = self._plain(self._backend.without(values, list(marks)) if marks else values, column, float32)
        if encoded is None or (marks and encoded.tag in _RAW):
            marks, encoded = {}, encode_raw(self._backend.columns(values), self._size, float32=float32)
        out[place] = encoded.tag | (layout.PATCHED if marks else 0)
        self._put_encoded(out, encoded, self._hints, column.series)
        if marks:
            self._put_patches(out, values, marks, column)

    def _marks(self, values: Floats) -> dict[int, int]:
        """The marks of the rows that hold -0.0, NaN or an infinity."""
        patterns = {row: self._backend.pattern(values, row) for row in self._backend.special_rows(values)}
        return {row: layout.MARKED_PATTERNS.get(pattern, layout.MARK_LITERAL) for row, pattern in patterns.items()}

    def _plain(self, values: Floats, column: Column, float32: bool) -> Encoded:
        columns = self._backend.columns(values)
        if float32:
            return encode_float32(columns, hints=self._hints, series=column.series, size=self._size)
        resolution = self._resolutions.get(column.series)
        if resolution is not None and not 0 < resolution < math.inf:
            raise MisuseError(f"series {column.series}: resolution {resolution!r} is not a finite number above 0")
        return encode_float64(columns, hints=self._hints, series=column.series, resolution=resolution, size=self._size)

    def _check_float32(self, values: Floats, column: Column) -> None:
        if self._backend.columns(values).narrow() is not None:
            return
        singles = (self._backend.columns(values[row : row + 1]).narrow() for row in range(len(values)))
        row = next(row for row, single in enumerate(singles) if single is None)
        raise not_float32(float(values[row]), row, column.series)

    def _put_encoded(self, out: bytearray, encoded: Encoded, hints: Hints | None, series: int) -> None:
        out += encoded.prefix
        wide = encoded.tag == layout.PATTERN
        for part, integers in enumerate(encoded.columns):
            self._backend.put_integers(out, integers, hints, column_key(series, part), wide=wide)
        out += encoded.suffix

    def _size(self, encoded: Encoded) -> int:
        out = bytearray()
        self._put_encoded(out, encoded, None, 0)
        return len(out)

    def _put_patches(self, out: bytearray, values: Floats, marks: dict[int, int], column: Column) -> None:
        self._put_list(out, [marks.get(row, 0) for row in range(len(values))], column_key(column.series, 2))
        for row in _literals(marks):
            pattern = self._backend.pattern(values, row)
            if column.kind == Kind.FLOAT32:
                narrow = narrowed(pattern)
                assert narrow is not None
                out += narrow.to_bytes(4, "little")
            else:
                out += pattern.to_bytes(8, "little")

    def _put_texts(self, out: bytearray, values: list[str], series: int) -> None:
        words = dict.fromkeys(values)
        put_unsigned(out, len(words))
        for text in words:
            encoded = _utf8(text, series)
            put_unsigned(out, len(encoded))
            out += encoded
        places = {text: place for place, text in enumerate(words)}
        self._put_list(out, [places[text] for text in values], column_key(series, 0))


def _literals(marks: dict[int, int]) -> list[int]:
    return [row for row, mark in marks.items() if mark == layout.MARK_LITERAL]


def _utf8(text: str, series: int) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise MisuseError(f"series {series}: {text[:40]!r} cannot be UTF-8 ({error.reason}); mend the text") from None
    if len(encoded) > layout.TEXT_BYTES_MAX:
        raise MisuseError(f"series {series}: a text of {len(encoded)} bytes, the most is {layout.TEXT_BYTES_MAX}")
    return encoded
