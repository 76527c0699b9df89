"""Decoded readings as columns, ready for detectors and stores."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True, eq=False)
class Rows:
    """One entry a reading, all columns of the same length."""

    series: NDArray[np.int32]
    """Row number of the series."""
    kind: NDArray[np.uint8]
    """Index into streams.frames.KINDS."""
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    """NaN for text."""
    integer: NDArray[np.int64]
    """Exact for int64 and bool."""
    text: NDArray[np.int32]
    """Index into `texts`, or -1."""
    quality: NDArray[np.uint8]
    epoch: NDArray[np.int64]
    sequence: NDArray[np.int64]
    partition: NDArray[np.int32]
    """Where the frame stands in the log."""
    offset: NDArray[np.int64]
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.series)

    def pick(self, which: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        columns = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "texts"}
        return Rows(texts=self.texts, **{name: column[which] for name, column in columns.items()})


def no_rows() -> Rows:
    return Rows(
        np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.float64),
        np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint8), np.empty(0, np.int64),
        np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64),
    )  # fmt: skip
