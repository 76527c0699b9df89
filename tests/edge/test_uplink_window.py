from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.spooled import SpooledFrame
from edge.uplink_window import TAKEN_MAX, UplinkWindow, Wanted


def frame(offset: int) -> SpooledFrame:
    return SpooledFrame(offset, 1, offset * 10, offset * 10 + 10, 5, b"frame")


def send(window: UplinkWindow, wanted: Wanted | None, now_ns: int = 0) -> list[int]:
    assert wanted is not None
    offsets = list(range(wanted.offset, wanted.offset + wanted.frames))
    for offset in offsets:
        window.on_sent(frame(offset), now_ns)
    return offsets


def test_frames_go_out_oldest_first_up_to_the_window() -> None:
    window = UplinkWindow(4)
    window.on_connected(oldest=10, end=10, inflight_max=100)
    assert send(window, window.wanted(oldest=10, end=100)) == [10, 11, 12, 13]
    assert window.wanted(oldest=10, end=100) is None
    assert window.on_acknowledged(10) == frame(10)
    assert window.wanted(oldest=11, end=100) == (14, 1)


def test_the_brokers_receive_maximum_makes_the_window_smaller_and_never_larger() -> None:
    window = UplinkWindow(4)
    window.on_connected(oldest=0, end=0, inflight_max=2)
    assert window.wanted(oldest=0, end=9) == (0, 2)
    window.on_connected(oldest=0, end=0, inflight_max=50)
    assert window.wanted(oldest=0, end=9) == (0, 4)


def test_only_a_puback_of_this_connection_frees_and_only_once() -> None:
    window = UplinkWindow(4)
    window.on_connected(oldest=0, end=0, inflight_max=9)
    send(window, window.wanted(oldest=0, end=2))
    assert window.on_acknowledged(1) == frame(1)
    assert window.on_acknowledged(1) is None
    window.on_connected(oldest=0, end=0, inflight_max=9)
    assert window.on_acknowledged(0) is None


def test_whatever_was_in_flight_is_sent_again_over_the_next_connection() -> None:
    window = UplinkWindow(4)
    window.on_connected(oldest=0, end=0, inflight_max=9)
    send(window, window.wanted(oldest=0, end=3))
    window.on_connected(oldest=0, end=0, inflight_max=9)
    assert send(window, window.wanted(oldest=0, end=3)) == [0, 1, 2]


def test_frames_that_were_dropped_meanwhile_are_passed_over() -> None:
    window = UplinkWindow(4)
    window.on_connected(oldest=0, end=0, inflight_max=9)
    assert window.wanted(oldest=7, end=9) == (7, 2)


def test_it_knows_how_long_a_frame_waits_for_its_puback() -> None:
    window = UplinkWindow(4)
    window.on_connected(oldest=0, end=0, inflight_max=9)
    assert window.waiting_since_ns() is None
    send(window, window.wanted(oldest=0, end=1), now_ns=5)
    send(window, window.wanted(oldest=0, end=2), now_ns=8)
    assert window.waiting_since_ns() == 5
    window.on_acknowledged(0)
    assert window.waiting_since_ns() == 8


@given(st.lists(st.sampled_from(["seal", "send", "acknowledge", "reconnect"]), max_size=100), st.integers(1, 5))
def test_every_frame_is_freed_exactly_once_whatever_happens_in_between(steps: list[str], inflight_max: int) -> None:
    window, end = UplinkWindow(inflight_max), 0
    window.on_connected(oldest=0, end=0, inflight_max=9)
    inflight: list[int] = []
    freed: list[int] = []

    def oldest() -> int:
        return next(offset for offset in range(end + 1) if offset not in freed)

    def step(what: str) -> None:
        nonlocal inflight
        if what == "send" and (wanted := window.wanted(oldest=oldest(), end=end)) is not None:
            inflight += send(window, wanted)
        elif what == "acknowledge" and inflight:
            found = window.on_acknowledged(inflight.pop(0))
            assert found is not None
            freed.append(found.offset)
        elif what == "reconnect":
            window.on_connected(oldest=oldest(), end=end, inflight_max=9)
            inflight = []
        assert window.inflight == len(inflight) <= inflight_max

    for what in steps:
        end += what == "seal"
        step(what)
    while len(freed) < end:
        step("send")
        step("acknowledge")
    assert sorted(freed) == list(range(end))


def test_live_frames_go_before_the_backlog_and_have_a_part_of_the_window_for_themselves() -> None:
    window = UplinkWindow(8)
    window.on_connected(oldest=0, end=100, inflight_max=99)
    assert send(window, window.wanted(oldest=0, end=100)) == [0, 1, 2, 3, 4, 5]
    assert window.wanted(oldest=0, end=100) is None, "two places are left for live frames"
    assert send(window, window.wanted(oldest=0, end=103)) == [100, 101]
    window.on_acknowledged(0)
    assert send(window, window.wanted(oldest=1, end=103)) == [102], "before the backlog goes on"
    assert window.wanted(oldest=1, end=103, with_backlog=False) is None


def test_behind_a_broker_a_frame_is_freed_when_the_hub_has_committed_it() -> None:
    window = UplinkWindow(4)
    window.on_connected(oldest=0, end=0, inflight_max=9)
    send(window, window.wanted(oldest=0, end=4), now_ns=7)
    for offset in (0, 1, 2):
        window.on_taken(offset)
    assert window.wanted(oldest=0, end=6) == (4, 2), "what the broker has taken makes room in the window"
    assert window.on_committed(lambda frame: frame.stop <= 20 or frame.offset == 3) == [frame(0), frame(1), frame(3)]
    assert window.uncommitted_since_ns() == 7
    assert window.on_committed(lambda frame: True) == [frame(2), frame(3)]
    assert window.uncommitted_since_ns() is None


def test_a_broker_is_not_given_more_than_a_bound_that_the_hub_has_not_committed() -> None:
    window = UplinkWindow(4)
    window.on_connected(oldest=0, end=0, inflight_max=9)
    sent = 0
    while (wanted := window.wanted(oldest=0, end=10_000)) is not None:
        for offset in send(window, wanted):
            window.on_taken(offset)
            sent += 1
    assert sent == TAKEN_MAX
