from __future__ import annotations

import dataclasses

import pytest

from edge.renumbering import renumbered
from streams.frames import Block, ClockQuality, Column, Frame, FrameError, decode, encode

TIMES_NS = [1_700_000_000_000_000_000 + row * 10**9 for row in range(50)]


@pytest.mark.parametrize("deflate", [False, True])
def test_a_frame_under_other_numbers_has_the_same_readings(deflate: bool) -> None:
    columns = (
        Column(series=0, kind="float64", values=[0.1 * row for row in range(50)]),
        Column(series=7, kind="text", values=["on", "off"] * 25),
    )
    block = Block(times_ns=TIMES_NS, columns=columns)
    frame = Frame(1_790_000_000, 900_000, 0xCAFE, ClockQuality.SYNCHRONISED, (block,))
    made = renumbered(encode(frame, deflate=deflate), epoch=1 << 51, sequence=3)
    assert made == encode(dataclasses.replace(frame, epoch=1 << 51, sequence=3), deflate=deflate)
    assert decode(made).count == 100


def test_what_is_damaged_is_not_numbered_anew() -> None:
    column = Column(series=0, kind="float64", values=[1.5])
    payload = bytearray(
        encode(Frame(7, 0, 1, ClockQuality.UNKNOWN, (Block(times_ns=TIMES_NS[:1], columns=(column,)),)))
    )
    payload[-6] ^= 1
    with pytest.raises(FrameError):
        renumbered(bytes(payload), epoch=8, sequence=0)
