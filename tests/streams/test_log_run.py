"""A run of records is the batch that the same records make one at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.log.batch import decode_batch, encode_batch, is_intact, read_header
from streams.log.run_compiled import SPAN, Run
from streams.record import NewRecord, Record

_TIME_MS = 1_700_000_000_000
_values = st.lists(
    st.tuples(st.binary(max_size=70), st.one_of(st.binary(max_size=200), st.just(bytes(20_000)))),
    min_size=1,
    max_size=90,
)


def run_of(pairs: list[tuple[bytes, bytes]]) -> Run:
    """A run whose keys and values lie somewhere in one buffer, with other bytes between them."""
    data, spans = bytearray(b"?"), np.zeros(len(pairs), SPAN)
    for index, (key, value) in enumerate(pairs):
        spans[index] = (len(data), len(key), len(data) + len(key) + 2, len(value))
        data += key + b"--" + value + b"!"
    run = Run(np.frombuffer(data, np.uint8), spans, _TIME_MS)
    data[:] = bytes(len(data))  # it has copied what it needs
    return run


@settings(max_examples=200, deadline=None)
@given(_values)
def test_a_run_is_the_same_bytes_as_its_records(pairs: list[tuple[bytes, bytes]]) -> None:
    records = [NewRecord(key, value, _TIME_MS) for key, value in pairs]
    run = run_of(pairs)
    assert list(run) == records
    assert run[1:] == records[1:]
    assert run.value_bytes == sum(len(value) for _, value in pairs)
    ours, theirs = run.batch.at(7), encode_batch(records).at(7)
    assert ours == theirs
    header = read_header(ours, 0)
    assert header is not None
    assert is_intact(ours, 0, header)
    assert decode_batch(ours, 0, header) == [Record(7 + place, *record) for place, record in enumerate(records)]
