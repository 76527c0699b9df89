"""The stream quarantine, written and read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from processors import quarantine
from processors.chunk import FrameIn
from processors.outbox import Outbox
from streams.clock import ManualClock
from streams.files import DiskFiles
from streams.log import EventLog, LogSettings, StreamReader
from streams.names import ALERTS, QUARANTINE
from streams.record import NewRecord
from tests.processors.damage import flip


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    streams = {ALERTS: LogSettings(), QUARANTINE: LogSettings()}
    made = EventLog.open(tmp_path, streams, files=DiskFiles(), clock=ManualClock(), owner="test")
    yield made
    made.close()


@pytest.fixture
def reader(log: EventLog) -> Iterator[StreamReader]:
    with contextlib.closing(log.reader(QUARANTINE)) as made:
        yield made


def put(log: EventLog, *values: bytes) -> None:
    """Publish frames, each in a batch of its own."""
    outbox = Outbox(log, ManualClock())
    for at, value in enumerate(values):
        outbox.add([quarantine.frame_record(FrameIn("press-7", 2, 40 + at, 1234, value), f"reason {at}")])
        outbox.publish()


def test_a_frame_comes_back_with_reason_place_and_bytes(log: EventLog, reader: StreamReader) -> None:
    put(log, b"\x00junk\xff")
    assert quarantine.newest(reader, limit=10, bytes_max=1000) == (
        [
            {
                "offset": 0,
                "time_ms": 1234,
                "device": "press-7",
                "reason": "reason 0",
                "source": {"stream": "telemetry", "partition": 2, "offset": 40},
                "bytes_hex": "006a756e6bff",
            }
        ],
        0,
    )


def test_a_hole_has_a_record_without_bytes(log: EventLog, reader: StreamReader) -> None:
    outbox = Outbox(log, ManualClock(time_ns=7_000_000))
    outbox.add([quarantine.hole_record("telemetry", 1, 5, 9, "damaged")])
    outbox.publish()
    found = quarantine.at(reader, 0)
    assert found is not None
    assert (found["device"], found["bytes_hex"], found["reason"], found["time_ms"]) == ("", "", "damaged", 7)
    assert found["source"] == {"stream": "telemetry", "partition": 1, "offset": 5}


def test_the_newest_come_first_up_to_the_limit(log: EventLog, reader: StreamReader) -> None:
    put(log, *[b"%d" % at for at in range(7)])
    records, left_out = quarantine.newest(reader, limit=3, bytes_max=1000)
    assert [each["offset"] for each in records] == [6, 5, 4]
    assert left_out == 0
    assert len(quarantine.newest(reader, limit=100, bytes_max=1000)[0]) == 7


def test_the_bytes_of_an_answer_are_bounded_and_what_is_left_out_is_counted(
    log: EventLog, reader: StreamReader
) -> None:
    put(log, *[bytes(400)] * 6, bytes(100))
    records, left_out = quarantine.newest(reader, limit=5, bytes_max=1000)
    assert [each["offset"] for each in records] == [6, 5, 4]
    assert left_out == 2
    records, left_out = quarantine.newest(reader, limit=5, bytes_max=10)
    assert ([each["offset"] for each in records], left_out) == ([6], 4), "one at least"


def test_one_by_its_offset(log: EventLog, reader: StreamReader) -> None:
    assert quarantine.at(reader, 0) is None
    put(log, b"a", b"b")
    found = quarantine.at(reader, 1)
    assert found is not None and found["bytes_hex"] == b"b".hex()
    assert quarantine.at(reader, 2) is None
    assert quarantine.at(reader, -1) is None


def test_damage_hides_only_what_it_hit(tmp_path: Path, log: EventLog, reader: StreamReader) -> None:
    put(log, b"first", b"second", b"third")
    flip(tmp_path / QUARANTINE / "0", b"second")
    assert [each["offset"] for each in quarantine.newest(reader, limit=10, bytes_max=1000)[0]] == [2, 0]
    assert quarantine.at(reader, 1) is None
    assert quarantine.at(reader, 2) is not None


def test_headers_of_somebody_else_are_no_trouble(log: EventLog, reader: StreamReader) -> None:
    headers = (("partition", b"many"), ("reason", b"\xff"))
    log.append_durable(QUARANTINE, [NewRecord(None, None, 1), NewRecord(b"\xff", b"x", 1, headers)])
    records, _ = quarantine.newest(reader, limit=10, bytes_max=1000)
    assert [each["source"] for each in records] == [{"stream": None, "partition": None, "offset": None}] * 2
    assert [each["reason"] for each in records] == ["\ufffd", ""]
