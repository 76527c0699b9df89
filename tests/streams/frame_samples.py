"""Frames for tests: comparable bit by bit, made by hypothesis, damaged on purpose."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from streams.frames import KINDS, Block, ClockQuality, Column, Frame, Kind, to_float32
from streams.frames.decode import widened
from streams.frames.decode_compiled import Decoded

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
Row = tuple[int, str, int, object, int]  # series, kind, time, value as bits, quality


def exact(value: Any) -> object:
    """Equal only for the same bits: NaN payloads and -0.0 count, and True is not 1."""
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


def rows(frame: Frame) -> list[Row]:
    """Every reading of a frame, in the order of the sequence numbers."""
    return [
        (column.series, str(column.kind), time_ns, exact(value), column.quality[row] if column.quality else 0)
        for block in frame.blocks
        for column in block.columns
        for row, (time_ns, value) in enumerate(zip(block.times_ns, column.values))
    ]


def decoded_rows(decoded: Decoded, frame: int) -> list[Row]:
    """The same from the compiled decoder, for one of its frames."""
    return list(_decoded_rows(decoded, int(decoded.row_start[frame]), int(decoded.row_start[frame + 1]), frame))


def _decoded_rows(decoded: Decoded, start: int, stop: int, frame: int) -> Iterator[Row]:
    for row in range(start, stop):
        assert decoded.frame[row] == frame
        kind = KINDS[decoded.kind[row]]
        value, integer, text = float(decoded.value[row]), int(decoded.integer[row]), int(decoded.text[row])
        found: Any = value
        if kind in (Kind.FLOAT64, Kind.FLOAT32):
            assert integer == 0
        elif kind == Kind.TEXT:
            assert math.isnan(value) and integer == 0
            found = decoded.texts[text]
        else:
            assert value == float(integer)
            found = bool(integer) if kind == Kind.BOOL else integer
        assert (text == -1) == (kind != Kind.TEXT)
        yield int(decoded.series[row]), str(kind), int(decoded.time_ns[row]), exact(found), int(decoded.quality[row])


def simple(kind: str, values: Any, quality: bytes | None = None, *, start_ns: int = 1_790_000_000 * 10**9) -> Frame:
    """A frame of one column, one reading a second."""
    times_ns = [start_ns + row * 10**9 for row in range(len(values))]
    blocks = [Block(times_ns, [Column(3, kind, values, quality)])]
    return Frame(1_790_000_000, 1000, 0xCAFEF00D, ClockQuality.SYNCHRONISED, blocks)


def resealed(data: bytes) -> bytes:
    """The same bytes with a checksum that is right: what a faulty or hostile device could send."""
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")


def sealed(body: bytes, *, count: int, flags: int = 0, epoch: int = 1, sequence: int = 0) -> bytes:
    """A frame around hand-made blocks; numbers below 128."""
    return resealed(
        b"\xfeP\x01" + bytes([flags]) + bytes(4) + bytes([epoch, sequence]) + uvarint(count) + body + bytes(4)
    )


def uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


_patterns = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", bits.to_bytes(8, "little"))[0])
_odd_floats = st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, -5e-324, 1.7976931348623157e308, 0.1])
_numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(10**6), 10**6),
    st.sampled_from([INT64_MIN, INT64_MAX, INT64_MIN + 1, 2**53 + 1, 2**60, -(2**60), 2**34, 2**36]),
    st.integers(INT64_MIN, INT64_MAX),
)


def _floats64(size: int) -> st.SearchStrategy[list[float]]:
    """Columns as sensors make them, with a few odd values, and columns of anything."""
    counts = st.lists(st.integers(-5000, 5000), min_size=size, max_size=size)
    scale = st.sampled_from([1, 10, 100, 16, 4096, 1e7, 60e5, 1 / 3.3, 1e15, 1e-3])
    steady = st.builds(
        lambda found, by, base: [base + count / by for count in found], counts, scale, st.floats(-99, 99)
    )
    plain = st.builds(lambda found, by: [count / by for count in found], counts, scale)
    stepped = st.builds(
        lambda found, by: [count * by for count in found], counts, st.sampled_from([3.3 / 4096, 1e-9, 0.07])
    )
    wild = st.lists(st.one_of(_patterns, _odd_floats, st.floats(width=32)), min_size=size, max_size=size)
    odd = st.lists(st.tuples(st.integers(0, max(0, size - 1)), st.one_of(_odd_floats, _patterns)), max_size=3)
    return st.builds(_with, st.one_of(plain, steady, stepped, wild), odd if size else st.just([]))


def _floats32(size: int) -> st.SearchStrategy[list[float]]:
    any_pattern = st.integers(0, 2**32 - 1).map(widened)
    decimal = st.integers(-9999, 9999).map(lambda count: to_float32(count / 100))
    kinds = (any_pattern, decimal, st.floats(0.25, 0.5, width=32))
    odd = st.lists(
        st.tuples(st.integers(0, max(0, size - 1)), st.one_of(_odd_floats.map(to_float32), any_pattern)), max_size=3
    )
    columns = st.one_of(*[st.lists(kind, min_size=size, max_size=size) for kind in kinds])
    return st.builds(_with, columns, odd if size else st.just([]))


def _with(values: list[float], odd: list[tuple[int, float]]) -> list[float]:
    for row, value in odd:
        values[row] = value
    return values


def _integers(size: int) -> st.SearchStrategy[list[int]]:
    near = st.lists(st.integers(-50, 50), min_size=size, max_size=size)
    line = st.builds(
        lambda noise, base, slope: [_clip(base + row * slope + x) for row, x in enumerate(noise)],
        near, _numbers, st.sampled_from([0, 1, -7, 1000, 10**12]),
    )  # fmt: skip
    scaled = st.builds(lambda noise, by: [x * by for x in noise], near, st.sampled_from([2, 625, 4096, 10**15]))
    curve = st.builds(lambda noise: [row * row * 1000 + x % 2 for row, x in enumerate(noise)], near)
    return st.one_of(line, scaled, curve, st.lists(_numbers, min_size=size, max_size=size))


def _clip(number: int) -> int:
    return max(INT64_MIN, min(INT64_MAX, number))


def columns(size: int) -> st.SearchStrategy[Column]:
    """A column of `size` rows, of any kind."""
    by_kind: dict[Kind, st.SearchStrategy[list[Any]]] = {
        Kind.FLOAT64: _floats64(size),
        Kind.FLOAT32: _floats32(size),
        Kind.INT64: _integers(size),
        Kind.BOOL: st.lists(st.booleans(), min_size=size, max_size=size),
        Kind.TEXT: st.lists(
            st.one_of(st.sampled_from(["on", "off", ""]), st.text(max_size=9)), min_size=size, max_size=size
        ),
    }
    quality = st.one_of(st.none(), st.lists(st.integers(0, 2), min_size=size, max_size=size).map(_quality))
    return st.one_of(
        *[st.builds(Column, st.integers(0, 65535), st.just(kind), values, quality) for kind, values in by_kind.items()]
    )


def _quality(values: list[int]) -> bytes | None:
    return bytes(values) if any(values) else None


def _times(size: int) -> st.SearchStrategy[list[int]]:
    steps = st.lists(st.integers(-5, 100), min_size=size, max_size=size)
    regular = st.builds(
        lambda start, unit, found: [start * unit + sum(found[:row]) * unit for row in range(size)],
        st.integers(0, 10**9), st.sampled_from([1, 10**3, 10**6, 10**9]), steps,
    )  # fmt: skip
    return st.one_of(regular, st.lists(_numbers, min_size=size, max_size=size))


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """A block of up to 40 rows."""
    size = draw(st.one_of(st.integers(0, 4), st.integers(5, 40)))
    times_ns = draw(_times(size))
    return Block(times_ns, draw(st.lists(columns(size), min_size=1, max_size=3)))


def frames() -> st.SearchStrategy[Frame]:
    """Frames of every kind of column, with odd values, odd times and empty parts."""
    return st.builds(
        Frame,
        st.integers(0, INT64_MAX),
        st.integers(0, 2**62),
        st.integers(0, 2**32 - 1),
        st.sampled_from(ClockQuality),
        st.lists(blocks(), max_size=3),
    )
