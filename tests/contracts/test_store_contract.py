"""What every store must do (processors/stores/store.py). DuckDB always; InfluxDB with `make system`, on a real one."""

from __future__ import annotations

import random
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processors.chunk import FrameIn, Outgoing, Parked
from processors.manifests import SeriesInfo
from processors.settings import StoreSettings
from processors.stores.store import State
from streams.frames import Quality
from streams.names import ALERTS, DEVICES, TELEMETRY
from streams.sequences import SequenceSet
from tests.contracts.stores import DEVICE, EPOCH, NOON, SECOND, Home, Maker, Reading, alarm, expected, ticks
from tests.servers import Server, influxdb


@pytest.fixture(scope="module")
def influx() -> Iterator[Server]:
    with influxdb() as server:
        yield server


@pytest.fixture(params=["duckdb", pytest.param("influx", marks=pytest.mark.system)])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    settings = StoreSettings(memory_bytes_max=64 << 20)
    if request.param == "influx":
        url = request.getfixturevalue("influx").url
        settings = StoreSettings(kind="influx", influx_url=url, influx_bucket=f"test-{uuid.uuid4()}")
    made = Home(tmp_path / "store", settings)
    yield made
    made.store.close()


def test_a_new_store_knows_nothing(home: Home) -> None:
    assert home.reopen() == State()
    assert home.stored() == set()
    assert home.rows() == {}
    assert home.store.alarms(device=None, state="all", limit=10) == []
    assert home.store.problems() == []


def test_load_gives_what_was_committed(home: Home) -> None:
    maker = Maker()
    frame = FrameIn("pump-001", 3, 11, 1_790_000_000_123, b"\x00frame\xff")
    headers = (("reason", b"gr\xc3\xbcn"),)
    chunk = maker.chunk(
        [*ticks(3), Reading(sequence=3, value="running", metric="state")],
        offsets={(TELEMETRY, 0): 4, (TELEMETRY, 1): 9, (DEVICES, 0): 2},
        manifests=[(DEVICE, b'{"series": []}')],
        parked=[Parked(frame, 77, EPOCH, 100, 140)],
        alarms=[alarm(2)],
        outgoing=[Outgoing("a", ALERTS, DEVICE, b"\x01\x02", headers, 12), Outgoing("b", ALERTS, DEVICE, b"", (), 13)],
        detectors={"level/1": b"\x00\x01"},
        undecodable=2,
    )
    home.store.commit(chunk)
    state = home.reopen()
    assert state.offsets == {(TELEMETRY, 0): 4, (TELEMETRY, 1): 9, (DEVICES, 0): 2}
    assert state.series == [(0, SeriesInfo(DEVICE, "oil.pressure")), (1, SeriesInfo(DEVICE, "state", "text"))]
    assert state.ranges == [(DEVICE, EPOCH, SequenceSet([(0, 4)]), SequenceSet())]
    assert state.manifests == [(DEVICE, b'{"series": []}')]
    assert state.parked == [Parked(frame, 77, EPOCH, 100, 140)]
    assert state.open_alarms == [alarm(2)]
    assert state.outgoing == chunk.outgoing
    assert state.detectors == {"level/1": b"\x00\x01"}
    assert state.undecodable == 2
    assert state.readings == 4
    latest = {number: (last.time_ns, last.value, last.quality) for number, last in state.latest}
    assert latest == {0: (NOON + 2 * SECOND, 2.0, 0), 1: (NOON, "running", 0)}


def test_what_is_over_is_forgotten(home: Home) -> None:
    maker = Maker()
    parked = [Parked(FrameIn("pump-001", 0, offset, 1, b"x"), 77, EPOCH, offset, offset + 1) for offset in (5, 6)]
    outgoing = [Outgoing(name, ALERTS, DEVICE, b"x") for name in ("a", "b", "c")]
    home.store.commit(maker.chunk(ticks(1), parked=parked, outgoing=outgoing, alarms=[alarm(0)], undecodable=1))
    closed = alarm(0, closed_ns=NOON + 9 * SECOND, strength=4.0)
    home.store.commit(
        maker.chunk(ticks(1, first=1), unparked=[(0, 5)], published=["a", "c"], alarms=[closed], undecodable=3)
    )
    state = home.reopen()
    assert [each.frame.offset for each in state.parked] == [6]
    assert [each.id for each in state.outgoing] == ["b"]
    assert state.open_alarms == []
    assert state.undecodable == 4
    assert state.ranges == [(DEVICE, EPOCH, SequenceSet([(0, 2)]), SequenceSet())]


@pytest.mark.parametrize("cut", [None, 1, 7, 30])
def test_a_chunk_that_is_written_twice_changes_nothing(home: Home, tmp_path: Path, cut: int | None) -> None:
    """A kill between the rows and the transaction; the second time the log may be cut into other chunks."""
    before = ticks(20)
    again = [
        *ticks(20, first=20, start_ns=NOON + 10 * SECOND),  # half of it at times that are stored already
        *ticks(20, first=40, start_ns=NOON + 30 * SECOND, step_ns=0),  # a clock that stands still
        Reading(sequence=60, value="stopped", metric="state"),
    ]
    maker = Maker()
    home.store.commit(maker.chunk(before))
    home.keep(tmp_path / "aside")
    home.store.commit(maker.chunk(again))
    state = home.throw_back(tmp_path / "aside")
    assert state.readings == len(before)
    maker = Maker(state)
    for part in [again] if cut is None else [again[:cut], again[cut:]]:
        home.store.commit(maker.chunk(part))
    assert home.stored() == expected([*before, *again])
    assert home.rows() == {(DEVICE, EPOCH): (len(before) + len(again), 0)}
    assert home.reopen().readings == len(before) + len(again)


FLOATS = [
    0.0, -0.0, 0.1 + 0.2, 1 / 3, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e21, 1e22, 1e-7,
    123456789012345680.0, 2.0**53 + 2, -(2.0**63), 100.0, float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
INTEGERS = [0, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 10**15]
TEXTS = [
    "running", "", " ", '"', "\\", '\\"', "a,b=c d", "two\nlines\r\n", "\ttab\x00nul", "grün ± 5 % 😀",
    "x" * 65_535, 'ends in \\', "i", "true", "1i", "NaN",
]  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [FLOATS, [np.float32(x) for x in (0.1, 3.4028235e38, 1e-45)], INTEGERS, [True, False], TEXTS],
    ids=["float64", "float32", "int64", "bool", "text"],
)
def test_values_are_equal_to_the_bit(home: Home, values: list[Any]) -> None:
    readings = [Reading(sequence=n, value=value, time_ns=NOON + n) for n, value in enumerate(values)]
    home.store.commit(Maker().chunk(readings))
    assert home.stored() == expected(readings)
    assert home.rows() == {(DEVICE, EPOCH): (len(values), 0)}
    home.reopen()
    assert home.stored() == expected(readings)


def test_any_float_is_equal_to_the_bit(home: Home) -> None:
    dice = random.Random(20261123)
    values = [struct.unpack("<d", dice.randbytes(8))[0] for _ in range(5_000)]
    readings = [Reading(sequence=n, value=value, time_ns=NOON + n) for n, value in enumerate(values)]
    home.store.commit(Maker().chunk(readings))
    home.reopen()
    assert home.stored() == expected(readings)


def test_one_metric_may_have_another_kind_in_each_device(home: Home) -> None:
    values = [1.5, 2**60, True, "on"]
    readings = [
        Reading(sequence=0, value=value, metric="state", device=f"press-{n:03d}") for n, value in enumerate(values)
    ]
    home.store.commit(Maker().chunk(readings))
    for each in readings:
        assert home.stored(each.device) == expected([each])


@pytest.mark.parametrize("time_ns", [0, -1, -(1 << 61), 1 << 61, 1, 999])
def test_any_time_is_kept(home: Home, time_ns: int) -> None:
    readings = [Reading(sequence=n, time_ns=time_ns, value=float(n)) for n in range(3)]
    home.store.commit(Maker().chunk(readings))
    assert home.stored(start_ns=time_ns, end_ns=time_ns + 1) == expected(readings)


def test_readings_of_one_series_at_one_time_are_all_kept(home: Home) -> None:
    """In one chunk, in the next, after a restart, and in a life of the device before."""
    readings = [Reading(sequence=n, value=float(n)) for n in range(1_500)]
    earlier = [Reading(sequence=n, value=float(-n), epoch=EPOCH - 5) for n in range(10)]
    maker = Maker()
    home.store.commit(maker.chunk(readings[:600]))
    home.store.commit(maker.chunk(readings[600:1_200]))
    maker = Maker(home.reopen())
    home.store.commit(maker.chunk([*readings[1_200:], *earlier]))
    assert home.stored() == expected([*readings, *earlier])
    assert home.rows() == {(DEVICE, EPOCH): (1_500, 0), (DEVICE, EPOCH - 5): (10, 0)}


def test_a_clock_may_go_back_and_forth(home: Home) -> None:
    """Three times over the same minute, from the year 2038 and back; each reading keeps its own time."""
    laps = [ticks(60, first=60 * lap) for lap in range(3)]
    far = ticks(5, first=500, start_ns=2_145_916_800 * SECOND)
    after = ticks(60, first=600, start_ns=NOON + 60 * SECOND)
    maker = Maker()
    for part in (*laps, far, after):
        home.store.commit(maker.chunk(part))
    everything = [*(each for lap in laps for each in lap), *far, *after]
    assert home.stored() == expected(everything)
    minute = home.store.series(
        0, device=DEVICE, metric="oil.pressure", start_ns=NOON, end_ns=NOON + 60 * SECOND, bucket_ns=60 * SECOND
    )
    assert sum(minute["count"]) == 180


def test_readings_are_asked_for_by_device_and_time(home: Home) -> None:
    mine, other = ticks(10), ticks(10, device="press-002")
    also_mine = [Reading(sequence=100 + n, time_ns=NOON + n * SECOND, metric="temperature") for n in range(10)]
    home.store.commit(Maker().chunk([*mine, *other, *also_mine]))
    assert home.stored(start_ns=NOON + 2 * SECOND, end_ns=NOON + 5 * SECOND) == expected([*mine[2:5], *also_mine[2:5]])
    assert home.stored("press-002") == expected(other)
    assert home.stored("nobody") == set()
    assert len(home.stored(limit=7)) == 7
    found = home.store.readings(DEVICE, start_ns=0, end_ns=1 << 62, limit=1000)
    assert found["sequence"] == [*range(10), *range(100, 110)], "in the order of their numbers"


def test_quality_is_kept(home: Home) -> None:
    readings = [Reading(sequence=n, quality=quality, time_ns=NOON + n) for n, quality in enumerate(Quality)]
    home.store.commit(Maker().chunk(readings))
    assert home.stored() == expected(readings)


@pytest.mark.parametrize("bucket_s", [1, 7, 60, 86_400])
def test_buckets_of_a_series(home: Home, bucket_s: int) -> None:
    dice = random.Random(bucket_s)
    values = [dice.choice([dice.gauss(0, 10), dice.gauss(0, 10), float("nan"), float("inf")]) for _ in range(500)]
    readings = [Reading(sequence=n, value=value, time_ns=NOON + n * SECOND) for n, value in enumerate(values)]
    noise = [Reading(sequence=1_000 + n, value="text", metric="state", time_ns=NOON + n * SECOND) for n in range(5)]
    home.store.commit(Maker().chunk([*readings, *noise]))
    start_ns, end_ns, bucket_ns = NOON + 3 * SECOND, NOON + 333 * SECOND, bucket_s * SECOND
    found = home.store.series(
        0, device=DEVICE, metric="oil.pressure", start_ns=start_ns, end_ns=end_ns, bucket_ns=bucket_ns
    )
    wanted: dict[int, list[float]] = {}
    for each in readings:
        if start_ns <= each.time_ns < end_ns and np.isfinite(each.value):
            wanted.setdefault(each.time_ns // bucket_ns * bucket_ns, []).append(each.value)
    assert found["time_ns"] == list(wanted)
    assert found["mean"] == pytest.approx([sum(each) / len(each) for each in wanted.values()])
    assert found["min"] == [min(each) for each in wanted.values()]
    assert found["max"] == [max(each) for each in wanted.values()]
    assert found["count"] == [len(each) for each in wanted.values()]


@pytest.mark.parametrize(("value", "number"), [(3, 3.0), (True, 1.0), (2**60, 2.0**60)])
def test_whole_numbers_and_switches_can_be_drawn(home: Home, value: int, number: float) -> None:
    home.store.commit(Maker().chunk([Reading(sequence=0, value=value)]))
    found = home.store.series(0, device=DEVICE, metric="oil.pressure", start_ns=NOON, end_ns=NOON + 1, bucket_ns=SECOND)
    assert found == {
        "time_ns": [NOON], "mean": [number], "min": [number], "max": [number], "count": [1], "bad_ns": []
    }  # fmt: skip


def test_where_the_device_calls_a_reading_bad_is_told_with_or_without_a_value(home: Home) -> None:
    bad = {2: 5.0, 7: float("nan"), 30: 5.0}
    readings = [
        Reading(sequence=n, value=bad.get(n, 1.0), quality=2 if n in bad else n % 2, time_ns=NOON + n * SECOND)
        for n in range(40)
    ]
    home.store.commit(Maker().chunk(readings))
    found = home.store.series(
        0, device=DEVICE, metric="oil.pressure", start_ns=NOON, end_ns=NOON + 30 * SECOND, bucket_ns=SECOND
    )
    assert [(each - NOON) // SECOND for each in found["bad_ns"]] == [2, 7]
    assert len(found["time_ns"]) == 29, "a value counts, however bad; what is none does not"


def test_alarms_newest_first(home: Home) -> None:
    maker = Maker()
    other = alarm(5, id="other", device="pump-001")
    home.store.commit(maker.chunk(ticks(1), alarms=[alarm(1), alarm(2), other]))
    closed = alarm(1, closed_ns=NOON + 60 * SECOND, strength=float("inf"))
    home.store.commit(maker.chunk(ticks(1, first=1), alarms=[closed, alarm(3)]))

    def ids(**question: Any) -> list[int]:
        found = home.store.alarms(**{"device": None, "state": "all", "limit": 100, **question})
        return [each["evidence"]["sequence"] for each in found]

    assert ids() == [5, 3, 2, 1]
    assert ids(limit=2) == [5, 3]
    assert ids(state="open") == [5, 3, 2]
    assert ids(state="closed") == [1]
    assert ids(device=DEVICE) == [3, 2, 1]
    assert ids(device="nobody") == []
    assert home.store.alarms(device=DEVICE, state="closed", limit=1)[0] == closed.to_json()
    assert {each.evidence["sequence"] for each in home.reopen().open_alarms} == {5, 3, 2}


def test_the_ledger(home: Home) -> None:
    maker = Maker()
    maker.dedupe.quarantine(DEVICE, EPOCH, 50, 60)
    parked = [Parked(FrameIn("pump-001", 1, 8, 1, b"x"), 77, EPOCH, first, first + 10) for first in (0, 10, 40)]
    home.store.commit(
        maker.chunk(
            [*ticks(10), *ticks(5, first=20, start_ns=NOON + 60 * SECOND), *ticks(3, epoch=EPOCH + 1)],
            offsets={(TELEMETRY, 0): 4, (TELEMETRY, 1): 9, (DEVICES, 0): 2},
            parked=parked,
            undecodable=3,
        )
    )
    for _ in range(2):
        ledger = home.store.ledger()
        assert sorted((each["partition"], each["offset"]) for each in ledger["partitions"]) == [(0, 4), (1, 9)]
        assert ledger["undecodable"] == 3
        assert [(each["device"], each["epoch"]) for each in ledger["accounts"]] == [
            (DEVICE, EPOCH), (DEVICE, EPOCH + 1), ("pump-001", EPOCH),
        ]  # fmt: skip
        first, second, third = ledger["accounts"]
        assert [list(span) for span in first["stored"]] == [[0, 10], [20, 25]]
        assert [list(span) for span in first["quarantined"]] == [[50, 60]]
        assert (first["rows"], first["duplicate_rows"], first["parked"]) == (15, 0, [])
        assert (second["rows"], second["duplicate_rows"]) == (3, 0)
        assert third["parked"] == [[0, 20], [40, 50]]
        assert (third["stored"], third["rows"]) == ([], 0)
        home.reopen()


def test_queries_are_answered_while_chunks_are_committed(home: Home) -> None:
    stop, wrong = threading.Event(), list[BaseException]()

    def ask(question: Callable[[], Any]) -> None:
        try:
            while not stop.is_set():
                question()
        except BaseException as error:
            wrong.append(error)

    questions = [
        home.stored,
        home.rows,
        lambda: home.store.alarms(device=None, state="all", limit=10),
        lambda: home.store.series(
            0, device=DEVICE, metric="oil.pressure", start_ns=NOON, end_ns=NOON + 900 * SECOND, bucket_ns=SECOND
        ),
    ]
    threads = [threading.Thread(target=ask, args=(question,)) for question in questions]
    for thread in threads:
        thread.start()
    maker = Maker()
    for part in range(20):
        home.store.commit(
            maker.chunk(ticks(30, first=30 * part, start_ns=NOON + 30 * part * SECOND), alarms=[alarm(part)])
        )
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    assert len(home.stored()) == 600
    assert home.rows() == {(DEVICE, EPOCH): (600, 0)}
