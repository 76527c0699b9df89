"""A frame to bytes with the standard library alone, for the smallest devices. encode_numpy makes the same bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from streams.frames import layout, values
from streams.frames.assemble import assemble
from streams.frames.floats_plain import PlainFloats, special_rows
from streams.frames.frame import Frame
from streams.frames.integers import put_integers
from streams.frames.packing import TIME_PREDICTORS, VALUE_PREDICTORS, Hints
from streams.frames.varint import wrap


def encode(
    frame: Frame,
    *,
    hints: Hints | None = None,
    resolutions: Mapping[int, float] | None = None,
    deflate: bool = False,
) -> bytes:
    """The bytes of a frame, exact to the bit.

    `hints` is a dict that the caller keeps and never reads: it remembers by series what worked last time (several
    times faster). `resolutions` gives the step of a series whose values are counts times a step (ADC readings).
    `deflate` is worth it for text and very regular data; it costs the hub a third of its decoding speed.
    Raises MisuseError when the frame breaks a limit or a value is not of its type.
    """
    return assemble(frame, lambda rows: PLAIN, hints, resolutions, deflate)


class _Plain:
    """Numbers as Python lists (see `assemble.Backend`)."""

    def integers(self, found: Sequence[Any], series: int) -> list[int]:
        return values.integers(found, series)

    def floats(self, found: Sequence[Any], series: int) -> list[float]:
        return values.floats(found, series)

    def put_integers(self, out: bytearray, found: list[int], hints: Hints | None, key: int, *, wide: bool) -> None:
        put_integers(out, found, VALUE_PREDICTORS, hints, key, wide=wide)

    def put_times(
        self, out: bytearray, times: list[int], unit: int, reference: int, hints: Hints | None, key: int
    ) -> tuple[int, int]:
        common = math.gcd(*times)
        power = next(power for power in layout.TIME_UNITS if not common % 10**power)
        scale = 10**power
        ticks = [time // scale for time in times]
        first = ticks[0]
        if power == unit and reference:
            ticks = [tick - reference for tick in ticks]
            if not power:
                ticks = list(map(wrap, ticks))
        out.append(power)
        put_integers(out, ticks, TIME_PREDICTORS, hints, key)
        return power, first

    def special_rows(self, found: list[float]) -> list[int]:
        return special_rows(found)

    def without(self, found: list[float], rows: list[int]) -> list[float]:
        specials = set(rows)
        plain = next(value for row, value in enumerate(found) if row not in specials)
        filled = list(found)
        for row, value in enumerate(found):
            plain = filled[row] = plain if row in specials else value
        return filled

    def pattern(self, found: list[float], row: int) -> int:
        return int.from_bytes(struct.pack("<d", found[row]), "little")

    def columns(self, found: list[float]) -> PlainFloats:
        return PlainFloats(found)


PLAIN = _Plain()
