"""Makes the test vectors of the frame format: python -m tests.vectors.make_frames

accepted.json: bytes and what they say; `encoded` tells whether our encoder makes exactly these bytes of it.
refused.json: bytes that every reader must refuse, and our sentence for it.
Floats are written as their 64-bit patterns (a float32 column: as 32-bit patterns), so that every bit can be compared.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streams.frames import Block, ClockQuality, Column, Frame, FrameError, Kind, decode, encode, to_float32
from streams.frames.decode import widened
from streams.frames.values import narrowed

FOLDER = Path(__file__).with_name("frames")
START_NS = 1_790_000_000_000_000_000
NAN = math.nan


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, vectors in (("accepted", accepted()), ("refused", refused())):
        (FOLDER / f"{name}.json").write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")


def accepted() -> list[dict[str, Any]]:
    """Every vector that must be read."""
    made = [(name, encode(frame), True) for name, frame in _frames()]
    words = _one(Kind.TEXT, [f"state of pump number {row}" for row in range(12)])
    made.append(("deflated text", encode(words, deflate=True), False))  # deflate has no canonical form
    made += [(name, data, False) for name, data in _handmade()]
    return [
        {"name": name, "bytes": data.hex(), "encoded": encoded, "frame": described(decode(data))}
        for name, data, encoded in made
    ]


def refused() -> list[dict[str, Any]]:
    """Every vector that must be refused."""
    return [{"name": name, "bytes": data.hex(), "sentence": _sentence(data)} for name, data in _damaged()]


def described(frame: Frame) -> dict[str, Any]:
    """A frame as JSON; numbers that may be over 2**53 as text."""
    return {
        "epoch": str(frame.epoch),
        "sequence": str(frame.sequence),
        "manifest": frame.manifest,
        "clock_quality": frame.clock_quality.name,
        "blocks": [
            {"times_ns": [str(time_ns) for time_ns in block.times_ns], "columns": [_column(c) for c in block.columns]}
            for block in frame.blocks
        ],
    }


def _column(column: Column) -> dict[str, Any]:
    values: list[Any] = list(column.values)
    if column.kind == Kind.FLOAT64:
        values = [struct.pack(">d", value).hex() for value in values]
    elif column.kind == Kind.FLOAT32:
        values = [f"{narrowed(int.from_bytes(struct.pack('>d', value), 'big')):08x}" for value in values]
    elif column.kind == Kind.INT64:
        values = [str(value) for value in values]
    quality = None if column.quality is None else list(column.quality)
    return {"series": column.series, "kind": str(column.kind), "values": values, "quality": quality}


def _sentence(data: bytes) -> str:
    try:
        decode(data)
    except FrameError as error:
        return str(error)
    raise AssertionError(f"{data.hex()} is not refused")


def _frame(*blocks: Block, clock: ClockQuality = ClockQuality.SYNCHRONISED) -> Frame:
    return Frame(1_790_000_000, 41, 0x1234ABCD, clock, blocks)


def _one(kind: Kind, values: list[Any], quality: bytes | None = None, *, step_ns: int = 10**9) -> Frame:
    return _frame(Block([START_NS + row * step_ns for row in range(len(values))], [Column(7, kind, values, quality)]))


def _frames() -> Iterator[tuple[str, Frame]]:
    """What our encoder writes."""
    yield "no blocks", _frame()
    yield (
        "the largest numbers",
        Frame(2**63 - 1, 2**63 - 2, 2**32 - 1, ClockQuality.CORRECTED, _one(Kind.BOOL, [True]).blocks),
    )
    for clock in ClockQuality:
        yield f"clock {clock.name.lower()}", _frame(clock=clock)
    for kind in Kind:
        yield f"empty column of {kind}", _frame(Block([], [Column(1, kind, []), Column(65535, kind, [])]))
    yield from _float_frames()
    yield "int64 extremes", _one(Kind.INT64, [-(2**63), 2**63 - 1, 0, -1, 1])
    yield "int64 constant", _one(Kind.INT64, [-5] * 9)
    yield "int64 counter", _one(Kind.INT64, [1000, 1003, 1005, 1010, 1012, 1017, 1020, 1022])
    yield "int64 multiples of 4096", _one(Kind.INT64, [4096 * x for x in (9, 7, 8, 9, 3, 12, 8)])
    yield "int64 with an outlier (escape)", _one(Kind.INT64, [3, 1, 2, 10**12, 2, 0, 1, 3] * 4)
    yield "bool", _one(Kind.BOOL, [False, False, True, True, True, False, True, False, False])
    yield "text", _one(Kind.TEXT, ["on", "off", "on", "", "läuft 😀", "on", "nul\0"])
    yield "quality", _one(Kind.FLOAT64, [20.5, 20.6, NAN, 20.4], bytes([0, 1, 2, 0]))
    yield "text with quality", _one(Kind.TEXT, ["a", "b"], bytes([2, 2]))
    yield from _time_frames()
    shared = Block(
        [START_NS, START_NS + 250_000_000],
        [Column(1, Kind.FLOAT64, [20.25, 20.5]), Column(2, Kind.BOOL, [True, False])],
    )
    yield "blocks with and without columns in common", _frame(shared, Block([], []), shared)


def _float_frames() -> Iterator[tuple[str, Frame]]:
    yield "float64 decimals", _one(Kind.FLOAT64, [21.37, 21.4, 21.38, 21.41, 21.5, 21.39, -0.01, 0.0])
    yield "float64 one value", _one(Kind.FLOAT64, [1013.25])
    yield "float64 steps of 1/16", _one(Kind.FLOAT64, [x / 16 for x in (336, 337, 335, 340, 338)])
    yield "float64 decimals with dirt", _one(Kind.FLOAT64, [74.93588199999998, 74.935882, 74.93588200000002, 74.9])
    yield "float64 decimals off by a bit or two", _one(Kind.FLOAT64, [x * 0.1 for x in (3, 6, 7, 9, 12, 14, 2)])
    yield (
        "float64 minutes as degrees",
        _one(Kind.FLOAT64, [11 + x / 60 for x in (34.51231, 34.51233, 34.51228, 34.5124)]),
    )
    yield "float64 converter counts", _one(Kind.FLOAT64, [x * (5.0 / 1023) for x in (512, 513, 511, 509, 700, 698, 3)])
    yield "float64 that float32 holds", _one(Kind.FLOAT64, [to_float32(math.sin(x)) for x in range(1, 9)])
    tiny = [widened(0x37000123 + row * row) for row in range(12)]
    yield "float64 that float32 holds, next to each other", _one(Kind.FLOAT64, tiny)
    yield "float32 next to each other", _one(Kind.FLOAT32, tiny)
    yield "float64 patterns", _one(Kind.FLOAT64, [math.sin(x) for x in range(1, 9)])
    yield (
        "float64 odd values",
        _one(Kind.FLOAT64, [math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, _nan(0x7FF0000000000001)]),
    )
    yield (
        "float64 patched",
        _one(Kind.FLOAT64, [20.5, NAN, -0.0, math.inf, -math.inf, _nan(0xFFF8000000000007), 20.25, 20.5, 20.75]),
    )
    yield "float32 decimals", _one(Kind.FLOAT32, [to_float32(x / 100) for x in (2137, 2140, 2138, -1, 0)])
    yield "float32 noise", _one(Kind.FLOAT32, [to_float32(math.sin(x)) for x in range(1, 9)])
    yield "float32 slow", _one(Kind.FLOAT32, [to_float32(0.1234567 + x * 1e-8) for x in range(12)])
    yield (
        "float32 odd values",
        _one(Kind.FLOAT32, [math.inf, -0.0, 2.0**-149, -(2.0**-127), 3.4028234663852886e38, _nan(0x7FF0000020000000)]),
    )
    yield (
        "float32 patched",
        _one(Kind.FLOAT32, [20.5, 20.25, NAN, -0.0, 20.75, _nan(0xFFF8000040000000), 20.5, 20.5, 21.0]),
    )


def _time_frames() -> Iterator[tuple[str, Frame]]:
    def at(*times_ns: int) -> Block:
        return Block(times_ns, [Column(1, Kind.INT64, [5] * len(times_ns))])

    yield (
        "times jittered in milliseconds",
        _frame(at(*[START_NS + x * 10**6 for x in (0, 1003, 1998, 3001, 4000, 5007)])),
    )
    yield "times that go back", _frame(at(START_NS, START_NS + 5, START_NS - 7_000_000_003, START_NS))
    yield "times before 1970 and the extremes", _frame(at(-1, -(2**63), 2**63 - 1, 0))
    yield "times that accelerate", _frame(at(*[START_NS + x * x * 1000 for x in range(9)]))
    yield (
        "blocks in one unit and then another",
        _frame(at(START_NS), at(START_NS + 10**9), at(START_NS + 10**6), at(START_NS + 3 * 10**9)),
    )


def _nan(pattern: int) -> float:
    (value,) = struct.unpack("<d", pattern.to_bytes(8, "little"))
    return float(value)


def _handmade() -> Iterator[tuple[str, bytes]]:
    """What a simple encoder may write, and ours does not."""
    yield "plain fixed width: level 0, 64 bits", _sealed(_rows(2) + b"\x3a" + b"\x7c\x00\x40" + _codes(-3, 2**62), 2)
    yield (
        "numbers with leading zero groups",
        _sealed(b"\x81\x00\x81\x00" + b"\x09\x00\x80\x00" + b"\x85\x00\x3a\x00\x82\x80\x00", 1),
    )
    yield "second differences", _sealed(_rows(4) + b"\x3a" + bytes([2 | 1 << 2, 20, 2]) + b"\x03", 4)
    yield "a delta column of one row", _sealed(_rows(1) + b"\x3a" + bytes([1, 20, 2]), 1)
    yield (
        "arithmetic modulo 2**64",
        _sealed(_rows(3) + b"\x3a" + b"\x83" + b"\x03" + b"\xff" * 9 + b"\x01" + b"\x05", 3),
    )
    yield "all-good quality written out", _sealed(_rows(1) + b"\xbb" + b"\x00\x02" + b"\x00\x00", 1)
    yield "an unused dictionary entry", _sealed(_rows(2) + b"\x3c" + b"\x02\x01a\x01b" + b"\x00\x02", 2)


def _damaged() -> Iterator[tuple[str, bytes]]:
    good = encode(_one(Kind.FLOAT64, [21.37, 21.4, 21.38]))
    yield "nothing", b""
    yield "too short", good[:14]
    yield "cut off", good[:-1]
    yield "a bit flipped", good[:30] + bytes([good[30] ^ 4]) + good[31:]
    yield "other magic", _resealed(b"\xfeQ" + good[2:])
    yield "version 2", _resealed(good[:2] + b"\x02" + good[3:])
    yield "unknown flag", _resealed(good[:3] + b"\x0a" + good[4:])
    yield "epoch of 11 bytes", _resealed(good[:8] + b"\x80" * 10 + b"\x01\x00\x00" + bytes(4))
    yield "epoch over 64 bits", _resealed(good[:8] + b"\xff" * 9 + b"\x02\x00\x00" + bytes(4))
    yield "epoch over 63 bits", _resealed(good[:8] + b"\xff" * 9 + b"\x01\x00\x00" + bytes(4))
    yield "sequence past the end", _resealed(good[:8] + b"\x01" + b"\xff" * 8 + b"\x7f" + b"\x01" + good[18:])
    yield "more readings than any frame", _sealed(b"\x01" * 8, 1_048_577)
    yield "more readings than its bytes hold", _sealed(b"\x01\x01\x09", 1)
    yield "fewer readings declared", _sealed(_rows(2) + b"\x3a\x00\x00", 1)
    yield "more readings declared", _sealed(_rows(2) + b"\x3a\x00\x00", 3)
    for name, body in _bad_bodies():
        yield name, _sealed(body, 2)
    for name, body in _bad_inflations():
        yield name, _sealed(body, 2, flags=4)


def _bad_bodies() -> Iterator[tuple[str, bytes]]:
    """Blocks of two readings with one thing wrong."""
    rows = _rows(2)
    yield "ends in a block header", b"\x02"
    yield "ends before a series", rows[:-1]
    yield "ends before a tag", rows
    yield "ends in an integer column", rows + b"\x3a\x01\x00"
    yield "a byte too many", rows + b"\x3a\x00\x00" + b"\x00"
    yield "too many rows", b"\x81\x80\x04\x01" + bytes(8)
    yield "too many columns", b"\x00\x81\x80\x04" + bytes(8)
    yield "too many columns in two blocks", b"\x00\x01\x00\x00" + b"\x00\x80\x80\x04" + bytes(8)
    yield "rows without columns", b"\x02\x00\x09\x00\x00" + rows + b"\x3a\x00\x00"
    yield "unknown time unit", b"\x02\x01\x02\x00\x00\x07\x3a\x00\x00"
    yield "series over 65535", b"\x02\x01\x09\x00\x00\x80\x80\x04\x3a\x00\x00"
    for tag in (43, 46, 58 | 0x40, 61, 62, 63):
        yield f"tag {tag}", rows + bytes([tag, 0, 0])
    yield "an empty column with patches", b"\x00\x01\x07\x40" + rows + b"\x3a\x00\x00"
    yield "fixed width 0", rows + b"\x3a\x7c\x00\x00\x00"
    yield "fixed width 65", rows + b"\x3a\x7c\x00\x41" + bytes(17)
    yield "fixed width past the end", rows + b"\x3a\x7c\x00\x40" + bytes(15)
    yield "25 zeros in a Rice code", rows + b"\x3a\x04\x00" + b"\x00\x00\x00\x02" + bytes(9)
    yield "an escape past the end", rows + b"\x3a\x04\x00" + b"\x00\x00\x00\x01" + bytes(7)
    yield "a Rice code past the end", rows + b"\x3a\x04\x00\x80"
    yield "second differences of one row", b"\x01\x01\x09\x00\x00\x07\x3a\x02\x00\x00" + _rows(1) + b"\x3a\x00\x00"
    yield "factor 1", rows + b"\x3a\x80\x01\x00"
    yield "factor 0", rows + b"\x3a\x80\x00\x00"
    yield "a number over 64 bits", rows + b"\x3a\x00" + b"\xff" * 9 + b"\x03"
    yield "patch mark 6", rows + b"\x40\x00\x00" + b"\x00\x0c"
    yield "patch literal past the end", rows + b"\x40\x00\x00" + b"\x00\x0a" + bytes(15)
    for name, step in (("zero", 0.0), ("negative", -1.0), ("infinite", math.inf), ("NaN", NAN)):
        yield f"step {name}", rows + b"\x26" + struct.pack("<d", step) + b"\x00\x00"
    yield "step past the end", rows + b"\x26" + bytes(7)
    yield "float32 exponent 256", rows + b"\x28\x00\x80\x04" + bytes(6)
    yield "float32 mantissas past the end", rows + b"\x28\x00\x00" + bytes(5)
    yield "float32 pattern of 33 bits", rows + b"\x29\x00\x80\x80\x80\x80\x20"
    yield "bool 2", rows + b"\x3b\x00\x04"
    yield "empty dictionary", rows + b"\x3c\x00\x00\x00"
    yield "dictionary larger than its column", rows + b"\x3c\x03\x00\x00\x00\x00\x00"
    yield "text too long", rows + b"\x3c\x01\x80\x80\x04" + bytes(8)
    yield "text past the end", rows + b"\x3c\x01\x05ab"
    for name, text in (
        ("lone", b"\x80"),
        ("overlong", b"\xc0\x80"),
        ("surrogate", b"\xed\xa0\x80"),
        ("cut", b"\xe2\x82"),
        ("over", b"\xf4\x90\x80\x80"),
    ):
        yield f"text not UTF-8 ({name})", rows + b"\x3c\x01" + bytes([len(text)]) + text + b"\x00\x00"
    yield "word outside the dictionary", rows + b"\x3c\x01\x01a\x00\x02"
    yield "quality 3", rows + b"\xba\x00\x00" + b"\x00\x06"


def _bad_inflations() -> Iterator[tuple[str, bytes]]:
    body = _rows(2) + b"\x3a\x00\x00"
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = deflater.compress(body) + deflater.flush()
    yield "deflated: more bytes than declared", bytes([len(body) - 1]) + deflated
    yield "deflated: fewer bytes than declared", bytes([len(body) + 1]) + deflated
    yield "deflated: cut off", bytes([len(body)]) + deflated[:-2]
    yield "deflated: bytes behind the end", bytes([len(body)]) + deflated + b"\x00"
    yield "deflated: junk", bytes([len(body)]) + b"\xff" * 9
    yield "deflated: over the limit", b"\x81\x80\x40" + deflated
    yield "deflated: nothing", b""
    many = zlib.compressobj(9, zlib.DEFLATED, -15)
    blocks = bytes(2 * 65_537)
    yield "deflated: too many blocks", b"\x82\x80\x08" + many.compress(blocks) + many.flush()


def _rows(count: int) -> bytes:
    """A block of `count` rows and one column: times all 0, then series 7 (tag and payload follow)."""
    return bytes([count, 1, 9, 0, 0, 7])


def _codes(*values: int) -> bytes:
    """Fixed width of 64 bits."""
    return b"".join((value << 1 if value >= 0 else ~(value << 1)).to_bytes(8, "little") for value in values)


def _sealed(body: bytes, count: int, *, flags: int = 0) -> bytes:
    head = bytearray(b"\xfeP\x01") + bytes([flags]) + bytes(4) + b"\x01\x00"
    while count > 127:
        head.append(count & 127 | 128)
        count >>= 7
    return _resealed(bytes(head) + bytes([count]) + body + bytes(4))


def _resealed(data: bytes) -> bytes:
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "little")


if __name__ == "__main__":
    main()
