from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.batcher import WEIGHT_MAX, Batch
from edge.tick import Tick
from streams.frames import ClockQuality, Frame, decode, encode
from tests.edge.ticks import TYPES, tick, ticks

SECOND = 1_000_000_000


def frame_of(batch: Batch) -> Frame:
    return batch.frame(epoch=7, manifest=9, types=TYPES, clock=ClockQuality.SYNCHRONISED)


def readings(frame: Frame) -> list[tuple[int, int, str, int]]:
    return [
        (column.series, time_ns, repr(value), column.quality[row] if column.quality else 0)
        for block in frame.blocks
        for column in block.columns
        for row, (time_ns, value) in enumerate(zip(block.times_ns, column.values))
    ]


def filled(given_ticks: list[Tick], first: int = 0) -> Batch:
    batch = Batch(first)
    for each in given_ticks:
        batch.add(each, 0)
    return batch


@given(st.lists(ticks(), min_size=1, max_size=20), st.integers(0, 2**50))
def test_every_reading_is_in_the_frame_once_and_a_series_keeps_its_order(given_ticks: list[Tick], first: int) -> None:
    batch = filled(given_ticks, first)
    frame = frame_of(batch)
    wanted = [
        (series, each.time_ns, repr(value), quality)
        for each in given_ticks
        for series, value, quality in zip(each.series, each.values, each.qualities)
    ]
    found = readings(frame)
    assert sorted(found) == sorted(wanted)
    for series in TYPES:
        assert [each for each in found if each[0] == series] == [each for each in wanted if each[0] == series]
    assert (frame.sequence, frame.count) == (first, len(wanted)) == (batch.first, batch.count)
    assert batch.stop == first + len(wanted)


@given(st.lists(ticks(), min_size=1, max_size=10))
def test_the_frame_survives_its_coding(given_ticks: list[Tick]) -> None:
    frame = frame_of(filled(given_ticks))
    assert readings(decode(encode(frame))) == readings(frame)


@given(st.lists(ticks(), min_size=1, max_size=12))
def test_the_same_ticks_make_the_same_bytes(given_ticks: list[Tick]) -> None:
    assert encode(frame_of(filled(given_ticks))) == encode(frame_of(filled(given_ticks)))


def test_columns_that_were_always_sampled_together_share_a_block() -> None:
    together = [tick(second * SECOND, 1.0, 2.0) for second in range(3)]
    alone = [tick(second * SECOND, 3.0, series=[2]) for second in range(2)]
    frame = frame_of(filled([*together, *alone]))
    assert [[column.series for column in block.columns] for block in frame.blocks] == [[0, 1], [2]]


def test_two_sensors_with_the_same_times_share_a_block() -> None:
    both = [each for second in range(3) for each in (tick(second, 1.0), tick(second, 2.0, series=[1]))]
    assert len(frame_of(filled(both)).blocks) == 1


def test_good_columns_carry_no_qualities() -> None:
    batch = filled([tick(1, 1.0, 2.0), Tick(2, (0, 1), (float("nan"), 1.0), (2, 0))])
    (block,) = frame_of(batch).blocks
    assert [column.quality for column in block.columns] == [b"\0\2", None]


def test_a_batch_is_due_when_one_series_is_full_or_its_first_reading_is_old() -> None:
    batch = Batch(0)
    assert not batch.is_due(10**15, rows_max=1, age_ns_max=1), "an empty one never is"
    batch.add(tick(0, 1.0), 5 * SECOND)
    assert not batch.is_due(7 * SECOND - 1, rows_max=3, age_ns_max=2 * SECOND)
    assert batch.is_due(7 * SECOND, rows_max=3, age_ns_max=2 * SECOND)
    batch.add(tick(0, 1.0, series=[1]), 6 * SECOND)
    batch.add(tick(0, 1.0), 6 * SECOND)
    assert not batch.is_due(6 * SECOND, rows_max=3, age_ns_max=2 * SECOND)
    batch.add(tick(0, 1.0), 6 * SECOND)
    assert batch.is_due(6 * SECOND, rows_max=3, age_ns_max=2 * SECOND)


def test_a_batch_is_due_before_its_frame_could_be_too_large() -> None:
    batch = Batch(0)
    while not batch.is_due(0, rows_max=10**9, age_ns_max=10**18):
        batch.add(tick(0, "x" * 4096, series=[10]), 0)
    assert batch.weight < WEIGHT_MAX + 20_000
    assert len(encode(frame_of(batch))) < 1 << 20
