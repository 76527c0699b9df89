"""Walking over damage: what is whole is found, the range is exact, and nothing is taken for a batch that is none."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import pytest

from streams.log.batch import BATCH_BYTES_MAX, HEADER_BYTES, NewBatch, encode_batch
from streams.log.scan import PIECE_BYTES, Damaged, Found, walk
from streams.record import NewRecord
from tests.streams.log_parts import NOW_MS, batch, file_of, laid_out

BASE = 1000
COUNTS = (1, 3, 1, 2, 1)
BATCHES = [batch(number, count) for number, count in enumerate(COUNTS)]
BASES = [BASE + sum(COUNTS[:index]) for index in range(len(COUNTS))]
DATA, STARTS = laid_out(BATCHES, BASE)
END = BASE + sum(COUNTS)
MIDDLE = range(STARTS[2], STARTS[3])


def walked(
    data: bytes, *, offset: int = BASE, offset_end: int | None = None, may_be_torn: bool = False
) -> tuple[list[int], list[tuple[int, int, int | None]]]:
    """Base offsets of what is found; position, stop and resume of what is damaged."""
    found, damaged, position = [], [], 0
    for each in walk(file_of(data), 0, len(data), offset, offset_end=offset_end, may_be_torn=may_be_torn):
        assert each.position == position, "nothing is left out, nothing comes twice"
        if isinstance(each, Found):
            found.append(each.header.base_offset)
            position += each.header.size
        else:
            assert isinstance(each, Damaged)
            damaged.append((each.position, each.stop, each.resume))
            position = each.stop
    assert position == len(data)
    return found, damaged


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


@pytest.mark.parametrize("offset_end", [None, END])
def test_what_is_whole_is_found(offset_end: int | None) -> None:
    assert walked(DATA, offset_end=offset_end) == (BASES, [])
    assert walked(b"") == ([], [])


@pytest.mark.parametrize("may_be_torn", [False, True])
@pytest.mark.parametrize("tail", [0, 1, HEADER_BYTES, len(BATCHES[4].records) + HEADER_BYTES])
def test_a_flipped_bit_takes_its_batch_and_no_other(tail: int, may_be_torn: bool) -> None:
    """Wherever it is, and however torn what stands behind the next batch is."""
    data = DATA[: STARTS[4] + tail]
    behind = BASES[3:4] if tail < len(DATA) - STARTS[4] else BASES[3:]
    for at in MIDDLE:
        for bit in range(8):
            found, damaged = walked(flipped(data, at, bit), may_be_torn=may_be_torn)
            if 12 <= at - MIDDLE.start < 16:
                assert found == BASES[:3] + behind, "the leader epoch says nothing"
                continue
            assert found == BASES[:2] + behind, (at - MIDDLE.start, bit)
            assert damaged[0] == (MIDDLE.start, MIDDLE.stop, BASES[3]), (at - MIDDLE.start, bit)


@pytest.mark.parametrize("offset_end", [None, END])
def test_a_flipped_bit_of_the_last_batch_ends_the_walk_before_it(offset_end: int | None) -> None:
    for at in range(STARTS[4], len(DATA)):
        found, damaged = walked(flipped(DATA, at, at % 8), offset_end=offset_end)
        if not 12 <= at - STARTS[4] < 16:
            assert (found, damaged) == (BASES[:4], [(STARTS[4], len(DATA), None)])


def test_flipped_bits_of_neighbours_take_these_and_no_other() -> None:
    dice = random.Random(1)
    for _ in range(500):
        second, third = dice.randrange(STARTS[1], STARTS[2]), dice.randrange(STARTS[2], STARTS[3])
        if 12 <= second - STARTS[1] < 16 or 12 <= third - STARTS[2] < 16:
            continue
        found, damaged = walked(flipped(flipped(DATA, second, dice.randrange(8)), third, dice.randrange(8)))
        assert found == [BASES[0], *BASES[3:]], (second - STARTS[1], third - STARTS[2])
        assert damaged[-1][1:] == (STARTS[3], BASES[3])


@pytest.mark.parametrize("size", [1, 8, 30, HEADER_BYTES, 70, len(MIDDLE), len(MIDDLE) + 100])
@pytest.mark.parametrize("filler", [b"\x00", b"\xff", b"\x02"])
def test_wiped_bytes_take_the_batches_that_they_hit(size: int, filler: bytes) -> None:
    """Zeros where nothing was written, or the ones of an erased flash."""
    wiped = DATA[: MIDDLE.start] + filler * size + DATA[MIDDLE.start + size :]
    found, damaged = walked(wiped)
    hit = 1 if size <= len(MIDDLE) else 2
    if wiped == DATA or (size == 1 and filler == b"\0"):
        assert found == BASES, "it was a zero before"
        return
    assert found == BASES[:2] + BASES[2 + hit :]
    assert damaged[-1][1:] == (STARTS[2 + hit], BASES[2 + hit])


def test_cut_anywhere_all_that_is_whole_before_it_is_found() -> None:
    for size in range(len(DATA)):
        whole = sum(stop <= size for stop in [*STARTS[1:], len(DATA)])
        found, damaged = walked(DATA[:size])
        assert found == BASES[:whole]
        assert [each[2] for each in damaged] in ([], [None])


def test_a_batch_that_belongs_elsewhere_is_damage() -> None:
    """A right checksum is not enough: the base offset is the one that is due, below the next segment's."""
    data, _ = laid_out(BATCHES[:1], BASE)
    for wrong in (BASE - 1, BASE + 1, 0):
        assert walked(data, offset=wrong)[0] == []
    assert walked(DATA, offset_end=BASES[4]) == (BASES[:4], [(STARTS[4], len(DATA), None)])


def test_stale_bytes_behind_the_last_offset_are_not_read() -> None:
    stale, _ = laid_out([batch(70, 2)], BASES[3])
    assert walked(DATA[: STARTS[3]] + stale, offset_end=BASES[3])[0] == BASES[:3]


def crafted(base: int, fakes: int) -> tuple[NewBatch, int]:
    """A batch with a value that holds whole batches which claim offsets from `base` on; and where they stand in it."""
    fake = [encode_batch([NewRecord(b"another device", b"never sent", NOW_MS)])] * fakes
    inner = laid_out(fake, base)[0]
    value = b"x" * 30 + inner + b"x" * 30
    outer = encode_batch([NewRecord(b"device", value, NOW_MS), NewRecord(b"device", b"more", NOW_MS)])
    return outer, outer.at(0).index(inner)


@pytest.mark.parametrize("claimed", range(BASE, BASE + 12))
def test_what_a_record_holds_is_never_taken_for_a_batch_where_a_write_may_be_torn(claimed: int) -> None:
    outer, inside = crafted(claimed, 2)
    data, starts = laid_out([BATCHES[0], outer, BATCHES[2]], BASE)
    dice = random.Random(claimed)
    for size in range(starts[1], starts[2] + 1):
        found = walked(data[:size], may_be_torn=True)[0]
        assert found == ([BASE] if size < starts[2] else [BASE, BASE + 1]), "torn at any byte"
    for size in range(1, inside):
        wiped = data[: starts[1]] + bytes(size) + data[starts[1] + size :]
        found = walked(wiped, may_be_torn=True)[0]
        assert found in ([BASE], [BASE, BASE + 3], [BASE, BASE + 1, BASE + 3]), "its head was never written"
    for at in range(starts[1], starts[2]):
        found = walked(flipped(data, at, dice.randrange(8)), may_be_torn=True)[0]
        assert found in ([BASE, BASE + 3], [BASE, BASE + 1, BASE + 3]), at - starts[1]


@pytest.mark.parametrize("claimed", range(BASE, BASE + 12))
def test_what_a_record_holds_is_never_taken_for_a_batch_where_it_was_whole(claimed: int) -> None:
    outer, inside = crafted(claimed, 1)
    data, starts = laid_out([BATCHES[0], outer, BATCHES[2]], BASE)
    dice = random.Random(claimed)
    for whole, end in ((data, BASE + 4), (data, None), (data[: starts[2]], BASE + 3)):
        behind = [BASE + 3] if whole is data else []
        for at in range(starts[1], starts[2]):
            found = walked(flipped(whole, at, dice.randrange(8)), offset_end=end)[0]
            assert found in ([BASE, *behind], [BASE, BASE + 1, *behind]), at - starts[1]
        for size in range(1, inside):
            wiped = whole[: starts[1]] + bytes(size) + whole[starts[1] + size :]
            found = walked(wiped, offset_end=end)[0]
            assert found in ([BASE, *behind], [BASE, BASE + 1, *behind])


def test_batches_larger_than_a_piece() -> None:
    large = [encode_batch([NewRecord(None, bytes([number]) * PIECE_BYTES * 2, 0)]) for number in range(3)]
    data, starts = laid_out(large, BASE)
    assert walked(data) == ([BASE, BASE + 1, BASE + 2], [])
    assert walked(flipped(data, starts[1] + 100, 0)) == (
        [BASE, BASE + 2],
        [(starts[1], starts[2], BASE + 2)],
    )
    many, starts = laid_out([batch(number, size=300) for number in range(PIECE_BYTES // 200)], BASE)
    found, damaged = walked(many[: PIECE_BYTES - 20] + bytes(40) + many[PIECE_BYTES + 20 :])
    assert len(found) >= len(starts) - 2
    assert len(damaged) <= 2


def test_a_file_that_shrinks_meanwhile_ends_the_walk() -> None:
    file = file_of(DATA)
    steps = walk(file, 0, len(DATA) + 1000, BASE)
    assert len(list(steps)) == len(BATCHES) + 1


@pytest.mark.parametrize("kind", ["zeros", "twos", "marks", "noise", "headers"])
def test_a_large_stretch_of_junk_is_passed_over_soon(kind: str) -> None:
    size = 4 << 20
    head = BATCHES[0].at(BASE + 1)[:HEADER_BYTES]
    junk = {
        "zeros": lambda: bytes(size),
        "twos": lambda: b"\x02" * size,
        "marks": lambda: b"\0\0\0\0\x02" * (size // 5),
        "noise": lambda: random.Random(1).randbytes(size),
        "headers": lambda: head * (size // len(head)),
    }[kind]()
    started_s = time.process_time()
    found, damaged = walked(DATA[: STARTS[3]] + junk + encoded_at(BATCHES[3:], BASES[3]))
    assert found == BASES
    assert len(damaged) == 1
    assert time.process_time() - started_s < 20


def encoded_at(batches: Sequence[NewBatch], base: int) -> bytes:
    return laid_out(batches, base)[0]


def test_a_declared_length_is_believed_only_within_the_file() -> None:
    lying = DATA[: STARTS[4] + 8] + (BATCH_BYTES_MAX - 12).to_bytes(4, "big") + DATA[STARTS[4] + 12 :]
    assert walked(lying) == (BASES[:4], [(STARTS[4], len(DATA), None)])
