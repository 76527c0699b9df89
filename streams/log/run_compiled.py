# mypy: allow-untyped-defs, allow-untyped-calls
"""A run of records that is encoded in one compiled call: what a busy writer appends instead of one record at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from streams.log.batch import NewBatch, close_batch
from streams.record import NewRecord

SPAN = np.dtype([("key_at", "i4"), ("key_bytes", "i4"), ("value_at", "i4"), ("value_bytes", "i4")])
"""Where the key and the value of a record lie in a buffer."""

_copy = types.ExternalFunction("memcpy", types.intp(types.intp, types.intp, types.intp))

RECORD_BYTES_MAX = 1 + 4 * 5 + 2
"""What a record takes beside its key and value: attributes and empty headers, a byte each; lengths, the time and the
offset, of which none reaches 2 GiB."""


@njit(cache=True)
def _put(out, at, value):
    """A varint of 0 or more, zigzagged; returns the place behind it."""
    value <<= 1
    while value > 0x7F:
        out[at] = value & 0x7F | 0x80
        at += 1
        value >>= 7
    out[at] = value
    return at + 1


@njit(cache=True)
def _size(value):
    size, value = 1, value << 1
    while value > 0x7F:
        size += 1
        value >>= 7
    return size


@njit(cache=True, nogil=True)
def encode_records(data, spans, out):
    """Write a record for each of `spans`, all of the batch's first time, counted from 0; returns the bytes written.

    The spans say where keys and values lie in `data`; they are changed to say where they lie in `out`.
    """
    source, target = data.ctypes.data, out.ctypes.data
    at = 0
    for index in range(len(spans)):
        key_bytes, value_bytes = spans[index].key_bytes, spans[index].value_bytes
        size = 3 + _size(index) + _size(key_bytes) + key_bytes + _size(value_bytes) + value_bytes
        at = _put(out, at, size)
        out[at] = 0  # attributes
        out[at + 1] = 0  # time, from the first
        at = _put(out, at + 2, index)
        at = _put(out, at, key_bytes)
        _copy(target + at, source + spans[index].key_at, key_bytes)
        spans[index].key_at = at
        at = _put(out, at + key_bytes, value_bytes)
        _copy(target + at, source + spans[index].value_at, value_bytes)
        spans[index].value_at = at
        out[at + value_bytes] = 0  # headers
        at += value_bytes + 1
    return at


class Run(Sequence[NewRecord]):
    """Records of one partition and one time, as a batch. They are taken out again only where somebody looks at them."""

    __slots__ = ("_data", "_spans", "_time_ms", "batch", "value_bytes")

    def __init__(self, data: NDArray[np.uint8], spans: NDArray[Any], time_ms: int) -> None:
        """`spans` has at least the fields of SPAN, lies within `data`, and is the run's own from now on: it is changed.

        Data and keys are copied: `data` may be used for something else.
        """
        self.value_bytes = int(spans["value_bytes"].sum())
        size = self.value_bytes + int(spans["key_bytes"].sum()) + RECORD_BYTES_MAX * len(spans)
        out = np.empty(size, np.uint8)
        size = encode_records(data, spans, out)
        self._data = memoryview(out)[:size]  # type: ignore[arg-type]
        self._spans = spans
        self._time_ms = time_ms
        self.batch: NewBatch = close_batch([self._data], len(spans), time_ms, time_ms)

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> NewRecord: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[NewRecord]: ...

    def __getitem__(self, index: int | slice) -> NewRecord | Sequence[NewRecord]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        span = self._spans[index]
        key_at, value_at = int(span["key_at"]), int(span["value_at"])
        return NewRecord(
            bytes(self._data[key_at : key_at + int(span["key_bytes"])]),
            bytes(self._data[value_at : value_at + int(span["value_bytes"])]),
            self._time_ms,
        )


def warm() -> None:
    """Compile the kernel, or load it from numba's cache, so that the first real call does not wait."""
    Run(np.zeros(1, np.uint8), np.zeros(1, SPAN), 0)
