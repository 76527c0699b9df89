from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.spool import DAMAGED, NUMBERED_ANEW, OVER_BUDGET, STATE_NAME, Spool
from edge.spooled import SpooledFrame
from streams.clock import ManualClock
from streams.files import DiskFiles
from streams.frames import Block, ClockQuality, Column, Frame, decode, encode
from streams.sequences import SequenceSet

EPOCH = 7


def opened(directory: Path, *, bytes_max: int = 1_000_000) -> Spool:
    spool = Spool(directory, files=DiskFiles(), clock=ManualClock(), bytes_max=bytes_max)
    spool.open()
    return spool


def fill(spool: Spool, count: int, *, size: int = 100, epoch: int = EPOCH) -> None:
    """Frames of ten readings each."""
    first = spool.sealed_to(epoch)
    for at in range(first, first + count * 10, 10):
        payload = b"%d:" % at + b"x" * size
        spool.append(payload, epoch=epoch, first=at, stop=at + 10, manifest=3)


def a_frame(first: int) -> bytes:
    """Ten readings whose values are their numbers."""
    numbers = list(range(first, first + 10))
    column = Column(series=0, kind="int64", values=numbers)
    block = Block(times_ns=[number * 10**9 for number in numbers], columns=(column,))
    return encode(Frame(EPOCH, first, 3, ClockQuality.SYNCHRONISED, (block,)))


def waiting(spool: Spool) -> list[SpooledFrame]:
    return spool.read(spool.oldest, 1000)


def killed(spool: Spool) -> None:
    """The process is gone: its files are closed and nothing is written."""
    spool.close()


def test_frames_come_back_as_they_were_in_order(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    fill(spool, 3)
    assert [(frame.first, frame.stop, frame.epoch, frame.manifest, frame.payload[:3]) for frame in waiting(spool)] == [
        (0, 10, 7, 3, b"0:x"),
        (10, 20, 7, 3, b"10:"),
        (20, 30, 7, 3, b"20:"),
    ]
    assert spool.frames == 3
    assert spool.read(spool.oldest + 1, 1)[0].first == 10


def test_a_frame_that_is_there_already_is_not_kept_twice(tmp_path: Path) -> None:
    """Killed after the seal and before the journal was emptied, the agent seals the same readings again."""
    spool = opened(tmp_path)
    fill(spool, 2)
    spool.append(b"again", epoch=EPOCH, first=10, stop=20, manifest=3)
    assert spool.frames == 2


def test_killed_at_any_time_the_next_start_holds_what_was_appended(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    fill(spool, 3)
    spool.save()
    fill(spool, 2)
    killed(spool)
    again = opened(tmp_path)
    assert [frame.first for frame in waiting(again)] == [0, 10, 20, 30, 40]
    assert again.books[EPOCH].held == SequenceSet([(0, 50)])
    assert again.sealed_to(EPOCH) == 50
    assert again.bytes == spool.bytes


def test_what_was_acknowledged_and_saved_is_not_sent_again_and_what_was_not_saved_is(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    fill(spool, 4)
    frames = waiting(spool)
    spool.acknowledge(frames[0])
    spool.save()
    spool.acknowledge(frames[1])
    assert spool.frames == 2
    killed(spool)
    again = opened(tmp_path)
    assert waiting(again) == frames[1:], "the same bytes"
    for frame in frames[1:]:
        again.acknowledge(frame)
    assert (again.frames, again.bytes) == (0, 0)
    assert not again.books[EPOCH].held


def test_numbers_go_on_even_when_the_spool_is_empty(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    fill(spool, 3)
    for frame in waiting(spool):
        spool.acknowledge(frame)
    spool.save()
    killed(spool)
    assert opened(tmp_path).sealed_to(EPOCH) == 30


def test_acknowledgements_may_come_in_any_order(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    fill(spool, 3)
    frames = waiting(spool)
    spool.acknowledge(frames[2])
    spool.acknowledge(frames[2])
    assert (spool.oldest, spool.frames) == (frames[0].offset, 2)
    spool.acknowledge(frames[0])
    spool.acknowledge(frames[1])
    assert (spool.oldest, spool.frames, spool.bytes) == (spool.end, 0, 0)


def test_over_its_budget_the_oldest_frames_are_dropped_and_declared(tmp_path: Path) -> None:
    spool = opened(tmp_path, bytes_max=65536)
    fill(spool, 200, size=1000)
    assert spool.bytes <= 65536
    dropped = spool.books[EPOCH].dropped[OVER_BUDGET]
    ((start, stop),) = dropped.spans()
    assert start == 0
    assert spool.books[EPOCH].held == SequenceSet([(stop, 2000)])
    assert waiting(spool)[0].first == stop
    killed(spool)
    again = opened(tmp_path, bytes_max=65536)
    assert again.books[EPOCH].dropped[OVER_BUDGET] == dropped, "the declaration was durable first"
    assert [frame.first for frame in waiting(again)] == list(range(stop, 2000, 10))


def test_the_disk_holds_little_more_than_the_budget(tmp_path: Path) -> None:
    spool = opened(tmp_path, bytes_max=1_000_000)
    fill(spool, 400, size=10_000)
    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert on_disk < 1_200_000


def test_freed_frames_leave_the_disk(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    fill(spool, 50, size=10_000)
    for frame in waiting(spool):
        spool.acknowledge(frame)
    spool.save()
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 150_000


def test_a_frame_that_was_dropped_in_flight_and_arrived_after_all_is_not_dropped(tmp_path: Path) -> None:
    spool = opened(tmp_path, bytes_max=65536)
    fill(spool, 1, size=1000)
    (sent,) = waiting(spool)
    fill(spool, 100, size=1000)
    before = spool.dropped(EPOCH)
    spool.acknowledge(sent)
    assert spool.dropped(EPOCH) == before - 10


def test_readings_that_never_came_into_a_frame_are_declared(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    fill(spool, 1)
    spool.give_up(epoch=EPOCH, first=10, stop=15, reason="disk full")
    assert spool.sealed_to(EPOCH) == 15
    killed(spool)
    told = opened(tmp_path).account(epoch=EPOCH, produced=0, time_ms=1)
    assert told["dropped"] == [{"start": 10, "stop": 15, "reason": "disk full"}]
    assert told["held"] == [[0, 10]]
    assert told["produced"] == 15


def test_without_its_state_everything_is_sent_again_and_it_says_so(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    fill(spool, 3)
    spool.save()
    killed(spool)
    for damage in (lambda path: path.unlink(), lambda path: path.write_text("{")):
        damage(tmp_path / STATE_NAME)
        again = opened(tmp_path)
        assert again.lost_state
        assert len(waiting(again)) == 3
        again.save()
        killed(again)
    assert not opened(tmp_path).lost_state


@pytest.mark.parametrize("damaged", [0, 7, 19])
def test_damage_on_disk_is_declared_and_what_stands_behind_it_is_sent(tmp_path: Path, damaged: int) -> None:
    spool = opened(tmp_path)
    fill(spool, 20, size=3000)
    spool.save()
    killed(spool)
    (segment,) = tmp_path.rglob("*.log")
    data = bytearray(segment.read_bytes())
    data[data.index(b"%d:xxx" % (damaged * 10)) + 500] ^= 0xFF
    segment.write_bytes(data)
    again = opened(tmp_path)
    assert [frame.first for frame in waiting(again)] == [at * 10 for at in range(20) if at != damaged]
    assert again.books[EPOCH].dropped[DAMAGED] == SequenceSet([(damaged * 10, damaged * 10 + 10)])
    assert again.books[EPOCH].held.count() == 190
    for frame in waiting(again):
        again.acknowledge(frame)
    assert again.frames == 0
    killed(again)


def test_when_the_log_is_gone_what_it_held_is_declared(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    fill(spool, 5)
    spool.save()
    killed(spool)
    for path in sorted((tmp_path / "log").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    again = opened(tmp_path)
    assert again.books[EPOCH].dropped[DAMAGED] == SequenceSet([(0, 50)])
    fill(again, 2)
    again.save()
    killed(again)
    assert [frame.first for frame in waiting(opened(tmp_path))] == [50, 60]


STEPS = st.lists(st.sampled_from(["append", "acknowledge", "save", "kill"]), max_size=30)


@settings(deadline=None, max_examples=25)  # it syncs the disk
@given(STEPS)
def test_whatever_happens_every_reading_is_held_or_acknowledged_or_declared(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    spool = opened(directory, bytes_max=65536)
    acknowledged = SequenceSet()
    for step in steps:
        if step == "append":
            fill(spool, 3, size=5000)
        elif step == "acknowledge":
            for frame in spool.read(spool.oldest, 2):
                spool.acknowledge(frame)
                acknowledged.add(frame.first, frame.stop)
        elif step == "save":
            spool.save()
        else:
            killed(spool)
            spool = opened(directory, bytes_max=65536)
        told = spool.account(epoch=EPOCH, produced=0, time_ms=0)
        known = acknowledged.copy()
        for start, stop in told["held"]:
            known.add(start, stop)
        for each in told["dropped"]:
            known.add(each["start"], each["stop"])
        assert known.missing(0, told["produced"]) == []
        held = SequenceSet(told["held"])
        sent = SequenceSet((frame.first, frame.stop) for frame in waiting(spool))
        assert held == sent
        json.dumps(told)
    killed(spool)


def test_frames_numbered_anew_are_there_once_and_their_old_numbers_are_declared(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for first in range(0, 40, 10):
        spool.append(a_frame(first), epoch=EPOCH, first=first, stop=first + 10, manifest=3)
    spool.acknowledge(waiting(spool)[2])
    assert spool.renumber(epoch=EPOCH, start=10, into=9) == 20
    assert spool.renumber(epoch=EPOCH, start=10, into=9) == 0
    killed(spool)
    again = opened(tmp_path)
    assert [(frame.epoch, frame.first, frame.stop) for frame in waiting(again)] == [
        (7, 0, 10),
        (9, 0, 10),
        (9, 10, 20),
    ]
    assert [decode(frame.payload).blocks[0].columns[0].values[0] for frame in waiting(again)[-2:]] == [10, 30]
    told = again.account(epoch=9, produced=20, time_ms=0)
    assert told["held"] == [[0, 20]]
    assert told["earlier"][0]["held"] == [[0, 10]]
    assert told["earlier"][0]["dropped"] == [
        {"start": 10, "stop": 20, "reason": NUMBERED_ANEW},
        {"start": 30, "stop": 40, "reason": NUMBERED_ANEW},
    ]
