"""From frames to transactions: every fate that a frame can have."""

from __future__ import annotations

import functools
import logging
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import processors.engine
from processors.alarms import Alarm, alarm_from_json
from processors.chunk import Chunk, FrameIn, Outgoing
from processors.parking import OVERHEAD_BYTES
from processors.rows import no_rows
from processors.settings import AlarmSettings, ProcessorsSettings
from processors.stores.store import State
from streams.frames import Kind, read_header
from streams.frames.decode_compiled import batches
from streams.names import ALERTS, QUARANTINE, TELEMETRY
from streams.sequences import SequenceSet
from tests.processors.world import (
    NOW_NS,
    ONE,
    SECOND_NS,
    arrived,
    block,
    engine,
    frame,
    manifest,
    rows,
    simple,
    take,
)
from tests.streams.frame_samples import exact

Books = dict[tuple[str, int], tuple[list[tuple[int, int]], list[tuple[int, int]]]]

LIMITED = manifest({"name": "level", "maximum": 10.0})


def books(chunks: Sequence[Chunk]) -> Books:
    """Stored and quarantined ranges, as the store would keep them."""
    return {(d, e): (seen.stored.spans(), seen.quarantined.spans()) for chunk in chunks for d, e, seen in chunk.ranges}


def outgoing(chunks: Sequence[Chunk], stream: str) -> list[Outgoing]:
    return [each for chunk in chunks for each in chunk.outgoing if each.stream == stream]


def reasons(chunks: Sequence[Chunk]) -> list[str]:
    return [dict(each.headers)["reason"].decode() for each in outgoing(chunks, QUARANTINE)]


def told(chunks: Sequence[Chunk]) -> list[Alarm]:
    """Alarms at each opening and closing, as they are published."""
    return [alarm_from_json(each.value.decode()) for each in outgoing(chunks, ALERTS)]


def sequences(chunks: Sequence[Chunk]) -> list[int]:
    return [int(number) for chunk in chunks for number in chunk.rows.sequence]


def without_meaning(data: bytes) -> bytes:
    """A frame whose checksum and header are right and whose columns are not."""
    head = bytearray(data[:-4])
    for at in range(len(head) - 1, 0, -1):
        changed = head.copy()
        changed[at] ^= 0x7F
        made = bytes(changed) + zlib.crc32(changed).to_bytes(4, "little")
        chunks = take(engine(), arrived(made), ONE)
        if reasons(chunks) and not chunks[0].undecodable:
            return made
    raise AssertionError("no byte of the frame matters")


# -- good frames -----------------------------------------------------------------------------------------------------


def test_the_readings_of_a_good_frame_become_rows() -> None:
    made = engine()
    (chunk,) = take(made, arrived(simple(5, [1.5, -0.0]), first=7, partition=2), ONE)
    assert rows(made, [chunk]) == [
        ("d", "level", "float64", 1, 5, NOW_NS + 5 * SECOND_NS, exact(1.5), 0, 2, 7),
        ("d", "level", "float64", 1, 6, NOW_NS + 6 * SECOND_NS, exact(-0.0), 0, 2, 7),
    ]
    assert chunk.offsets == {(TELEMETRY, 2): 8}
    assert chunk.manifests == [("d", ONE)]
    assert [(number, info.metric) for number, info in chunk.series] == [(0, "level")]
    assert books([chunk]) == {("d", 1): ([(5, 7)], [])}
    assert (chunk.outgoing, chunk.parked, chunk.undecodable) == ([], [], 0)


def test_every_kind_of_column_and_quality_comes_through_exactly() -> None:
    payload = manifest(*({"name": kind, "type": kind} for kind in Kind))
    values: dict[str, list[Any]] = {
        Kind.FLOAT64: [float("nan"), -0.0, 5e-324],
        Kind.FLOAT32: [0.5, float("inf"), -2.0],
        Kind.INT64: [2**63 - 1, -(2**63), 2**53 + 1],
        Kind.BOOL: [True, False, True],
        Kind.TEXT: ["running", "", "ünten"],
    }
    blocks = [block(at, values[kind], kind=kind, quality=bytes([0, 1, 2])) for at, kind in enumerate(Kind)]
    made = engine()
    found = rows(made, take(made, arrived(frame(0, *blocks, payload=payload)), payload))
    wanted = [(kind, exact(int(v) if kind == Kind.BOOL else v), q) for kind in Kind for q, v in enumerate(values[kind])]
    assert [(kind, value, quality) for _, _, kind, _, _, _, value, quality, _, _ in found] == wanted
    assert [metric for _, metric, *_ in found] == [kind for kind, _, _ in wanted]


def test_its_columns_have_the_types_that_stores_and_detectors_are_promised() -> None:
    (chunk,) = take(engine(), arrived(simple(0, [1.0])), ONE)
    for name in no_rows().__slots__:
        if name != "texts":
            assert getattr(chunk.rows, name).dtype == getattr(no_rows(), name).dtype, name


def test_two_epochs_of_a_device_are_numbered_apart() -> None:
    made = engine()
    chunks = take(made, arrived(simple(0, [1.0, 2.0]), simple(0, [3.0, 4.0], epoch=2), simple(2, [5.0])), ONE)
    assert [(row[3], row[4]) for row in rows(made, chunks)] == [(1, 0), (1, 1), (2, 0), (2, 1), (1, 2)]
    assert books(chunks) == {("d", 1): ([(0, 3)], []), ("d", 2): ([(0, 2)], [])}


def test_a_frame_without_readings_moves_the_offset_alone() -> None:
    (chunk,) = take(engine(), arrived(frame(3)), ONE)
    assert (len(chunk.rows), chunk.offsets, chunk.outgoing) == (0, {(TELEMETRY, 0): 1}, [])


def test_a_series_keeps_its_row_number_under_a_new_manifest() -> None:
    made = engine()
    take(made, arrived(simple(0, [1.0])), ONE)
    swapped = manifest("other", {"name": "level", "unit": "bar"})
    (chunk,) = take(made, arrived(frame(1, block(1, [2.0]), payload=swapped), first=1), swapped)
    assert [(row[1], row[4]) for row in rows(made, [chunk])] == [("level", 1)]
    assert chunk.rows.series.tolist() == [0]
    assert [(number, info.metric, info.unit) for number, info in chunk.series] == [
        (0, "level", "bar"),
        (1, "other", None),
    ]


# -- copies ----------------------------------------------------------------------------------------------------------


def test_a_second_copy_is_nothing() -> None:
    made = engine()
    take(made, arrived(simple(0, [1.0, 2.0])), ONE)
    (chunk,) = take(made, arrived(simple(0, [1.0, 2.0]), first=1))
    assert (len(chunk.rows), chunk.ranges, chunk.outgoing) == (0, [], [])
    assert chunk.offsets == {(TELEMETRY, 0): 2}


def test_of_an_overlapping_copy_only_what_is_new_is_taken() -> None:
    made = engine()
    found = take(made, arrived(simple(2, [2.0, 3.0]), simple(6, [6.0]), simple(0, list(map(float, range(9))))), ONE)
    assert sequences(found) == [2, 3, 6, 0, 1, 4, 5, 7, 8]
    assert {row[4]: row[6] for row in rows(made, found)} == {number: exact(float(number)) for number in range(9)}
    assert books(found) == {("d", 1): ([(0, 9)], [])}


def test_what_the_store_has_already_is_not_taken_again() -> None:
    state = State(ranges=[("d", 1, SequenceSet([(0, 3)]), SequenceSet())], manifests=[("d", ONE)])
    assert sequences(take(engine(state), arrived(simple(0, [0.0, 1.0, 2.0, 3.0])))) == [3]


# -- manifests -------------------------------------------------------------------------------------------------------


def test_a_frame_ahead_of_its_manifest_is_parked_and_then_processed_before_what_came_later() -> None:
    made = engine()
    (first,) = take(made, arrived(simple(0, [0.0]), simple(1, [1.0])))
    assert (len(first.rows), first.outgoing) == (0, [])
    assert [(each.frame.offset, each.first, each.stop) for each in first.parked] == [(0, 0, 1), (1, 1, 2)]
    assert first.offsets == {(TELEMETRY, 0): 2}
    (second,) = take(made, arrived(simple(2, [2.0]), first=2), ONE)
    assert sequences([second]) == [0, 1, 2]
    assert [row[9] for row in rows(made, [second])] == [0, 1, 2], "the evidence is where each frame stands"
    assert second.unparked == [(0, 0), (0, 1)]
    assert second.offsets == {(TELEMETRY, 0): 3}


def test_a_manifest_without_frames_releases_what_waits() -> None:
    made = engine()
    take(made, arrived(simple(0, [0.0]), first=4))
    (chunk,) = take(made, [], ONE)
    assert (sequences([chunk]), chunk.unparked, chunk.offsets) == ([0], [(0, 4)], {})


def test_a_manifest_of_another_device_or_another_one_of_the_same_releases_nothing() -> None:
    made = engine()
    take(made, arrived(simple(0, [0.0])))
    assert sequences(take(made, [], ONE, device="e")) == []
    assert sequences(take(made, [], manifest("other"))) == []
    assert sequences(take(made, [], ONE)) == [0]


def test_parked_frames_and_their_copies_are_stored_once() -> None:
    made = engine()
    take(made, arrived(simple(0, [0.0]), simple(0, [0.0])))
    assert sequences(take(made, arrived(simple(0, [0.0]), first=2), ONE)) == [0]


def test_parked_frames_wait_on_after_a_restart() -> None:
    before = engine()
    (chunk,) = take(before, arrived(simple(0, [0.0]), simple(1, [1.0])))
    made = engine(State(parked=list(reversed(chunk.parked))))
    (later,) = take(made, [], ONE)
    assert (sequences([later]), later.unparked) == ([0, 1], [(0, 0), (0, 1)])


def test_frames_that_need_not_wait_any_more_after_a_restart_go_on_at_once() -> None:
    """A kill between the transaction of the manifest and that of the last frame that waited for it."""
    (chunk,) = take(engine(), arrived(simple(0, [0.0])))
    made = engine(State(parked=chunk.parked, manifests=[("d", ONE)]))
    (later,) = take(made, [])
    assert (sequences([later]), later.unparked, later.manifests) == ([0], [(0, 0)], [])


def test_a_manifest_that_comes_at_every_connect_is_kept_once() -> None:
    made = engine()
    assert [chunk.manifests for chunk in take(made, [], ONE, ONE)] == [[("d", ONE)]]
    assert [chunk.manifests for chunk in take(made, [], ONE)] == [[]]
    assert [chunk.manifests for chunk in take(engine(State(manifests=[("d", ONE)])), [], ONE)] == [[]]


def test_frames_of_a_manifest_without_meaning_go_to_quarantine_whether_they_came_before_it_or_after() -> None:
    junk = b'{"series": "many"}'
    made = engine()
    take(made, arrived(simple(0, [0.0], payload=junk)))
    chunks = take(made, arrived(simple(1, [1.0], payload=junk), first=1), junk)
    assert reasons(chunks) == ["the manifest of d cannot be read: it needs a list `series` of at most 65536"] * 2
    assert books(chunks) == {("d", 1): ([], [(0, 2)])}
    assert chunks[0].manifests == [("d", junk)]
    again = take(engine(State(manifests=[("d", junk)])), arrived(simple(2, [2.0], payload=junk)))
    assert len(reasons(again)) == 1, "after a restart too"


def test_no_more_may_wait_than_its_bound() -> None:
    data = [simple(at, [float(at)]) for at in range(4)]
    bound = sum(len(each) + OVERHEAD_BYTES for each in data[:2])
    made = engine(settings=ProcessorsSettings(parked_bytes_max=bound))
    (chunk,) = take(made, arrived(*data))
    assert [each.first for each in chunk.parked] == [0, 1]
    assert [each.value for each in outgoing([chunk], QUARANTINE)] == data[2:]
    assert "no more may wait (processors.parked_bytes_max)" in reasons([chunk])[0]
    assert books([chunk]) == {("d", 1): ([], [(2, 4)])}
    (later,) = take(made, arrived(simple(4, [4.0]), first=4), ONE)
    assert sequences([later]) == [0, 1, 4]


# -- junk ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"this is not a frame", "it begins with"),
        (b"", "too few"),
        (simple(0, [1.0])[:-1], "checksum"),
    ],
)
def test_an_undecodable_frame_goes_to_quarantine_with_reason_and_bytes_and_the_next_one_through(
    data: bytes, reason: str
) -> None:
    made = engine()
    (chunk,) = take(made, arrived(data, simple(0, [1.0]), first=3, partition=1), ONE)
    assert sequences([chunk]) == [0]
    (record,) = outgoing([chunk], QUARANTINE)
    assert (record.id, record.key, record.value, record.time_ms) == ("telemetry/1/3", "d", data, NOW_NS // 10**6)
    headers = {name: value.decode() for name, value in record.headers}
    assert reason in headers.pop("reason")
    assert headers == {"stream": "telemetry", "partition": "1", "offset": "3"}
    assert chunk.undecodable == 1
    assert chunk.offsets == {(TELEMETRY, 1): 5}


def test_of_a_frame_whose_header_can_be_read_the_readings_are_accounted_for() -> None:
    made = engine()
    take(made, arrived(simple(0, [1.0])), ONE)
    broken = without_meaning(simple(0, [0.25, -1e300, 3.75, 1.1]))
    (chunk,) = take(made, arrived(broken, first=1))
    assert (chunk.undecodable, len(reasons([chunk]))) == (0, 1)
    assert books([chunk]) == {("d", 1): ([(0, 1)], [(1, 4)])}


def test_a_series_that_the_manifest_does_not_declare() -> None:
    made = engine()
    bad = frame(0, block(0, [1.0]), block(7, [1.0, 2.0]))
    (chunk,) = take(made, arrived(bad, simple(3, [1.0])), ONE)
    assert reasons([chunk]) == [f"series 7 is not in the manifest {zlib.crc32(ONE):08x}"]
    assert sequences([chunk]) == [3]
    assert books([chunk]) == {("d", 1): ([(3, 4)], [(0, 3)])}
    none = manifest()
    (chunk,) = take(made, arrived(simple(9, [1.0], payload=none), first=2), none)
    assert len(reasons([chunk])) == 1, "a manifest may declare nothing at all"


def test_a_flood_of_junk_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        take(engine(), arrived(*[b"junk %d" % at for at in range(500)]))
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("500 frames go to quarantine; the first, of d: frame refused")


@given(st.lists(st.binary(max_size=60), max_size=8), st.lists(st.binary(max_size=30), max_size=3), st.data())
@settings(max_examples=150)
def test_whatever_comes_every_frame_is_stored_or_parked_or_in_quarantine(
    junk: list[bytes], manifests: list[bytes], data: st.DataObject
) -> None:
    frames = [*junk, simple(0, [1.0, 2.0]), frame(2, block(1, ["a"], kind=Kind.TEXT)), simple(3, [0.0], payload=b"?")]
    for _ in range(3):  # a bit of a good one is wrong
        made = bytearray(data.draw(st.sampled_from(frames)))
        if made:
            made[data.draw(st.integers(0, len(made) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            if data.draw(st.booleans()) and len(made) > 4:
                made[-4:] = zlib.crc32(made[:-4]).to_bytes(4, "little")
            frames.append(bytes(made))
    tested = engine()
    log = data.draw(st.permutations(frames))
    chunks = take(tested, arrived(*log), *manifests, ONE)
    aside = {int(each.id.rpartition("/")[2]) for each in outgoing(chunks, QUARANTINE)}
    waiting = {each.frame.offset for chunk in chunks for each in chunk.parked}
    stored = {row[9] for row in rows(tested, chunks)}
    assert aside.isdisjoint(stored | waiting) and waiting.isdisjoint(stored)
    ranges = {key: SequenceSet(spans) for key, (spans, _) in books(chunks).items()}
    for offset in set(range(len(log))) - aside - waiting - stored:  # a copy: all of it is stored already
        header = read_header(log[offset])
        assert ranges.get(("d", header.epoch), SequenceSet()).contains(header.sequence, header.sequence + header.count)
    assert chunks[-1].offsets == {(TELEMETRY, 0): len(log)}


# -- alarms ----------------------------------------------------------------------------------------------------------


def test_an_alarm_opens_and_closes_and_is_told_both_times() -> None:
    made = engine()
    values = [5.0, 11.0, 12.0] + [5.0] * 12
    (chunk,) = take(made, arrived(simple(0, values, payload=LIMITED)), LIMITED)
    opened, closed = told([chunk])
    assert chunk.alarms == [closed], "once, as it is in the end"
    assert (opened.id, opened.state, opened.value) == ("d/level/level/1/1", "open", 11.0)
    assert opened.message == "level of d is above its limit: 11, at most 10"
    assert opened.parameters == {"open_strength": 1.0, "close_strength": 0.6, "close_hold_s": 10.0}
    assert opened.evidence == {"epoch": 1, "sequence": 1, "partition": 0, "offset": 0}
    assert (closed.id, closed.state, closed.opened_ns) == (opened.id, "closed", opened.opened_ns)
    assert closed.closed_ns == NOW_NS + 13 * SECOND_NS, "calm since the third reading, for ten seconds"
    records = outgoing([chunk], ALERTS)
    assert [(each.id, each.key) for each in records] == [
        (f"{opened.id}:open", opened.id),
        (f"{opened.id}:closed", opened.id),
    ]
    assert [each.time_ms for each in records] == [opened.opened_ns // 10**6, (closed.closed_ns or 0) // 10**6]


def test_what_is_not_a_good_number_alarms_nobody() -> None:
    payload = manifest(
        {"name": "float", "maximum": 1.0},
        {"name": "bool", "type": "bool", "maximum": 0.0},
        {"name": "int", "type": "int64", "maximum": 1},
    )
    blocks = (
        block(0, [float("inf"), float("nan"), 9.0, 9.0], quality=bytes([0, 0, 1, 2])),
        block(1, [True] * 4, kind=Kind.BOOL),
        block(2, [2, 0, 0, 0], kind=Kind.INT64),
    )
    (chunk,) = take(engine(), arrived(frame(0, *blocks, payload=payload)), payload)
    assert [alarm.metric for alarm in chunk.alarms] == ["int"]


def test_alarms_of_several_detectors_come_in_the_order_of_the_readings() -> None:
    payload = manifest({"name": "moving", "maximum": 100.0})
    values = [float(at % 13) for at in range(150)] + [5.0] * 25 + [200.0] + [float(at % 13) for at in range(40)]
    (chunk,) = take(engine(), arrived(simple(0, values, payload=payload)), payload)
    assert [(alarm.detector, alarm.state) for alarm in told([chunk])] == [
        ("stuck", "open"),
        ("level", "open"),
        ("stuck", "closed"),
        ("level", "closed"),
    ]


def test_an_open_alarm_goes_on_after_a_restart() -> None:
    first = engine()
    (chunk,) = take(first, arrived(simple(0, [5.0, 11.0, 5.0, 5.0], payload=LIMITED)), LIMITED)
    state = State(
        series=chunk.series, manifests=chunk.manifests, open_alarms=chunk.alarms, detectors=first.snapshot(),
        ranges=[(d, e, seen.stored.copy(), seen.quarantined.copy()) for d, e, seen in chunk.ranges],
    )  # fmt: skip
    more = arrived(simple(4, [5.0] * 20, payload=LIMITED), first=1)
    (going_on,) = take(first, more)
    (restarted,) = take(engine(state), more)
    assert restarted.alarms == going_on.alarms
    assert [alarm.state for alarm in restarted.alarms] == ["closed"]


def test_the_alarm_of_a_detector_that_is_switched_off_is_closed_at_the_next_start() -> None:
    (chunk,) = take(engine(), arrived(simple(0, [5.0, 11.0, 12.0], payload=LIMITED)), LIMITED)
    state = State(series=chunk.series, manifests=chunk.manifests, open_alarms=chunk.alarms)
    made = engine(state, ProcessorsSettings(alarms=AlarmSettings(detectors=("stuck",))))
    (later,) = take(made, arrived(simple(3, [50.0], payload=LIMITED), first=1))
    assert [(alarm.id, alarm.state) for alarm in later.alarms] == [(chunk.alarms[0].id, "closed")]
    assert [each.id for each in outgoing([later], ALERTS)] == [f"{chunk.alarms[0].id}:closed"]
    assert take(made, arrived(simple(4, [50.0], payload=LIMITED), first=2))[0].alarms == []


# -- many at once ----------------------------------------------------------------------------------------------------


def test_what_is_too_much_for_one_transaction_becomes_several_and_none_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processors.engine, "batches", functools.partial(batches, readings_max=10))
    made = engine()
    take(made, arrived(*[simple(4 * at, [0.0] * 4) for at in range(5)]))
    chunks = take(made, arrived(*[simple(4 * at, [0.0] * 4) for at in range(5, 8)], first=5), ONE)
    assert [len(chunk.rows) for chunk in chunks] == [8, 8, 8, 8]
    assert sequences(chunks) == list(range(32))
    assert [chunk.unparked for chunk in chunks] == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)], []]
    assert [chunk.offsets for chunk in chunks] == [{}, {}, {(TELEMETRY, 0): 6}, {(TELEMETRY, 0): 8}]
    assert [bool(chunk.manifests) for chunk in chunks] == [True, False, False, False]


def test_thousands_of_frames_at_once_are_those_one_by_one() -> None:
    data = [simple(at * 3, [at % 7, at % 5, 0.5 * (at % 3)]) for at in range(1500)]
    at_once, one_by_one = engine(), engine()
    whole = take(at_once, arrived(*data), ONE)
    single = take(one_by_one, [], ONE)
    for each in arrived(*data):
        single += take(one_by_one, [each])
    assert rows(at_once, whole) == rows(one_by_one, single)
    assert len(whole[0].rows) == 4500
    assert at_once.snapshot() == one_by_one.snapshot()
    assert books(whole) == books(single)


# A log: what three devices sent, in an order that the dice choose. Their values alarm, freeze, and come twice.
_KINDS = {"d": LIMITED, "e": manifest({"name": "level"}, {"name": "word", "type": "text"}), "f": manifest("level", "b")}


def _log(data: st.DataObject) -> list[tuple[str, bytes | None]]:
    """Events of (device, frame), or None where its manifest comes."""
    events: list[tuple[str, bytes | None]] = []
    for device, payload in _KINDS.items():
        own: list[tuple[str, bytes | None]] = []
        number = 0
        for _ in range(data.draw(st.integers(0, 8))):
            style = data.draw(st.sampled_from(["calm", "high", "frozen", "copy", "junk", "words"]))
            if style == "junk":
                own.append((device, b"junk" + bytes([number % 256])))
                continue
            if style == "copy" and own:
                own.append(own[-1])
                continue
            if style == "words" and device == "e":
                own.append((device, frame(number, block(1, ["on", "off"], kind=Kind.TEXT), payload=payload)))
                number += 2
                continue
            values = {"high": [20.0] * 3, "frozen": [4.0] * 30}.get(style, [float(at * 7 % 13) for at in range(70)])
            own.append((device, simple(number, values, payload=payload)))
            number += len(values)
        own.insert(data.draw(st.integers(0, len(own))), (device, None))
        events += own
    order = data.draw(st.permutations([device for device, _ in events]))
    queues = {device: iter([event for event in events if event[0] == device]) for device in _KINDS}
    return [next(queues[device]) for device in order]


def _consume(log: Sequence[tuple[str, bytes | None]], cuts: Sequence[int]) -> tuple[Any, ...]:
    """Everything that comes of the log when it is taken in these pieces."""
    made = engine()
    chunks: list[Chunk] = []
    for start, stop in zip([0, *cuts], [*cuts, len(log)]):
        frames = [
            FrameIn(device, 0, at, 1, data) for at, (device, data) in enumerate(log) if data and start <= at < stop
        ]
        manifests = [(device, _KINDS[device]) for device, data in log[start:stop] if data is None]
        for chunk in made.take(frames, manifests):
            chunks.append(chunk)
            made.latest.take(chunk.rows)
    found = rows(made, chunks)
    by_device = {device: [row for row in found if row[0] == device] for device in _KINDS}
    alarms = {alarm.id: alarm for chunk in chunks for alarm in chunk.alarms}
    ledger = (books(chunks), sum(chunk.undecodable for chunk in chunks))
    parked = {
        place for chunk in chunks for place in [(each.frame.partition, each.frame.offset) for each in chunk.parked]
    }
    parked -= {place for chunk in chunks for place in chunk.unparked}
    sent = sorted((each.stream, each.id, each.value) for chunk in chunks for each in chunk.outgoing)
    return by_device, alarms, ledger, parked, sent, made.latest.to_json(made.table)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_however_a_log_is_cut_into_transactions_the_same_comes_of_it(data: st.DataObject) -> None:
    log = _log(data)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=8)))
    whole = _consume(log, [])
    assert _consume(log, cuts) == whole
    assert _consume(log, range(1, len(log))) == whole
