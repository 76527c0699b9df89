"""What cannot be a frame is refused by both encoders, with a sentence that names the place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from streams.errors import MisuseError
from streams.frames import Block, ClockQuality, Column, Frame, encode, to_float32
from streams.frames.encode_numpy import encode as encode_numpy
from tests.streams.frame_samples import simple


def frame(*blocks: Block, **changes: Any) -> Frame:
    fields = {"epoch": 1, "sequence": 0, "manifest": 0, "clock_quality": ClockQuality.UNKNOWN, "blocks": blocks}
    return Frame(**(fields | changes))


def long(kind: str, value: Any) -> Frame:
    """The value in row 100 of a column that numpy encodes."""
    values: list[Any] = [{"text": "a", "bool": True}.get(kind, 1)] * 200
    values[100] = value
    return simple(kind, values)


@pytest.mark.parametrize("encoder", [encode, encode_numpy], ids=["plain", "numpy"])
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (frame(epoch=-1), r"epoch -1 of a frame is not a whole number from 0"),
        (frame(epoch=1.5), r"epoch 1.5 of a frame"),
        (frame(sequence=2**63), r"sequence 9223372036854775808"),
        (frame(Block([1], [Column(1, "bool", [True])]), sequence=2**63 - 1), r"sequence 9223372036854775807"),
        (frame(manifest=2**32), r"manifest 4294967296"),
        (frame(clock_quality=4), r"clock_quality 4"),
        (frame(Block([1], [])), r"block 0 has 1 times and no columns; leave it out"),
        (frame(Block(range(65_537), [])), r"block 0 has 65537 rows, the most is 65536; split it"),
        (frame(Block([1, 2], [Column(4, "bool", [True])])), r"series 4 has 1 values for 2 times; give one each"),
        (frame(Block([1], [Column(4, "bool", [True], b"")])), r"series 4 has 0 qualities for 1 times"),
        (frame(Block([1], [Column(4, "bool", [True], b"\3")])), r"series 4: quality 3 is not 0 \(good\)"),
        (frame(Block([1], [Column(65_536, "bool", [True])])), r"series 65536 is not a whole number from 0 to 65535"),
        (frame(Block([1], [Column(4, "double", [1.0])])), r"series 4: 'double' is not a type; use one of float64, "),
        (frame(Block([2**63], [Column(4, "bool", [True])])), r"times, row 0: 9223372036854775808 is not a whole"),
        (frame(Block([1.0], [Column(4, "bool", [True])])), r"times, row 0: 1.0 is not a whole number"),
        (long("float64", "3"), r"series 3, row 100: '3' is not a float"),
        (long("float64", None), r"series 3, row 100: None is not a float"),
        (long("float64", True), r"series 3, row 100: True is not a float"),
        (long("float64", 2**53 + 1), r"series 3, row 100: 9007199254740993 is not a number that float64 holds"),
        (long("float64", 10**400), r"series 3, row 100: 10+\.\.\. is not a number that float64 holds"),
        (long("float32", 0.1), r"series 3, row 100: 0.1 is not a float32; round it with to_float32"),
        (long("float32", 1e300), r"series 3, row 100: 1e\+300 is not a float32"),
        (long("int64", 2**63), r"series 3, row 100: 9223372036854775808 is not a whole number of 64 bits"),
        (long("int64", 1.0), r"series 3, row 100: 1.0 is not a whole number"),
        (long("int64", False), r"series 3, row 100: False is not a whole number"),
        (long("bool", 1), r"series 3, row 100: 1 is not True or False"),
        (long("text", b"a"), r"series 3, row 100: b'a' is not a str"),
        (long("text", "\ud800"), r"series 3: '\\ud800' cannot be UTF-8"),
        (long("text", "ü" * 32_768), r"series 3: a text of 65536 bytes, the most is 65535"),
        (simple("text", [f"{row:065000}" for row in range(17)]), r"the columns take \d+ bytes, the most is 1048576"),
    ],
)
def test_a_frame_that_cannot_be(encoder: Callable[..., bytes], wrong: Frame, sentence: str) -> None:
    with pytest.raises(MisuseError, match=sentence):
        encoder(wrong)


@pytest.mark.parametrize("resolution", [0.0, -0.01, math.inf, math.nan])
def test_a_resolution_that_is_none(resolution: float) -> None:
    with pytest.raises(MisuseError, match=r"series 3: resolution .* is not a finite number above 0"):
        encode(simple("float64", [1.0]), resolutions={3: resolution})


def test_more_readings_than_a_frame_takes() -> None:
    columns = [Column(series, "int64", [0] * 65_536) for series in range(17)]
    with pytest.raises(MisuseError, match="1114112 readings in a frame, the most is 1048576; split it"):
        encode(frame(Block(range(65_536), columns)))


def test_more_blocks_and_columns_than_a_frame_takes() -> None:
    empty = Column(1, "bool", [])
    with pytest.raises(MisuseError, match="65537 blocks in a frame, the most is 65536; split it"):
        encode(frame(*[Block([], [])] * 65_537))
    with pytest.raises(MisuseError, match="65537 columns in a frame, the most is 65536; split it"):
        encode(frame(Block([], [empty] * 65_536), Block([], [empty])))
    assert len(encode(frame(Block([], [empty] * 65_536)))) < 1 << 20


def test_whole_numbers_are_taken_for_float64_where_they_are_exact() -> None:
    assert encode(simple("float64", [1, 2.0, 2**60])) == encode(simple("float64", [1.0, 2.0, float(2**60)]))


def test_rounding_to_float32() -> None:
    assert to_float32(0.1) == 0.10000000149011612
    assert to_float32(1e300) == math.inf and to_float32(-1e300) == -math.inf
    assert math.isnan(to_float32(math.nan))
    encode(simple("float32", [to_float32(0.1)]))
