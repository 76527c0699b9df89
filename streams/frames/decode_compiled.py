"""Many frames to arrays, one entry a reading, in one compiled call. Agrees with `decode`, which is the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.frames.fault import Fault, FrameError, refuse
from streams.frames.header import Bytes, FrameHeader, read_body, read_header
from streams.frames.kernels_compiled import PADDING, decode_bodies

_Number = TypeVar("_Number", bound=np.integer[Any])


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The readings of many frames, in order: frame by frame, and within a frame by sequence number.

    The reading in row `r` of frame `f` has the sequence number headers[f].sequence + r - row_start[f].
    """

    series: NDArray[np.int32]
    kind: NDArray[np.uint8]
    """Index into KINDS."""
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    """Exact for float64 and float32; int64 and bool converted; NaN for text."""
    integer: NDArray[np.int64]
    """Exact for int64 and bool, 0 for the others. Not to be written to, like text and quality: where no column has
    them, one entry stands for all rows."""
    text: NDArray[np.int32]
    """Index into `texts`, -1 for what is no text."""
    quality: NDArray[np.uint8]
    texts: list[str]
    row_start: NDArray[np.int64]
    """First row of each frame, and one more entry: the number of rows."""
    headers: list[FrameHeader | None]
    """None where not even the header could be read."""
    errors: dict[int, str]
    """Why a frame was refused, by its index; it has no rows."""

    @property
    def frame(self) -> NDArray[np.int32]:
        """Index into the frames given, of each row."""
        return np.repeat(np.arange(len(self.headers), dtype=np.int32), np.diff(self.row_start))


READINGS_PER_BATCH = 1 << 20


def batches(frames: Sequence[Bytes], readings_max: int = READINGS_PER_BATCH) -> Iterator[range]:
    """Cut frames into runs that declare at most `readings_max` readings (or are one frame), for `decode_many`.

    A few bytes may declare a million readings, so whoever decodes what strangers sent bounds the readings of a call.
    """
    start = readings = 0
    for index, data in enumerate(frames):
        try:
            count = read_header(data).count
        except FrameError:
            count = 0
        if index > start and readings + count > readings_max:
            yield range(start, index)
            start, readings = index, 0
        readings += count
    if start < len(frames):
        yield range(start, len(frames))


def decode_many(frames: Sequence[Bytes]) -> Decoded:
    """Decode every frame. A damaged one gives an entry in `errors` and no rows; the others are not affected.

    Memory is 21 to 34 bytes for each reading that the headers declare, at most READINGS_MAX a frame; see `batches`.
    """
    headers: list[FrameHeader | None] = []
    bodies: list[Bytes] = []
    errors: dict[int, str] = {}
    for index, data in enumerate(frames):
        header: FrameHeader | None = None
        body: Bytes = b""
        try:
            header = read_header(data)
            body = read_body(data, header)
        except FrameError as error:
            errors[index] = str(error)
        headers.append(header)
        bodies.append(body)
    counts = [-1 if header is None or index in errors else header.count for index, header in enumerate(headers)]
    return _decode_bodies(headers, bodies, np.array(counts, np.int64), errors)


def _decode_bodies(
    headers: list[FrameHeader | None],
    bodies: list[Bytes],
    counts: NDArray[np.int64],
    errors: dict[int, str],
) -> Decoded:
    buffer = np.frombuffer(b"".join([*bodies, bytes(PADDING)]), np.uint8)
    stops = np.cumsum(np.array([len(body) for body in bodies], np.int64))
    starts = stops - np.array([len(body) for body in bodies], np.int64)
    rows = int(counts[counts > 0].sum())
    row_start = np.zeros(len(bodies) + 1, np.int64)
    times, values, series, kind = _room(rows)
    dictionary = np.empty((len(buffer), 2), np.int64)  # more than enough, and pages that are not used cost nothing
    status = np.zeros(len(bodies), np.int64)
    words, integers, text, quality = decode_bodies(
        buffer, starts, stops, counts, row_start, series, kind, times, values, dictionary, status
    )
    for index in np.flatnonzero(status):
        errors[int(index)] = str(refuse(Fault(int(status[index]))))
    end = int(row_start[-1])
    texts, text = _interned(buffer, dictionary[:words], text[:end])
    return Decoded(
        series[:end], kind[:end], times[:end], values[:end],
        _rows(integers, end, 0), _rows(text, end, -1), _rows(quality, end, 0), texts, row_start, headers, errors,
    )  # fmt: skip


def _room(rows: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int32], NDArray[np.uint8]]:
    """Columns for so many rows in one piece of memory: the next call gets the same pages again, several pieces would be
    given back to the system and come as new ones, which takes longer than the decoding."""
    room = np.empty(21 * rows, np.uint8)
    times, values, series, kind = np.split(room, [8 * rows, 16 * rows, 20 * rows])
    return times.view(np.int64), values.view(np.float64), series.view(np.int32), kind


def _rows(found: NDArray[_Number], end: int, absent: int) -> NDArray[_Number]:
    """The rows up to `end`; if there are none, one entry that looks like as many."""
    return found[:end] if len(found) else np.broadcast_to(found.dtype.type(absent), end)


def _interned(
    buffer: NDArray[np.uint8], dictionary: NDArray[np.int64], text: NDArray[np.int32]
) -> tuple[list[str], NDArray[np.int32]]:
    """Each different text once, and the rows' indices changed to fit."""
    if not len(dictionary):
        return [], text
    places: dict[bytes, int] = {}
    known = [places.setdefault(buffer[start:stop].tobytes(), len(places)) for start, stop in dictionary.tolist()]
    indices = np.array([*known, -1], np.int32)  # -1 picks the last
    return [found.decode() for found in places], indices[text]


def warm() -> None:
    """Compile the kernels, or load them from numba's cache, so that the first real call does not wait."""
    decode_many([])
