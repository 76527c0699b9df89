"""Bytes to a frame: the plain reference decoder. The hub uses decode_compiled, which must agree with this one."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from streams.frames import layout
from streams.frames.fault import Fault, refuse
from streams.frames.frame import Block, Column, Frame, Kind
from streams.frames.header import Bytes, FrameHeader, read_body, read_header
from streams.frames.reader import Reader
from streams.frames.varint import wrap


def decode(data: Bytes) -> Frame:
    """Read a whole frame. Values come back as lists, all-good qualities as None. Raises FrameError."""
    header = read_header(data)
    blocks = _blocks(Reader(read_body(data, header)), header)
    return Frame(header.epoch, header.sequence, header.manifest, header.clock_quality, blocks)


def _blocks(reader: Reader, header: FrameHeader) -> list[Block]:
    blocks: list[Block] = []
    left, columns_left = header.count, layout.COLUMNS_MAX
    unit, reference = -1, 0
    while reader.at < reader.stop:
        if len(blocks) == layout.BLOCKS_MAX:
            raise refuse(Fault.BLOCKS)
        rows, columns = reader.unsigned(), reader.unsigned()
        left -= _checked_size(rows, columns, left, columns_left)
        columns_left -= columns
        times: list[int] = []
        if rows:
            previous, unit = unit, reader.byte()
            if unit not in layout.TIME_UNITS:
                raise refuse(Fault.UNIT)
            offset = reference if unit == previous else 0
            ticks = [wrap(tick + offset) for tick in reader.integers(rows)]
            reference = ticks[0]
            times = [wrap(tick * 10**unit) for tick in ticks]
        blocks.append(Block(times, [_column(reader, rows) for _ in range(columns)]))
    if left:
        raise refuse(Fault.COUNT)
    return blocks


def _checked_size(rows: int, columns: int, left: int, columns_left: int) -> int:
    if rows > layout.ROWS_MAX:
        raise refuse(Fault.ROWS)
    if columns > columns_left:
        raise refuse(Fault.COLUMNS)
    if rows and not columns:
        raise refuse(Fault.NO_COLUMNS)
    if rows * columns > left:
        raise refuse(Fault.COUNT)
    return rows * columns


def _column(reader: Reader, rows: int) -> Column:
    series, tag = reader.unsigned(), reader.byte()
    if series > layout.SERIES_MAX:
        raise refuse(Fault.SERIES)
    encoding = tag & layout.TAG_MASK
    kind, read = _reading(encoding)
    patched = bool(tag & layout.PATCHED)
    if patched and kind not in (Kind.FLOAT64, Kind.FLOAT32):
        raise refuse(Fault.TAG)
    if not rows:
        if tag != encoding:
            raise refuse(Fault.TAG)
        return Column(series, kind, [])
    values = read(reader, rows, encoding)
    if patched:
        _patch(reader, values, kind)
    quality = _quality(reader, rows) if tag & layout.QUALIFIED else None
    return Column(series, kind, values, quality)


def _reading(encoding: int) -> tuple[Kind, Callable[[Reader, int, int], list[Any]]]:
    """The kind of an encoding, and the function that reads its values."""
    if encoding < layout.CORRECTED:
        return Kind.FLOAT64, _decimals
    if encoding <= layout.SIXTIETHS + layout.SIXTIETHS_DIGITS_MAX - layout.SIXTIETHS_DIGITS_MIN:
        return Kind.FLOAT64, _corrected
    if layout.FLOAT32_DECIMAL <= encoding <= layout.FLOAT32_DECIMAL + layout.FLOAT32_DIGITS_MAX:
        return Kind.FLOAT32, _float32_decimals
    if encoding not in _OTHERS:
        raise refuse(Fault.TAG)
    return _OTHERS[encoding]


def _decimals(reader: Reader, rows: int, encoding: int) -> list[float]:
    divisor = layout.divisor_of(encoding)
    return [integer / divisor for integer in reader.integers(rows)]


def _corrected(reader: Reader, rows: int, encoding: int) -> list[float]:
    values = _decimals(reader, rows, encoding)
    return _plus(values, reader.integers(rows))


def _steps(reader: Reader, rows: int, encoding: int) -> list[float]:
    (step,) = struct.unpack("<d", reader.take(8))
    if not (math.isfinite(step) and step > 0):
        raise refuse(Fault.STEP)
    values = [integer * step for integer in reader.integers(rows)]
    return _plus(values, reader.integers(rows)) if encoding == layout.STEP_CORRECTED else values


def _plus(values: Sequence[float], corrections: Sequence[int]) -> list[float]:
    patterns = struct.unpack(f"<{len(values)}q", struct.pack(f"<{len(values)}d", *values))
    return _floats([pattern + correction for pattern, correction in zip(patterns, corrections)])


def _floats(patterns: Sequence[int]) -> list[float]:
    return list(struct.unpack(f"<{len(patterns)}d", struct.pack(f"<{len(patterns)}q", *map(wrap, patterns))))


def _patterns(reader: Reader, rows: int, encoding: int) -> list[float]:
    return _floats(reader.integers(rows))


def _split(reader: Reader, rows: int, encoding: int) -> list[float]:
    exponents = reader.integers(rows)
    if min(exponents) < 0 or max(exponents) > 255:
        raise refuse(Fault.EXPONENT)
    rest = reader.take(3 * rows)
    signed_mantissas = [int.from_bytes(rest[at : at + 3], "little") for at in range(0, 3 * rows, 3)]
    return [
        widened(bits >> 23 << 31 | exponent << 23 | bits & 0x7FFFFF)
        for exponent, bits in zip(exponents, signed_mantissas)
    ]


def _narrow_patterns(reader: Reader, rows: int, encoding: int) -> list[float]:
    patterns = reader.integers(rows)
    if min(patterns) < 0 or max(patterns) >> 32:
        raise refuse(Fault.FLOAT32)
    return [widened(pattern) for pattern in patterns]


def widened(pattern: int) -> float:
    """The float64 that equals a float32 pattern; a NaN keeps its sign and payload."""
    sign, exponent, mantissa = pattern >> 31, pattern >> 23 & 255, pattern & 0x7FFFFF
    if exponent == 0:
        return math.copysign(mantissa * 2.0**-149, -1.0 if sign else 1.0)
    wide = 2047 if exponent == 255 else exponent + 896
    return _floats([sign << 63 | wide << 52 | mantissa << 29])[0]


def _float32_decimals(reader: Reader, rows: int, encoding: int) -> list[float]:
    divisor = layout.POWERS[encoding - layout.FLOAT32_DECIMAL]
    integers = reader.integers(rows)
    return list(struct.unpack(f"<{rows}f", struct.pack(f"<{rows}f", *[integer / divisor for integer in integers])))


def _int64s(reader: Reader, rows: int, encoding: int) -> list[int]:
    return reader.integers(rows)


def _bools(reader: Reader, rows: int, encoding: int) -> list[bool]:
    integers = reader.integers(rows)
    if min(integers) < 0 or max(integers) > 1:
        raise refuse(Fault.BOOL)
    return [integer == 1 for integer in integers]


def _texts(reader: Reader, rows: int, encoding: int) -> list[str]:
    size = reader.unsigned()
    if not 1 <= size <= rows:
        raise refuse(Fault.DICTIONARY)
    dictionary = [_text(reader) for _ in range(size)]
    words = reader.integers(rows)
    if min(words) < 0 or max(words) >= size:
        raise refuse(Fault.WORD)
    return [dictionary[word] for word in words]


def _text(reader: Reader) -> str:
    size = reader.unsigned()
    if size > layout.TEXT_BYTES_MAX:
        raise refuse(Fault.TEXT)
    try:
        return reader.take(size).decode()
    except UnicodeDecodeError:
        raise refuse(Fault.TEXT) from None


def _patch(reader: Reader, values: list[float], kind: Kind) -> None:
    """Put the values that no integer stands for (-0.0, NaN, infinities) in their places, bit by bit."""
    marks = reader.integers(len(values))
    if min(marks) < 0 or max(marks) > layout.MARK_LITERAL:
        raise refuse(Fault.PATCH)
    for row, mark in enumerate(marks):
        if mark == layout.MARK_LITERAL:
            values[row] = _literal(reader, kind)
        elif mark:
            values[row] = _MARKED[mark]


def _literal(reader: Reader, kind: Kind) -> float:
    if kind == Kind.FLOAT32:
        return widened(int.from_bytes(reader.take(4), "little"))
    return _floats([int.from_bytes(reader.take(8), "little")])[0]


def _quality(reader: Reader, rows: int) -> bytes | None:
    qualities = reader.integers(rows)
    if min(qualities) < 0 or max(qualities) > 2:
        raise refuse(Fault.QUALITY)
    return bytes(qualities) if any(qualities) else None


_OTHERS: dict[int, tuple[Kind, Callable[[Reader, int, int], list[Any]]]] = {
    layout.STEP: (Kind.FLOAT64, _steps),
    layout.STEP_CORRECTED: (Kind.FLOAT64, _steps),
    layout.NARROW_SPLIT: (Kind.FLOAT64, _split),
    layout.NARROW_PATTERN: (Kind.FLOAT64, _narrow_patterns),
    layout.PATTERN: (Kind.FLOAT64, _patterns),
    layout.FLOAT32_SPLIT: (Kind.FLOAT32, _split),
    layout.FLOAT32_PATTERN: (Kind.FLOAT32, _narrow_patterns),
    layout.INT64: (Kind.INT64, _int64s),
    layout.BOOL: (Kind.BOOL, _bools),
    layout.TEXT: (Kind.TEXT, _texts),
}

_MARKED = {mark: _floats([pattern])[0] for pattern, mark in layout.MARKED_PATTERNS.items()}
