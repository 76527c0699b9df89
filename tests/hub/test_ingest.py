from __future__ import annotations

import asyncio
import logging
import zlib
from pathlib import Path
from typing import Any

import pytest

from hub.events import CommandEvent, FrameEvent, JunkEvent, connection_value, dump
from hub.intake import Client, Message
from streams import names
from streams.errors import JunkError, PenstockError
from streams.files import DiskFiles
from tests.hub.conftest import Parts, until
from tests.hub.records import MANIFEST, frame


def client(device: str = "press") -> Client:
    return Client(device, None, "127.0.0.1:9", 4)


def keys(parts: Parts, stream: str) -> list[bytes | None]:
    return [record.key for record in parts.records(stream)]


def counted(parts: Parts, name: str, **labels: str) -> float:
    return parts.metrics.counter(name, "", **labels).value


@pytest.mark.parametrize(
    ("topic", "wanted"),
    [
        ("penstock/v1/press/frames", True),
        ("penstock/v1/press/manifest", True),
        ("penstock/v1/press/state", True),
        ("penstock/v1/press/account", True),
        ("penstock/v1/press/results", True),
        ("penstock/v1/press/commands", False),
        ("penstock/v1/press/requests", False),
        ("penstock/v1/press/other", False),
        ("penstock/v1/frames", False),
        ("penstock/v2/press/frames", False),
        ("home/kitchen", False),
    ],
)
async def test_the_agents_own_channels_go_into_the_pipeline(parts: Parts, topic: str, wanted: bool) -> None:
    assert parts.ingest.wants(topic) is wanted


async def test_each_channel_goes_to_its_stream_as_it_arrived(parts: Parts) -> None:
    press = await parts.meet("press")
    payloads = {
        names.FRAMES: frame(7, 0, 5),
        names.MANIFEST: dump(MANIFEST),
        names.ACCOUNT: b'{"epoch": 7, "produced": 5, "time_ms": 1}',
        names.RESULTS: b'{"key": "k", "step": 1, "state": "accepted"}',
    }
    assert await parts.take(press, *payloads.items()) is None
    telemetry, commands = parts.records(names.TELEMETRY), parts.records(names.COMMANDS)
    assert [(record.key, record.value) for record in telemetry] == [(b"press", payloads[names.FRAMES])]
    assert keys(parts, names.DEVICES) == [b"press/connection", b"press/state", b"press/manifest", b"press/account"]
    assert parts.records(names.DEVICES)[2].value == payloads[names.MANIFEST]
    assert [(record.key, record.headers) for record in commands] == [(b"k", (("device", b"press"),))]
    assert commands[0].value == b'{"key":"k","step":1,"state":"accepted","device":"press"}'
    assert {record.timestamp_ms for record in telemetry} == {parts.clock.time_ns() // 1_000_000}


async def test_what_was_taken_is_on_disk_and_folded_when_the_gateway_is_told(parts: Parts) -> None:
    press = client()
    parts.ingest.connected(press)
    seen: list[tuple[int, int]] = []
    told = asyncio.get_running_loop().create_future()

    def on_taken(error: Exception | None) -> None:
        seen.append((len(parts.records(names.TELEMETRY)), parts.accounts.frames_and_readings("press")[1]))
        told.set_result(error)

    messages = [Message("penstock/v1/press/frames", frame(7, 0, 5), 1), Message("penstock/v1/press/state", b"{}", 1)]
    parts.ingest.take(press, messages, on_taken)
    assert seen == [] and await told is None
    assert seen == [(1, 5)]


async def test_messages_of_another_device_go_nowhere(parts: Parts) -> None:
    press = await parts.meet("press")
    before = len(parts.records(names.DEVICES))
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    messages = [Message("penstock/v1/press/state", b"{}", 1), Message("penstock/v1/lathe/state", b"{}", 1)]
    parts.ingest.take(press, messages, told.set_result)
    error = await told
    assert isinstance(error, JunkError) and "client 'press' may not publish" in str(error)
    assert len(parts.records(names.DEVICES)) == before and parts.registry.find("lathe") is None
    assert counted(parts, "penstock_hub_foreign_total") == 2


async def test_nothing_to_take_is_taken(parts: Parts) -> None:
    assert await parts.take(client()) is None


async def test_an_unreadable_frame_is_logged_acknowledged_counted_and_said(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    press = await parts.meet("press")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await parts.take(press, (names.FRAMES, b"nonsense")) is None
    assert [record.value for record in parts.records(names.TELEMETRY)] == [b"nonsense"] * 3
    await until(lambda: counted(parts, "penstock_hub_junk_total", channel="telemetry") == 3)
    assert caplog.text.count("press: telemetry: frame refused") == 1, "loud, but not for ever"


@pytest.mark.parametrize(
    ("channel", "payload"),
    [
        (names.MANIFEST, b'{"series": 1}'),
        (names.STATE, b"\xff"),
        (names.ACCOUNT, b"[]"),
        (names.RESULTS, b"junk"),
        (names.RESULTS, b'{"key": "\\ud800", "step": 0, "state": "cancelled"}'),
    ],
)
async def test_junk_is_logged_and_acknowledged_and_changes_nothing(parts: Parts, channel: str, payload: bytes) -> None:
    press = await parts.meet("press")
    assert await parts.take(press, (channel, payload)) is None
    stream = names.COMMANDS if channel == names.RESULTS else names.DEVICES
    assert payload[:1] in (parts.records(stream)[-1].value or b"")
    junk = await until(lambda: [event for event in parts.events if isinstance(event, JunkEvent)])
    assert junk[0].device == "press"
    assert parts.registry.get("press").online and parts.registry.get("press").manifest is None


async def test_an_unknown_manifest_is_asked_for_once_a_connection(parts: Parts) -> None:
    press = await parts.meet("press")
    await parts.take(press, (names.FRAMES, frame(7, 0, 5, 99)))
    assert parts.published == [], "it does not listen yet"
    parts.listening.add("press")
    for sequence in (5, 10):
        await parts.take(press, (names.FRAMES, frame(7, sequence, 5, 99)))
    await until(lambda: counted(parts, "penstock_hub_readings_total") == 15)
    request = ("press", "requests", {"request": "manifest"})
    assert parts.published == [request]
    await parts.take(press, (names.FRAMES, frame(7, 15, 5, 100)))
    await until(lambda: parts.published == [request] * 2)
    parts.ingest.disconnected(press, "gone")
    press = await parts.meet("press")
    await parts.take(press, (names.FRAMES, frame(7, 20, 5, 99)))
    await until(lambda: parts.published == [request] * 3)


async def test_a_known_manifest_is_not_asked_for(parts: Parts) -> None:
    press = await parts.meet("press")
    parts.listening.add("press")
    payload = dump(MANIFEST)
    await parts.take(press, (names.MANIFEST, payload))
    await parts.take(press, (names.FRAMES, frame(7, 0, 5, zlib.crc32(payload))))
    await until(lambda: any(isinstance(event, FrameEvent) for event in parts.events))
    assert parts.published == []


async def test_a_client_is_a_device_once_it_speaks_as_one(parts: Parts) -> None:
    viewer = client("viewer")
    parts.ingest.connected(viewer)
    parts.ingest.disconnected(viewer, "gone")
    press = await parts.meet("press")
    assert keys(parts, names.DEVICES) == [b"press/connection", b"press/state"]
    assert parts.registry.get("press").connected and parts.registry.find("viewer") is None
    parts.ingest.disconnected(press, "keep-alive ran out")
    await until(lambda: not parts.registry.get("press").connected)
    last = parts.records(names.DEVICES)[-1].value
    assert last == connection_value(False, parts.clock.time_ns() // 1_000_000, reason="keep-alive ran out")


async def test_a_known_device_is_connected_before_it_says_anything(parts: Parts) -> None:
    press = await parts.meet("press")
    parts.ingest.disconnected(press, "gone")
    await until(lambda: not parts.registry.get("press").connected)
    parts.ingest.connected(client())
    await until(lambda: parts.registry.get("press").connected)


async def test_the_end_of_a_connection_that_was_taken_over_changes_nothing(parts: Parts) -> None:
    old = await parts.meet("press")
    parts.ingest.disconnected(old, "taken over")
    await parts.meet("press")
    parts.ingest.disconnected(old, "late news")
    await parts.meet("lathe")  # whatever was written is on disk then
    assert parts.registry.get("press").connected
    assert b"press/connection" not in keys(parts, names.DEVICES)[-3:]


async def test_after_a_restart_nobody_is_connected(tmp_path: Path) -> None:
    before = Parts(tmp_path)
    await before.meet("press")
    await before.close()
    after = Parts(tmp_path)
    assert after.registry.get("press").connected, "as the log has it"
    after.ingest.correct("the hub was restarted")
    after.ingest.correct("the hub was restarted")
    await until(lambda: not after.registry.get("press").connected)
    assert not after.registry.get("press").online
    assert keys(after, names.DEVICES) == [b"press/connection", b"press/state", b"press/connection"], "said once"
    await after.close()


class FullDisk(DiskFiles):
    """Files on a disk that is full for as long as `full` is set."""

    full = False

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> Any:
        file = super().open(path, write=write, create=create)
        if write:
            append, outer = file.append, self

            def guarded(parts: Any) -> int:
                if outer.full:
                    raise OSError(28, "No space left on device")
                return append(parts)

            file.append = guarded  # type: ignore[method-assign]
        return file


async def test_a_full_disk_acknowledges_nothing_and_is_over_when_there_is_space(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = FullDisk()
    parts = Parts(tmp_path, files=files)
    press = await parts.meet("press")
    files.full = True
    for _ in range(3):
        error = await parts.take(press, (names.FRAMES, frame(7, 0, 5)))
        assert isinstance(error, PenstockError)
    assert parts.accounts.frames_and_readings("press") == (0, 0)
    assert "space" in (parts.journal.problem or "")
    assert caplog.text.count("nothing is acknowledged") == 1
    parts.ingest.disconnected(press, "gone")
    await until(lambda: parts.journal.problem)
    files.full = False
    parts.ingest.correct("its connection ended while the log could not be written")
    await until(lambda: not parts.registry.get("press").connected)
    assert parts.journal.problem is None
    press = await parts.meet("press")
    assert await parts.take(press, (names.FRAMES, frame(7, 0, 5))) is None
    assert parts.accounts.frames_and_readings("press") == (1, 5)
    await parts.close()
    again = Parts(tmp_path)
    assert again.accounts.frames_and_readings("press") == (1, 5)
    await again.close()


async def test_a_defect_in_a_reaction_does_not_keep_others_waiting(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    press = await parts.meet("press")

    def fail(event: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(parts.dispatcher, "react", fail)
    assert await parts.take(press, (names.FRAMES, frame(7, 0, 5))) is None
    assert await parts.take(press, (names.FRAMES, frame(7, 5, 5))) is None
    await until(lambda: "a defect" in caplog.text)


async def test_a_result_carries_its_device_whatever_it_says(parts: Parts) -> None:
    press = await parts.meet("press")
    await parts.take(press, (names.RESULTS, b'{"key": "k", "step": 1, "state": "failed", "device": "lathe"}'))
    events = await until(lambda: [event for event in parts.events if isinstance(event, CommandEvent)])
    assert events[0].device == "press"
