from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.records import pack_record, scan_records

PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


@given(PAYLOADS)
def test_records_come_back_as_they_were(payloads: list[bytes]) -> None:
    scan = scan_records(b"".join(map(pack_record, payloads)))
    assert (scan.payloads, scan.lost_bytes, scan.later) == (payloads, 0, [])


@given(PAYLOADS.filter(bool), st.data())
def test_a_file_that_is_cut_anywhere_keeps_exactly_the_whole_records_before(
    payloads: list[bytes], data: st.DataObject
) -> None:
    packed = [pack_record(payload) for payload in payloads]
    cut = data.draw(st.integers(0, sum(map(len, packed))))
    scan = scan_records(b"".join(packed)[:cut])
    whole, end = 0, 0
    while whole < len(packed) and end + len(packed[whole]) <= cut:
        end += len(packed[whole])
        whole += 1
    assert scan.payloads == payloads[:whole]
    assert (scan.good_bytes, scan.lost_bytes) == (end, cut - end)


@given(st.lists(st.binary(min_size=8, max_size=60), min_size=3, max_size=8), st.data())
def test_damage_in_the_middle_is_told_from_a_torn_tail(payloads: list[bytes], data: st.DataObject) -> None:
    packed = [pack_record(payload) for payload in payloads]
    hit = data.draw(st.integers(0, len(packed) - 2))
    damaged = bytearray(b"".join(packed))
    damaged[sum(map(len, packed[:hit])) + 8 + data.draw(st.integers(0, len(payloads[hit]) - 1))] ^= 0x5A
    scan = scan_records(bytes(damaged))
    assert scan.payloads == payloads[:hit]
    assert scan.later[-1] == payloads[-1]


@given(st.binary(max_size=300))
def test_any_bytes_can_be_scanned(data: bytes) -> None:
    scan = scan_records(data)
    assert scan.good_bytes + scan.lost_bytes == len(data)


def test_an_empty_record_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="1 to"):
        pack_record(b"")
