"""Twins at the hub: kept on the log, brought to the device, waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hub.dispatch import ConflictError
from hub.events import dump
from hub.registry import UnknownDeviceError
from hub.twins import Twins
from streams import names
from streams.errors import MisuseError
from tests.hub.conftest import Parts, until


def desired(parts: Parts) -> list[dict[str, Any]]:
    return [body for _, channel, body in parts.published if channel == names.DESIRED]


async def report(parts: Parts, client: Any, version: int, outcome: str, **settings: Any) -> None:
    body = {"version": version, "outcome": outcome, "error": None, "settings": settings, "time_ms": 1}
    assert await parts.take(client, (names.REPORTED, dump(body))) is None


async def test_a_wish_is_on_the_log_and_at_the_device(parts: Parts) -> None:
    await parts.meet("press")
    parts.listening.add("press")
    twin = await parts.twin_desk.change("press", {"frame_age_s": 5})
    assert (twin.version, twin.desired, twin.settled) == (1, {"frame_age_s": 5}, False)
    await until(lambda: desired(parts))
    assert desired(parts) == [{"version": 1, "settings": {"frame_age_s": 5}}]
    assert [record.key for record in parts.records(names.DEVICES)][-1] == b"press/desired"


async def test_wishes_are_merged_and_taken_back(parts: Parts) -> None:
    await parts.meet("press")
    await parts.twin_desk.change("press", {"link": {"keepalive_s": 9, "retry_s_min": 1}, "a": 1})
    twin = await parts.twin_desk.change("press", {"link": {"keepalive_s": None}, "a": None, "b": 2})
    assert (twin.version, twin.desired) == (2, {"link": {"retry_s_min": 1}, "b": 2})


async def test_a_device_that_returns_gets_what_is_desired(parts: Parts) -> None:
    client = await parts.meet("press")
    parts.ingest.disconnected(client, "gone")
    await parts.twin_desk.change("press", {"a": 1})
    assert desired(parts) == []
    parts.listening.add("press")
    await parts.meet("press")
    await until(lambda: desired(parts))
    assert desired(parts) == [{"version": 1, "settings": {"a": 1}}]


async def test_a_device_that_nothing_is_wanted_of_gets_nothing(parts: Parts) -> None:
    parts.listening.add("press")
    await parts.meet("press")
    assert desired(parts) == []


async def test_the_outcome_is_waited_for(parts: Parts) -> None:
    client = await parts.meet("press")
    await parts.twin_desk.change("press", {"a": 1})
    waiting = asyncio.create_task(parts.twin_desk.wait("press", 30.0))
    await report(parts, client, 0, "applied")  # of what was before
    await report(parts, client, 1, "trying")
    await asyncio.sleep(0)
    assert not waiting.done()
    await report(parts, client, 1, "rolled back", a=0)
    twin = await asyncio.wait_for(waiting, 10)
    shown = twin.to_json()
    assert (shown["settled"], shown["reported"]["outcome"], shown["reported"]["settings"]) == (
        True,
        "rolled back",
        {"a": 0},
    )
    assert not (await parts.twin_desk.change("press", {"a": 2})).settled
    assert not (await parts.twin_desk.wait("press", 0.01)).settled


async def test_two_who_change_the_same_are_told_apart(parts: Parts) -> None:
    await parts.meet("press")
    both = [parts.twin_desk.change("press", {"a": number}, version=0) for number in range(2)]
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert not isinstance(first, BaseException)
    assert isinstance(second, ConflictError)
    assert parts.twins.get("press").desired == {"a": 0}


async def test_what_cannot_be_is_refused(parts: Parts) -> None:
    await parts.meet("press")
    with pytest.raises(UnknownDeviceError, match="did you mean press"):
        await parts.twin_desk.change("pres", {"a": 1})
    with pytest.raises(MisuseError, match="bytes"):
        await parts.twin_desk.change("press", {"a": "x" * 70_000})
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(MisuseError, match="levels"):
        await parts.twin_desk.change("press", deep)
    assert parts.twins.get("press").version == 0


async def test_a_wish_is_no_sign_of_life(parts: Parts) -> None:
    await parts.meet("press")
    seen_ms = parts.registry.get("press").last_seen_ms
    parts.clock.advance(100.0)
    await parts.twin_desk.change("press", {"a": 1})
    assert parts.registry.get("press").last_seen_ms == seen_ms


async def test_twins_are_the_same_after_a_restart_with_and_without_a_snapshot(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    client = await parts.meet("press")
    await parts.twin_desk.change("press", {"a": {"b": 1}})
    await report(parts, client, 1, "applied", a={"b": 1})
    before = parts.twins.snapshot()
    await parts.close()
    again = Parts(tmp_path)
    assert again.twins.snapshot() == before
    await again.close()
    restored = Twins()
    restored.restore(before)
    assert restored.snapshot() == before
