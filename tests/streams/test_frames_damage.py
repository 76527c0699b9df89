"""Whatever bytes arrive, a decoder returns readings or refuses with a FrameError, and all who look say the same.

The checksum catches nearly all damage; here it is made right again after the damage, so that the checks behind it
are tested as a faulty or hostile device would.
"""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.frames import Frame, FrameError, decode, encode, read_header
from streams.frames.decode_compiled import decode_many
from tests.streams.frame_damage import VECTORS, check_agreement, mutated, outcome
from tests.streams.frame_samples import frames, sealed, uvarint

quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_damaged_frames_with_a_right_checksum_are_read_alike_or_refused_by_both() -> None:
    dice = random.Random(20)
    refused = check_agreement([mutated(dice.choice(VECTORS), dice) for _ in range(20_000)])
    assert 8000 < refused < 20_000


@quick
@given(frames(), st.integers(0, 2**32))
def test_damage_in_frames_of_every_shape(frame: Frame, seed: int) -> None:
    dice = random.Random(seed)
    data = encode(frame)
    check_agreement([mutated(data, dice) for _ in range(20)])


@quick
@given(st.binary(max_size=60), st.integers(0, 40), st.sampled_from([0, 4]))
def test_random_blocks(body: bytes, count: int, flags: int) -> None:
    check_agreement([sealed(body, count=count, flags=flags), body])


def test_any_damage_that_keeps_the_old_checksum_is_refused() -> None:
    data = VECTORS[14]
    assert not isinstance(outcome(data), str)
    for at in range(len(data)):
        for bit in range(8):
            damaged = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            with pytest.raises(FrameError):
                read_header(damaged)
    for size in range(len(data)):
        with pytest.raises(FrameError):
            read_header(data[:size])


def test_a_few_bytes_that_declare_millions_of_readings_are_bounded() -> None:
    block = uvarint(65_536) + b"\x01" + b"\x09\x00\x00" + b"\x07\x3a\x00\x02"
    whole = sealed(block * 16, count=1 << 20)
    assert len(whole) < 200
    decoded = decode_many([whole])
    assert len(decoded.value) == 1 << 20 and not decoded.errors
    with pytest.raises(FrameError, match="declares 1114112 readings, the most is 1048576"):
        read_header(sealed(block * 17, count=17 << 16))


def test_a_deflate_bomb_is_not_inflated() -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflater.compress(bytes(200 << 20)) + deflater.flush()
    assert len(bomb) < 1 << 20
    frames_of_it = [sealed(uvarint(size) + bomb, count=1, flags=4) for size in (1 << 20, (1 << 20) + 1, 1)]
    tracemalloc.start()
    try:
        for data in frames_of_it:
            with pytest.raises(FrameError, match="inflate"):
                decode(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20, "it was inflated"
    finally:
        tracemalloc.stop()


def test_a_frame_over_a_megabyte_is_refused_by_its_size() -> None:
    with pytest.raises(FrameError, match="1048577 bytes, the most is 1048576"):
        read_header(bytes((1 << 20) + 1))
