"""Damaged frames, and what must be true of whatever bytes arrive: all who look at them say the same.

The header check (which is all that the hub does), the reference decoder and the compiled decoder.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from streams.frames import FrameError, FrameHeader, decode, read_header
from streams.frames.decode_compiled import decode_many
from tests.streams.frame_samples import Row, decoded_rows, resealed, rows

FOLDER = Path(__file__).parents[1] / "vectors" / "frames"
ACCEPTED, REFUSED = (
    [bytes.fromhex(vector["bytes"]) for vector in json.loads((FOLDER / f"{name}.json").read_text())]
    for name in ("accepted", "refused")
)
VECTORS = [*ACCEPTED, *REFUSED]


def outcome(data: bytes) -> list[Row] | str:
    """Rows, or the sentence of the refusal."""
    try:
        return rows(decode(data))
    except FrameError as error:
        return str(error)


def header_of(data: bytes) -> FrameHeader | str:
    """The header, or the sentence of the refusal."""
    try:
        return read_header(data)
    except FrameError as error:
        return str(error)


def check_agreement(damaged: Sequence[bytes]) -> int:
    """Raises AssertionError unless all agree on every frame; returns how many were refused.

    Both decoders refuse the same frames and give the same readings of all others. What the header check refuses, both
    refuse with its sentence; of what both read, it has told the count.
    """
    decoded = decode_many(damaged)
    for index, data in enumerate(damaged):
        expected, header = outcome(data), header_of(data)
        found = decoded.errors[index] if index in decoded.errors else decoded_rows(decoded, index)
        if isinstance(header, str):
            assert found == expected == header, (data.hex(), found, expected, header)
            assert decoded.headers[index] is None
            continue
        assert decoded.headers[index] == header
        assert isinstance(found, str) == isinstance(expected, str), (data.hex(), found, expected)
        if not isinstance(expected, str):
            assert found == expected, data.hex()
            assert len(expected) == header.count
    return len(decoded.errors)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Change, cut, double or swap a few bytes behind the magic; the checksum is right afterwards."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(2, max(3, len(out) - 4))
        match dice.randrange(5):
            case 0:
                out[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                out[at : at + 1] = bytes([out[at] ^ 1 << dice.randrange(8)]) if at < len(out) else b"\x00"
            case 2:
                del out[at : at + dice.randint(1, 4)]
            case 3:
                out[at:at] = bytes([dice.choice((0, 1, 127, 128, 255))]) * dice.randint(1, 4)
            case _:
                out[at:at] = out[at : at + dice.randint(1, 12)]
    return resealed(bytes(out))
