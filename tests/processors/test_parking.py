"""Frames that wait for their manifest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.chunk import FrameIn, Parked
from processors.parking import OVERHEAD_BYTES, Parking


def parked(offset: int, *, device: str = "d", manifest: int = 1, size: int = 10, time_ms: int = 5) -> Parked:
    return Parked(FrameIn(device, 0, offset, time_ms, bytes(size)), manifest, 1, offset, offset + 1)


def test_frames_are_released_by_device_and_manifest_in_the_order_of_the_log() -> None:
    parking = Parking(1 << 20)
    frames = [parked(0), parked(1, manifest=2), parked(2), parked(3, device="e"), parked(4, manifest=2)]
    assert all(parking.park(each) for each in frames)
    assert parking.awaited() == {("d", 1), ("d", 2), ("e", 1)}
    released = parking.release([("d", 2), ("d", 1), ("nobody", 7)])
    assert [each.frame.offset for each in released] == [0, 1, 2, 4]
    assert parking.awaited() == {("e", 1)}
    assert parking.release([("d", 1)]) == []


def test_no_more_may_wait_than_the_bound_and_a_release_makes_room() -> None:
    parking = Parking(2 * (10 + OVERHEAD_BYTES))
    assert parking.park(parked(0))
    assert parking.park(parked(1, device="e"))
    assert not parking.park(parked(2, size=0))
    parking.release([("e", 1)])
    assert parking.park(parked(3))
    assert not parking.park(parked(4))


def test_what_the_store_kept_waits_on_whatever_the_bound() -> None:
    parking = Parking(1, [parked(5), parked(2)])
    assert not parking.park(parked(6))
    assert [each.frame.offset for each in parking.release([("d", 1)])] == [2, 5]


def test_queues_say_who_waits_for_what_since_when() -> None:
    parking = Parking(1 << 20)
    for each in (parked(0, time_ms=30), parked(1, time_ms=40), parked(2, device="e", manifest=9, time_ms=10)):
        parking.park(each)
    assert [(q.device, q.manifest, q.frames, q.since_ms) for q in parking.queues()] == [
        ("e", 9, 1, 10),
        ("d", 1, 2, 30),
    ]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 700), st.booleans()), max_size=40))
def test_its_bytes_are_those_of_what_waits(steps: list[tuple[int, int, bool]]) -> None:
    """A bound that is never forgotten: against a plain list."""
    bound = 5 * OVERHEAD_BYTES
    parking, model = Parking(bound), dict[int, list[int]]()
    for offset, (manifest, size, release) in enumerate(steps):
        if release:
            assert len(parking.release([("d", manifest)])) == len(model.pop(manifest, []))
            continue
        waiting = sum(size + OVERHEAD_BYTES for sizes in model.values() for size in sizes)
        fits = waiting + size + OVERHEAD_BYTES <= bound
        assert parking.park(parked(offset, manifest=manifest, size=size)) is fits
        if fits:
            model.setdefault(manifest, []).append(size)
