"""What goes into a frame comes out bit by bit, whoever encodes it and whoever decodes it."""

from __future__ import annotations

import math
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.frames import Block, ClockQuality, Column, Frame, Hints, Kind, decode, encode, read_header, to_float32
from streams.frames import encode_numpy as numpy_module
from streams.frames.decode_compiled import batches, decode_many, warm
from streams.frames.encode_numpy import encode as encode_numpy
from tests.streams.frame_samples import INT64_MAX, INT64_MIN, decoded_rows, frames, rows, simple

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def numpy_for_short_columns_too() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_module, "ROWS_MIN", 0)
        yield


@quick
@given(frames(), st.booleans())
def test_every_decoder_gives_back_what_either_encoder_was_given(frame: Frame, deflate: bool) -> None:
    data = encode(frame, deflate=deflate)
    assert encode_numpy(frame, deflate=deflate) == data
    back = decode(data)
    assert rows(back) == rows(frame)
    assert [len(block.times_ns) for block in back.blocks] == [len(block.times_ns) for block in frame.blocks]
    assert back.count == frame.count == read_header(data).count
    decoded = decode_many([data])
    assert not decoded.errors
    assert decoded_rows(decoded, 0) == rows(frame)


@settings(quick, max_examples=20)
@given(frames())
def test_the_header_says_what_the_frame_is(frame: Frame) -> None:
    header = read_header(encode(frame))
    assert (header.epoch, header.sequence, header.manifest) == (frame.epoch, frame.sequence, frame.manifest)
    assert header.clock_quality is frame.clock_quality
    assert header.version == 1


@settings(quick, max_examples=30)
@given(st.lists(frames(), min_size=2, max_size=5))
def test_hints_change_the_speed_and_never_the_readings(some: list[Frame]) -> None:
    plain_hints: Hints = {}
    numpy_hints: Hints = {}
    data = [encode(frame, hints=plain_hints) for frame in some]
    assert [encode_numpy(frame, hints=numpy_hints) for frame in some] == data
    assert numpy_hints == plain_hints
    decoded = decode_many(data)
    assert [decoded_rows(decoded, index) for index in range(len(some))] == [rows(frame) for frame in some]


def test_a_hint_of_another_type_is_not_followed() -> None:
    hints: Hints = {}
    encode(simple(Kind.FLOAT64, [1.5, 2.5, 3.0]), hints=hints)
    back = decode(encode(simple(Kind.FLOAT32, [1.5, 2.5, 3.0]), hints=hints))
    assert back.blocks[0].columns[0].kind == Kind.FLOAT32


def test_after_a_while_a_hint_is_given_up_for_a_better_encoding() -> None:
    hints: Hints = {}
    random_values = [random.Random(1).random() for _ in range(50)]
    encode(simple(Kind.FLOAT64, random_values), hints=hints)
    smooth = simple(Kind.FLOAT64, [20 + row / 100 for row in range(50)])
    sizes = {len(encode(smooth, hints=hints)) for _ in range(100)}
    assert min(sizes) == len(encode(smooth))


def _sensor_values(name: str, dice: random.Random, n: int) -> list[float]:
    makers: dict[str, Callable[[], float]] = {
        "centidegrees": lambda: round(dice.gauss(21, 0.5), 2),
        "around zero": lambda: round(dice.gauss(0, 0.01), 2),  # round gives -0.0 for half of them
        "sixteenths": lambda: dice.randrange(300, 340) / 16,
        "converter": lambda: round(dice.gauss(2000, 9)) * 3.3 / 4096,
        "converter of 1023 steps": lambda: round(dice.gauss(500, 9)) * (5.0 / 1023),
        "decimals with dirt": lambda: round(dice.gauss(75, 1), 3) * 1.1 / 1.1,
        "minutes of a degree": lambda: 11 + round(dice.gauss(34.5, 0.001), 5) / 60,
        "float32 noise": lambda: to_float32(dice.gauss(0, 0.05)),
        "counts": lambda: float(dice.randrange(10**6)),
    }
    return [makers[name]() for _ in range(n)]


@pytest.mark.parametrize(
    ("name", "bytes_max"),
    [
        ("centidegrees", 135),
        ("around zero", 90),
        ("sixteenths", 110),
        ("converter", 126),
        ("converter of 1023 steps", 113),
        ("decimals with dirt", 190),
        ("minutes of a degree", 151),
        ("float32 noise", 375),
        ("counts", 296),
    ],
)
def test_columns_of_real_sensors_are_small(name: str, bytes_max: int) -> None:
    frame = simple(Kind.FLOAT64, _sensor_values(name, random.Random(5), 100))
    data = encode(frame)
    assert rows(decode(data)) == rows(frame)
    assert len(data) <= bytes_max, "readings take more bytes than they should"


def test_a_declared_resolution_leaves_no_corrections() -> None:
    values = [round(random.Random(seed).gauss(2000, 9)) * 0.0007326007326 for seed in range(200)]
    frame = simple(Kind.FLOAT64, values)
    declared = encode(frame, resolutions={3: 0.0007326007326})
    assert rows(decode(declared)) == rows(frame)
    assert len(declared) < 200
    assert encode_numpy(frame, resolutions={3: 0.0007326007326}) == declared


def test_text_is_shared_between_frames() -> None:
    data = [encode(simple(Kind.TEXT, values)) for values in (["on", "off", "on"], ["off", "läuft", ""])]
    decoded = decode_many(data)
    assert sorted(decoded.texts) == ["", "läuft", "off", "on"]
    assert [decoded.texts[text] for text in decoded.text] == ["on", "off", "on", "off", "läuft", ""]


def test_the_largest_block_and_the_longest_text_fit() -> None:
    wide = simple(Kind.INT64, [row // 3 for row in range(65_536)])
    decoded = decode_many([encode_numpy(wide), encode(simple(Kind.TEXT, ["ü" * 32_767]))])
    assert not decoded.errors
    assert decoded_rows(decoded, 0) == rows(wide)
    assert decoded.texts == ["ü" * 32_767]


def test_arrays_and_lists_make_the_same_bytes() -> None:
    values = [1.5, math.nan, -0.0, 2.25, 7.0] * 30
    numbers = [INT64_MIN, 5, INT64_MAX, 0, -1] * 30
    times_ns = [5 * row for row in range(150)]

    def frame(form: Callable[..., Any]) -> Frame:
        columns = [
            Column(1, Kind.FLOAT64, form(values, np.float64)),
            Column(2, Kind.FLOAT32, form(values, np.float32)),
            Column(3, Kind.INT64, form(numbers, np.int64)),
            Column(4, Kind.BOOL, form([row % 3 == 0 for row in range(150)], np.bool_)),
        ]
        return Frame(1, 0, 0, ClockQuality.UNKNOWN, [Block(form(times_ns, np.int64), columns)])

    data = encode(frame(lambda found, kind: found))
    for encoder in (encode, encode_numpy):
        assert encoder(frame(lambda found, kind: found)) == data
        assert encoder(frame(np.array)) == data


def test_a_float32_array_keeps_its_nan_payloads() -> None:
    patterns = np.array([0x7F800001, 0xFFC12345, 0x7FC00000, 0x3FC00000] * 5, np.uint32)
    back = decode(encode_numpy(simple(Kind.FLOAT32, patterns.view(np.float32)))).blocks[0].columns[0].values
    bits = [int.from_bytes(struct.pack("<d", value), "little") for value in back]
    assert [bit >> 29 & 0x7FFFFF for bit in bits] == [int(pattern) & 0x7FFFFF for pattern in patterns]


def test_batches_bound_the_readings_of_a_call() -> None:
    data = [encode(simple(Kind.INT64, [1] * size)) for size in (60, 30, 30, 200, 10)]
    assert [list(batch) for batch in batches([*data, b"junk"], readings_max=100)] == [[0, 1], [2], [3], [4, 5]]
    assert list(batches([])) == []


def test_the_light_parts_need_no_numpy() -> None:
    script = "import sys, streams.frames; sys.exit(bool({'numpy', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_warming_up_decodes_nothing_and_fails_at_nothing() -> None:
    warm()
    empty = decode_many([])
    assert len(empty.value) == 0 and empty.row_start.tolist() == [0]


@pytest.mark.parametrize("values", [[math.pi / 1000, -math.pi / 1000], [3000 * 5e-324, 3001 * 5e-324]])
def test_looking_for_a_step_where_there_is_none(values: list[float]) -> None:
    for encoder in (encode, encode_numpy):
        frame = simple(Kind.FLOAT64, values)
        assert rows(decode(encoder(frame))) == rows(frame)
