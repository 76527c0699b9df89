"""Messages of others on the log: frames with numbers of the hub, a manifest before them, junk with its reason."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

import hub.translator as module
from hub import marks
from hub.events import FrameEvent, JunkEvent
from hub.intake import Client, Message
from hub.ledger import reconcile
from streams import names
from streams.clock import ManualClock
from streams.errors import PenstockError
from streams.frames import Frame, decode
from streams.record import Record
from tests.hub.conftest import Parts, until
from tests.hub.test_ingest import FullDisk

SENSOR = Client("sensor", None, "127.0.0.1:9", 4)


def frames(parts: Parts) -> list[Frame]:
    return [decode(record.value or b"") for record in parts.records(names.TELEMETRY)]


def manifests(parts: Parts) -> list[dict[str, Any]]:
    found = [record for record in parts.records(names.DEVICES) if record.key == b"sensor/manifest"]
    return [json.loads(record.value or b"") for record in found]


def readings(parts: Parts) -> list[tuple[int, str, Any]]:
    """Number, name and value of every reading on the log."""
    named = {each["id"]: each["name"] for each in manifests(parts)[-1]["series"]}
    found: list[tuple[int, str, Any]] = []
    for frame in frames(parts):
        values = [(named[c.series], value) for block in frame.blocks for c in block.columns for value in c.values]
        found += [(frame.sequence + at, name, value) for at, (name, value) in enumerate(values)]
    return found


async def take(parts: Parts, channel: str, *payloads: bytes, **more: Any) -> Exception | None:
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    made = [Message(names.topic("sensor", channel), payload, 1, **more) for payload in payloads]
    parts.ingest.take(SENSOR, made, told.set_result)
    return await asyncio.wait_for(told, 20)


def totals(parts: Parts) -> Any:
    return reconcile({"partitions": [], "accounts": parts.accounts.to_json()}, None).totals


async def test_a_message_becomes_a_frame_behind_its_manifest(parts: Parts) -> None:
    parts.ingest.connected(SENSOR)
    parts.listening.add("sensor")
    assert await take(parts, names.JSON, b'{"time": 1790000000, "temperature": 21.5, "door": false}') is None
    (frame,) = frames(parts)
    assert names.is_translated(frame.epoch) and frame.sequence == 0 and frame.count == 2
    assert frame.blocks[0].times_ns == [1_790_000_000 * 10**9]
    assert manifests(parts) == [
        {
            "series": [
                {"id": 0, "name": "temperature", "type": "float64"},
                {"id": 1, "name": "door", "type": "bool"},
            ],
            "device": {"translated": True},
        }
    ]
    device = parts.registry.get("sensor")
    assert device.online and device.manifest_id == frame.manifest
    assert parts.published == [], "there is nobody to ask for a manifest"
    assert totals(parts).logged == 2 and totals(parts).lost == 0


async def test_each_format_by_topic_and_by_content_type(parts: Parts) -> None:
    await take(parts, names.JSON, b'{"a": 1}')
    await take(parts, names.SENML, b'[{"n": "b", "u": "V", "v": 2}]', bytes.fromhex("81a200616302f94200"))
    await take(parts, names.LINES, b"m,t=x d=4i")
    await take(parts, names.READINGS, b'{"e": 5}')
    await take(parts, names.READINGS, b"m f=6", content_type="application/vnd.influxdb.line-protocol")
    assert [(name, value) for _, name, value in readings(parts)] == [
        ("a", 1.0), ("b", 2.0), ("c", 3.0), ("m.t_x.d", 4), ("e", 5.0), ("m.f", 6.0),
    ]  # fmt: skip
    assert [number for number, _, _ in readings(parts)] == list(range(6))
    assert len({frame.epoch for frame in frames(parts)}) == 1
    assert manifests(parts)[-1]["series"][1] == {"id": 1, "name": "b", "type": "float64", "unit": "V"}
    assert manifests(parts)[-1]["series"][3]["description"] == "m,t=x d"


async def test_what_has_no_time_has_that_of_its_arrival(parts: Parts) -> None:
    await take(parts, names.JSON, b'{"a": 1}')
    assert frames(parts)[0].blocks[0].times_ns == [parts.clock.time_ns()]


async def test_messages_that_come_together_keep_their_order_and_are_told_one_by_one(parts: Parts) -> None:
    told: list[int] = []
    for number in range(50):
        message = Message(names.topic("sensor", names.JSON), b'{"n": %d, "s%d": 1}' % (number, number % 7), 1)
        parts.ingest.take(SENSOR, [message], lambda error, number=number: told.append(number if not error else -1))
    assert told == []
    await until(lambda: len(told) == 50)
    assert told == list(range(50))
    assert [value for _, name, value in readings(parts) if name == "n"] == [float(number) for number in range(50)]
    assert [number for number, _, _ in readings(parts)] == list(range(100))
    assert len(manifests(parts)) < 10, "what came meanwhile was learnt together"


async def test_a_large_message_leaves_the_loop_alone_and_does_not_lose_its_place(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"ts": 1_790_000_000 + row, "a": row / 4, "b": "x" * 20} for row in range(12_000)]
    monkeypatch.setattr(module, "READINGS_PER_FRAME", 5000)
    threads: list[str] = []
    translated = module._translated

    def spy(*arguments: Any) -> Any:
        import threading

        threads.append(threading.current_thread().name)
        return translated(*arguments)

    monkeypatch.setattr(module, "_translated", spy)
    taken = [take(parts, names.JSON, each) for each in (b'{"a": -1}', json.dumps(rows).encode(), b'{"a": -2}')]
    assert await asyncio.gather(*taken) == [None] * 3
    assert threads[0] == "MainThread" and threads[1] != "MainThread"
    assert [frame.count for frame in frames(parts)] == [1, 5000, 5000, 5000, 5000, 4000, 1]
    values = [value for _, name, value in readings(parts) if name == "a"]
    assert values == [-1.0, *[row / 4 for row in range(12_000)], -2.0]
    assert [number for number, _, _ in readings(parts)] == list(range(24_002))


async def test_readings_that_no_frame_takes_are_split(parts: Parts) -> None:
    rows = [{"a": f"{row:05}" + "x" * 59_000} for row in range(40)]
    assert await take(parts, names.JSON, json.dumps(rows).encode()) is None
    assert len(frames(parts)) > 1
    assert [value[:5] for _, _, value in readings(parts)] == [f"{row:05}" for row in range(40)]


@pytest.mark.parametrize("snapshots", ["kept", "taken away"])
async def test_numbers_and_series_go_on_after_a_restart(tmp_path: Path, snapshots: str) -> None:
    parts = Parts(tmp_path)
    await take(parts, names.JSON, b'{"a": 1, "b": 2}', b'{"b": 3}')
    parts.projections.write(parts.projections.changed())
    await take(parts, names.JSON, b'{"c": 4}')
    await parts.close()
    if snapshots == "taken away":
        (tmp_path / "hub" / "translations.json").unlink()
    parts = Parts(tmp_path, clock=ManualClock(time_ns=parts.clock.time_ns() + 10**12))
    await take(parts, names.JSON, b'{"b": 5, "d": 6, "a": 7}')
    assert readings(parts) == [
        (0, "a", 1.0), (1, "b", 2.0), (2, "b", 3.0), (3, "c", 4.0), (4, "b", 5.0), (5, "d", 6.0), (6, "a", 7.0),
    ]  # fmt: skip
    assert len({frame.epoch for frame in frames(parts)}) == 1
    assert totals(parts).produced == totals(parts).logged == 7
    await take(parts, names.JSON, b'{"a": 8}')
    assert len(manifests(parts)) == 3, "said once each"
    await parts.close()


async def test_after_an_append_that_failed_a_new_epoch_begins(tmp_path: Path) -> None:
    files = FullDisk()
    parts = Parts(tmp_path, files=files)
    await take(parts, names.JSON, b'{"a": 1}')
    files.full = True
    for payload in (b'{"a": 2}', b'{"b": 2}'):
        assert isinstance(await take(parts, names.JSON, payload), PenstockError)
    files.full = False
    await take(parts, names.JSON, b'{"a": 3}', b'{"b": 4}')
    first, *after = frames(parts)
    assert {frame.epoch for frame in after} == {max(frame.epoch for frame in after)} != {first.epoch}
    assert [number for number, _, _ in readings(parts)] == [0, 0, 1]
    assert [value for _, _, value in readings(parts)] == [1.0, 3.0, 4.0]
    assert totals(parts).lost == 0 and totals(parts).produced == totals(parts).logged == 3
    assert manifests(parts)[-1]["series"][-1]["name"] == "b"
    await parts.close()


async def test_what_cannot_be_read_is_kept_with_its_reason_and_acknowledged(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert await take(parts, names.JSON, b'{"a": 1}', b'{"a": ', b'{"a": 2}') is None
        assert await take(parts, names.READINGS, b"\x89PNG", content_type="image/png") is None
        assert await take(parts, names.SENML, b"[]") is None
    records = parts.records(names.TELEMETRY)
    bad = [record for record in records if record.headers]
    assert [record.value for record in bad] == [b'{"a": ', b"\x89PNG", b"[]"]
    told = [dict(record.headers) for record in bad]
    assert told[0]["fault"].startswith(b"not JSON in UTF-8") and told[0]["format"] == b"json"
    assert b"'image/png' is not read here" in told[1]["fault"]
    assert told[2]["fault"] == b"there is no reading in it"
    events = await until(lambda: [event for event in parts.events if isinstance(event, JunkEvent)])
    assert (events[0].device, events[0].channel) == ("sensor", "json") and "not JSON" in events[0].reason
    good = [event for event in parts.events if isinstance(event, FrameEvent)]
    assert [(event.header.sequence, event.header.count) for event in good] == [(0, 1), (1, 1)], "no number is missing"
    assert "sensor: json: not JSON" in caplog.text


async def test_a_frame_on_the_topic_of_another_format_is_not_taken_for_one(parts: Parts) -> None:
    await take(parts, names.JSON, b'{"a": 1}')
    copy = parts.records(names.TELEMETRY)[0].value or b""
    await take(parts, names.LINES, copy)
    assert len([event for event in parts.events if isinstance(event, FrameEvent)]) == 1
    assert totals(parts).produced == 1 and totals(parts).duplicates == 0


async def test_too_much_and_too_many(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAYLOAD_BYTES_MAX", 3000)
    monkeypatch.setattr(module, "KEPT_BYTES_MAX", 1000)
    await take(parts, names.JSON, b" " * 3001, json.dumps({f"s{number}": 1 for number in range(101)}).encode())
    large, many = parts.records(names.TELEMETRY)
    assert dict(large.headers)["fault"].startswith(b"a message of 3001 bytes; at most 3000 are translated")
    assert dict(large.headers)["fault"].endswith(b"(of 3001 bytes the first 1000 are kept)")
    assert large.value == b" " * 1000
    assert b"'s100' would be series 101" in dict(many.headers)["fault"]
    assert manifests(parts) == [], "nothing was learnt"


async def test_a_defect_in_a_format_is_said_and_nobody_waits_for_ever(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(payload: bytes, now_ns: int) -> list[Any]:
        raise RuntimeError("a defect")

    monkeypatch.setitem(module.READERS, "json", fail)
    assert await take(parts, names.JSON, b"{}") is None
    assert b"a defect of the hub" in dict(parts.records(names.TELEMETRY)[0].headers)["fault"]
    assert "cannot read a message of sensor on json" in caplog.text


async def test_the_mark_of_a_message_travels_with_its_first_record(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READINGS_PER_FRAME", 1)
    await take(parts, names.JSON, b'{"a": 1, "b": 2}', b"junk", mark=b"12345678901")

    def mark(record: Record) -> bytes | None:
        return dict(record.headers).get(marks.HEADER)

    records = parts.records(names.TELEMETRY)
    assert [mark(record) for record in records] == [b"12345678901", None, b"12345678901"]


async def test_a_device_may_send_frames_of_its_own_too(parts: Parts) -> None:
    from tests.hub.records import frame

    press = await parts.meet("sensor")
    await take(parts, names.JSON, b'{"a": 1}')
    assert await parts.take(press, (names.FRAMES, frame(7, 0, 5))) is None
    await take(parts, names.JSON, b'{"a": 2}')
    rows = parts.accounts.to_json()
    assert [(row["epoch"] == 7, row["received"]) for row in rows] == [(True, [[0, 5]]), (False, [[0, 2]])]
    assert parts.registry.get("sensor").online
