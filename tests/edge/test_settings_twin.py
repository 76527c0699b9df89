"""The settings twin by itself: what it takes, refuses, keeps on disk, and says."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.settings import EdgeSettings, LinkSettings, SensorSettings
from edge.settings_twin import FILE_NAME, STARTS_MAX, SettingsTwin, merge
from streams.clock import ManualClock
from streams.files import DiskFiles

LOCAL = EdgeSettings(
    device="press-7", frame_age_s=2.0, sensors=(SensorSettings(kind="load"),), link=LinkSettings(password="hush")
)


class Desk:
    """A twin, and what it said."""

    def __init__(self, directory: Path) -> None:
        self.twin = SettingsTwin(LOCAL, directory, files=DiskFiles(), clock=ManualClock())
        self.said: list[dict[str, Any]] = []
        self.acknowledged = 0
        self.twin.send = lambda: self.said.append(self.twin.report())

    async def want(self, version: int, **settings: Any) -> str:
        return await self.raw(json.dumps({"version": version, "settings": settings}).encode())

    async def raw(self, payload: bytes) -> str:
        before = self.acknowledged
        self.twin.on_message(payload, self._acknowledge)
        async with asyncio.timeout(10):
            while self.acknowledged == before:
                await asyncio.sleep(0)
        return str(self.twin.report()["outcome"])

    def _acknowledge(self) -> None:
        self.acknowledged += 1


async def test_what_is_good_is_tried_confirmed_and_there_after_a_start(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.twin.load()
    assert await desk.want(1, frame_age_s=7.5, link={"keepalive_s": 60}) == "trying"
    assert desk.twin.changed.is_set()
    assert (desk.twin.settings.frame_age_s, desk.twin.settings.link.keepalive_s) == (7.5, 60)
    await desk.twin.confirm()
    assert [each["outcome"] for each in desk.said] == ["trying", "applied"]
    again = Desk(tmp_path)
    await again.twin.load()
    assert (again.twin.settings.frame_age_s, again.twin.on_trial) == (7.5, False)
    assert again.twin.settings.link.password == "hush"


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"frame_age": 3}, "frame_age"),
        ({"frame_age_s": -1}, "frame_age_s"),
        ({"frame_age_s": "soon"}, "frame_age_s"),
        ({"sensors": [{"kind": "lod"}]}, "lod"),
        ({"sensors": "none"}, "sensors"),
        ({"device": "another"}, "edge.device"),
        ({"link": {"password": "x"}}, "edge.link.password"),
        ({"link": 3}, "link"),
    ],
)
async def test_what_is_not_is_refused_by_name_and_changes_nothing(
    tmp_path: Path, settings: dict[str, Any], word: str
) -> None:
    desk = Desk(tmp_path)
    assert await desk.want(1, **settings) == "refused"
    assert word in desk.said[-1]["error"]
    assert (desk.twin.settings, desk.twin.changed.is_set()) == (LOCAL, False)


async def test_a_refusal_leaves_what_was_applied_before(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.want(1, frame_age_s=7.5)
    await desk.twin.confirm()
    desk.twin.changed.clear()
    assert await desk.want(2, frame_age_s=-1) == "refused"
    again = Desk(tmp_path)
    await again.twin.load()
    assert again.twin.settings.frame_age_s == 7.5
    assert again.twin.report()["outcome"] == "refused"


async def test_the_same_again_is_not_tried_again_but_told_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.want(1, frame_age_s=7.5)
    await desk.twin.roll_back("no hub")
    desk.twin.changed.clear()
    assert await desk.want(1, frame_age_s=7.5) == "rolled back"
    assert (desk.twin.changed.is_set(), desk.said[-1]["error"]) == (False, "no hub")
    assert await desk.want(2, frame_age_s=7.5) == "trying"  # somebody wants it tried once more


async def test_what_is_set_already_needs_no_trial(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert await desk.want(1, frame_age_s=2.0) == "applied"
    assert not desk.twin.changed.is_set()


async def test_wishes_during_a_trial_fall_back_to_what_was_before_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.want(1, frame_age_s=3.0)
    await desk.twin.confirm()
    await desk.want(2, frame_age_s=4.0)
    assert await desk.want(3, frame_age_s=5.0) == "trying"
    await desk.twin.roll_back("no")
    assert desk.twin.settings.frame_age_s == 3.0
    desk.twin.changed.clear()
    await desk.want(4, frame_age_s=6.0)
    desk.twin.changed.clear()
    assert await desk.want(5, frame_age_s=3.0) == "applied"  # back to what is in force, out of the trial
    assert (desk.twin.changed.is_set(), desk.twin.settings.frame_age_s) == (True, 3.0)


async def test_a_trial_that_the_agent_never_survives_ends(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.want(1, frame_age_s=7.5)
    outcomes = []
    for _ in range(STARTS_MAX):
        again = Desk(tmp_path)
        await again.twin.load()
        outcomes.append((again.twin.report()["outcome"], again.twin.settings.frame_age_s))
    assert outcomes == [("trying", 7.5)] * (STARTS_MAX - 1) + [("rolled back", 2.0)]


async def test_secrets_are_not_told(tmp_path: Path) -> None:
    assert "hush" not in json.dumps(Desk(tmp_path).twin.report())


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b'{"version": 0, "settings": {}}', b'{"version": 1}', b"[" * 9999]
)
async def test_junk_is_acknowledged_and_passed_over(tmp_path: Path, payload: bytes) -> None:
    desk = Desk(tmp_path)
    await desk.raw(payload)
    assert (desk.said, desk.twin.settings) == ([], LOCAL)


@given(st.binary(max_size=200) | st.just(b'{"version": "x"}') | st.just(b'{"patch": 3}'))
def test_whatever_stands_on_disk_the_agent_starts(kept: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, FILE_NAME).write_bytes(kept)
        desk = Desk(Path(directory))
        asyncio.run(desk.twin.load())
        assert desk.twin.settings == LOCAL


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES, VALUES)
def test_merging_twice_is_merging_once(target: Any, patch: Any) -> None:
    once = merge(target, patch)
    assert merge(once, patch) == once


def test_merging_as_in_the_examples_of_the_rfc() -> None:
    assert merge({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}) == {"a": {"b": "d"}}
    assert merge({"a": [{"b": "c"}]}, {"a": [1]}) == {"a": [1]}
    assert merge({"a": "foo"}, "bar") == "bar"
    assert merge({}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}
