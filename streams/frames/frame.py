"""What a frame holds, before it is bytes: readings in blocks of columns that share one time column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any


class Kind(StrEnum):
    """The type of the values of a column."""

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    INT64 = "int64"
    BOOL = "bool"
    TEXT = "text"


KINDS = tuple(Kind)
"""Every kind; its place here is its code in arrays (`Decoded.kind`)."""

KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}


class Quality(IntEnum):
    """How far the device itself trusts a reading."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


class ClockQuality(IntEnum):
    """How far the device trusts the times of a frame."""

    UNKNOWN = 0
    UNSYNCHRONISED = 1
    SYNCHRONISED = 2
    CORRECTED = 3


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one series, one a row of its block.

    Values are float (float64, float32), int, bool or str by `kind`. A float32 column holds floats that float32 can
    hold exactly (see `to_float32`). `quality` has one byte a row (a `Quality`); None means that all are good.
    """

    series: int
    kind: str
    values: Sequence[Any]
    quality: bytes | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Columns that were sampled together. `times_ns`, nanoseconds UTC, has one entry a row; it may go back."""

    times_ns: Sequence[int]
    columns: Sequence[Column]


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a device.

    Its readings are numbered `sequence`, `sequence` + 1 ... block by block, column by column, row by row.
    `manifest` is the CRC-32 of the manifest that says what the series numbers mean.
    """

    epoch: int
    sequence: int
    manifest: int
    clock_quality: ClockQuality
    blocks: Sequence[Block]

    @property
    def count(self) -> int:
        """How many readings the frame holds."""
        return sum(len(block.times_ns) * len(block.columns) for block in self.blocks)
