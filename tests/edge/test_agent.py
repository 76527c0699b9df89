"""The whole agent against a broker in the test's hands, on real files."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge.agent import Agent
from edge.inspection import spool_status
from edge.sensors.sensor import Sensor
from edge.settings import EdgeSettings, LinkSettings
from edge.spool import STATE_NAME
from streams.errors import MisuseError
from streams.files import DiskFiles
from tests.edge.broker import Broker, Published, broker
from tests.edge.disks import FaultyDisk
from tests.edge.hub import HubView
from tests.edge.sensors_for_tests import CountingSensor, ScriptedSensor, StuckSensor

FAST = {
    "frame_age_s": 0.05,
    "account_interval_s": 0.05,
    "commit_interval_s": 0.02,
    "health_interval_s": 0.0,
    "stop_timeout_s": 5.0,
    "read_timeout_s": 0.1,
}


def settings(port: int, **changed: Any) -> EdgeSettings:
    link = LinkSettings(retry_s_min=0.01, retry_s_max=0.05, connect_timeout_s=2.0)
    return EdgeSettings(**{"device": "press-7", "hub_port": port, "link": link, **FAST, **changed})


@contextlib.asynccontextmanager
async def running(
    state: Path, port: int, sensors: Sequence[Sensor] | None = None, **changed: Any
) -> AsyncIterator[Agent]:
    """An agent that works during the context and drains at its end."""
    chosen = [CountingSensor()] if sensors is None else sensors
    agent = Agent(settings(port, **changed), state, sensors=chosen)
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    try:
        yield agent
        stop.set()
        await asyncio.wait_for(task, 20)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_frames(peer: Broker, count: int) -> None:
    await peer.until(lambda: len(peer.channel("frames")) >= count)


async def test_what_is_sampled_arrives_in_order_numbered_without_gaps(tmp_path: Path) -> None:
    sensor = CountingSensor()
    async with broker() as peer:
        async with running(tmp_path, peer.port, [sensor]):
            await until_frames(peer, 3)
        seen = HubView(peer.published)
    assert seen.values("count.value") == list(range(sensor.count))
    assert seen.account["produced"] == sensor.count
    assert (seen.missing(), seen.account["held"], seen.repeated) == ([], [], 0)
    assert seen.unknown_manifests == 0


async def test_the_order_of_a_connection_is_manifest_birth_account_frames_and_at_the_end_goodbye(
    tmp_path: Path,
) -> None:
    async with broker() as peer:
        async with running(tmp_path, peer.port):
            await until_frames(peer, 1)
        channels = [message.channel for message in peer.published]
        assert channels[:3] == ["manifest", "state", "account"]
        assert "frames" not in channels[:3]
        assert channels[-2:] == ["account", "state"]
        birth, end = (json.loads(payload) for payload in peer.channel("state"))
        assert birth["online"] is True
        assert birth["agent"].startswith("penstock ")
        assert end == {"online": False, "boot": birth["boot"]}
        assert peer.clean_ends == 1
        manifest = json.loads(peer.channel("manifest")[0])
        assert manifest["series"][0]["name"] == "count.value"


async def test_a_frame_without_puback_is_kept_and_sent_again_over_the_next_connection(tmp_path: Path) -> None:
    async with broker() as peer:
        peer.puback = lambda message: None if message.channel == "frames" and message.connection == 0 else 0
        async with running(tmp_path, peer.port):
            await until_frames(peer, 3)
            first = peer.channel("frames")[:3]
            peer.hang_up()
            await peer.until(lambda: len(peer.connects) == 2)
            await peer.until(lambda: peer.channel("frames").count(first[2]) == 2)
        again = [
            message.payload for message in peer.published if message.connection == 1 and message.channel == "frames"
        ]
        assert again[:3] == first
        assert HubView(peer.published).missing() == []


async def test_no_more_frames_than_the_window_are_ahead_of_their_puback(tmp_path: Path) -> None:
    async with broker() as peer:
        peer.puback = lambda message: None if message.channel == "frames" else 0
        async with running(tmp_path, peer.port, inflight_frames_max=2, stop_timeout_s=0.2):
            await until_frames(peer, 2)
            accounts = len(peer.channel("account"))
            await peer.until(lambda: len(peer.channel("account")) > accounts + 5)
            assert len(peer.channel("frames")) == 2
            told = json.loads(peer.channel("account")[-1])
            assert told["held"] == [[0, told["produced"]]]


async def test_killed_and_started_again_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Cancelled without a drain: nothing is sealed, sent or saved at the end, as after a kill."""
    async with broker() as peer:
        sensor = CountingSensor()
        for _ in range(3):
            before = len(peer.channel("frames"))
            agent = Agent(settings(peer.port, frame_age_s=0.1), tmp_path, sensors=[sensor])
            task = asyncio.create_task(agent.run(asyncio.Event()))
            await until_frames(peer, before + 2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with running(tmp_path, peer.port, [sensor]):
            before = len(peer.channel("frames"))
            await until_frames(peer, before + 2)
        seen = HubView(peer.published)
    assert seen.values("count.value") == list(range(sensor.count))
    assert len(seen.readings) == 1, "one epoch"
    assert seen.missing() == []


async def test_while_the_hub_is_away_frames_wait_and_arrive_afterwards(tmp_path: Path) -> None:
    sensor = CountingSensor()
    async with broker() as gone:
        port = gone.port
    async with running(tmp_path, port, [sensor], stop_timeout_s=0.1):
        async with asyncio.timeout(20):
            while sensor.count < 30:
                await asyncio.sleep(0.01)
    status = spool_status(tmp_path)
    assert status["readings_held"] == status["readings_numbered"] == sensor.count
    assert status["running"] is False
    async with broker() as peer:
        async with running(tmp_path, peer.port, [sensor]):
            await until_frames(peer, 5)
        seen = HubView(peer.published)
    assert seen.values("count.value") == list(range(sensor.count))


async def test_a_change_of_sensors_sends_old_frames_with_their_old_manifest(tmp_path: Path) -> None:
    async with broker() as gone:
        port = gone.port
    first, second = CountingSensor("first"), CountingSensor("second")
    async with running(tmp_path, port, [first], stop_timeout_s=0.1):
        async with asyncio.timeout(20):
            while first.count < 10:
                await asyncio.sleep(0.01)
    async with broker() as peer:
        async with running(tmp_path, peer.port, [second]):
            await until_frames(peer, 4)
        seen = HubView(peer.published)
        assert len(set(peer.channel("manifest"))) == 2
    assert seen.values("first.value") == list(range(first.count))
    assert seen.values("second.value") == list(range(second.count))
    assert seen.unknown_manifests == 0


async def test_the_hub_asks_for_the_manifest_and_the_account(tmp_path: Path) -> None:
    async with broker() as peer, running(tmp_path, peer.port, account_interval_s=100.0):
        await until_frames(peer, 1)
        peer.send("penstock/v1/press-7/requests", b'{"request": "manifest"}', number=1)
        peer.send("penstock/v1/press-7/requests", b'{"request": "account"}', number=2)
        peer.send("penstock/v1/press-7/requests", b'{"request": "the moon"}', number=3)
        peer.send("penstock/v1/press-7/requests", b"\xff", number=4)
        await peer.until(lambda: len(peer.channel("manifest")) == 2 and len(peer.channel("account")) == 2)
        await peer.until(lambda: peer.acknowledged == [1, 2, 3, 4])


async def test_a_command_of_the_hub_runs_and_its_result_comes_back(tmp_path: Path) -> None:
    async with broker() as peer, running(tmp_path, peer.port):
        await until_frames(peer, 1)
        command = {"key": "k1", "name": "read_now", "arguments": {}, "deadline_ms": 2**50}
        peer.send("penstock/v1/press-7/commands", json.dumps(command).encode(), number=9)
        await peer.until(lambda: len(peer.channel("results")) == 3)
        assert peer.acknowledged == [9]
        last = json.loads(peer.channel("results")[2])
        assert last["state"] == "succeeded"
        assert last["result"]["readings"]["count.value"]["quality"] == "good"


async def test_a_result_that_the_hub_did_not_acknowledge_is_sent_again_over_the_next_connection(tmp_path: Path) -> None:
    async with broker() as peer:
        peer.puback = lambda message: None if message.channel == "results" and message.connection == 0 else 0
        async with running(tmp_path, peer.port):
            await until_frames(peer, 1)
            command = {"key": "k1", "name": "identify", "arguments": {}, "deadline_ms": 2**50}
            peer.send("penstock/v1/press-7/commands", json.dumps(command).encode())
            await peer.until(lambda: len(peer.channel("results")) == 3)
            peer.hang_up()
            await peer.until(lambda: len(peer.channel("results")) == 4)
            assert peer.channel("results")[3] == peer.channel("results")[2]


async def test_a_hub_without_mqtt_5_is_spoken_to_in_3_1_1(tmp_path: Path) -> None:
    async with broker() as peer:
        peer.versions = {4}
        async with running(tmp_path, peer.port):
            await until_frames(peer, 1)
        assert peer.connects == [5, 4]
        assert HubView(peer.published).missing() == []


async def test_a_frame_that_the_hub_refuses_stays_and_is_tried_again(tmp_path: Path) -> None:
    refusals = iter([0x97, 0x97])

    def answer(message: Published) -> int:
        return next(refusals, 0) if message.channel == "frames" else 0

    async with broker() as peer:
        peer.puback = answer
        async with running(tmp_path, peer.port):
            await peer.until(lambda: len(peer.connects) >= 2)
            await until_frames(peer, 4)
        seen = HubView(peer.published)
        assert seen.missing() == []
        assert seen.repeated >= 1


async def test_a_hub_that_takes_frames_and_never_acknowledges_them_is_left(tmp_path: Path) -> None:
    async with broker() as peer:
        peer.puback = lambda message: None if message.channel == "frames" and message.connection == 0 else 0
        link = LinkSettings(retry_s_min=0.01, retry_s_max=0.05, ack_timeout_s=1.0)
        async with running(tmp_path, peer.port, link=link):
            await peer.until(lambda: len(peer.connects) == 2)
            await peer.until(lambda: HubView(peer.published).repeated > 0)


async def test_a_sensor_that_hangs_or_breaks_leaves_the_others_alone_and_the_agent_can_stop(tmp_path: Path) -> None:
    stuck, count = StuckSensor(interval_s=0.01), CountingSensor()
    broken = ScriptedSensor("broken", [1.0], OSError("gone"), interval_s=0.01)
    async with broker() as peer:
        async with running(tmp_path, peer.port, [stuck, broken, count]):
            await until_frames(peer, 4)
        assert HubView(peer.published).values("count.value") == list(range(count.count))
    stuck.let_go.set()


async def test_the_agents_own_health_is_a_series_like_any_other(tmp_path: Path) -> None:
    async with broker() as peer:
        async with running(tmp_path, peer.port, health_interval_s=0.02):
            await until_frames(peer, 3)
        seen = HubView(peer.published)
    assert all(value > 1_000_000 for value in seen.values("agent.rss_bytes"))
    assert len(seen.values("agent.spool_bytes")) > 1
    assert set(seen.values("agent.dropped")) == {0}


async def test_two_agents_cannot_use_one_state_directory(tmp_path: Path) -> None:
    async with broker() as peer, running(tmp_path, peer.port):
        await until_frames(peer, 1)
        with pytest.raises(MisuseError, match="in use by the edge agent of press-7"):
            await Agent(settings(peer.port), tmp_path, sensors=[]).run(asyncio.Event())


async def test_the_state_of_another_device_is_refused(tmp_path: Path) -> None:
    async with broker() as peer:
        async with running(tmp_path, peer.port):
            await until_frames(peer, 1)
        with pytest.raises(MisuseError, match="is the state of device 'press-7'"):
            await Agent(settings(peer.port, device="press-8"), tmp_path, sensors=[]).run(asyncio.Event())


async def test_many_agents_live_in_one_process(tmp_path: Path) -> None:
    async with broker() as one, broker() as two:
        async with (
            running(tmp_path / "one", one.port, device="one"),
            running(tmp_path / "two", two.port, device="two"),
        ):
            await until_frames(one, 2)
            await until_frames(two, 2)
        for peer, device in ((one, "one"), (two, "two")):
            assert {message.topic.split("/")[2] for message in peer.published} == {device}
            assert HubView(peer.published).missing() == []


async def test_with_a_full_disk_it_starts_waits_and_goes_on_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk, sensor = FaultyDisk(), CountingSensor()
    disk.full = True
    stop = asyncio.Event()
    async with broker() as peer:
        agent = Agent(settings(peer.port), tmp_path, sensors=[sensor], files=disk)
        task = asyncio.create_task(agent.run(stop))
        async with asyncio.timeout(10):
            while "cannot be opened" not in caplog.text or sensor.count < 20:
                await asyncio.sleep(0.01)
        assert not task.done()
        disk.full = False
        await until_frames(peer, 2)
        stop.set()
        await asyncio.wait_for(task, 10)
        seen = HubView(peer.published)
    assert seen.values("count.value") == list(range(sensor.count))


async def test_a_disk_that_fills_up_while_it_works_costs_nothing_within_the_bound(tmp_path: Path) -> None:
    disk, sensor = FaultyDisk(), CountingSensor()
    stop = asyncio.Event()
    async with broker() as peer:
        task = asyncio.create_task(Agent(settings(peer.port), tmp_path, sensors=[sensor], files=disk).run(stop))
        await until_frames(peer, 2)
        disk.full = True
        wanted = sensor.count + 50
        async with asyncio.timeout(10):
            while sensor.count < wanted:
                await asyncio.sleep(0.01)
        disk.full = False
        await until_frames(peer, len(peer.channel("frames")) + 3)
        stop.set()
        await asyncio.wait_for(task, 10)
        seen = HubView(peer.published)
    assert seen.values("count.value") == list(range(sensor.count))
    assert seen.missing() == []


async def test_whose_connection_is_taken_over_again_and_again_backs_off_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with broker() as peer:
        async with running(tmp_path, peer.port):
            for number in range(6):
                await until_frames(peer, 1)
                await peer.until(lambda number=number: len(peer.connects) == number + 1)  # type: ignore[misc]
                await peer.until(lambda: any(each.connection == len(peer.connects) - 1 for each in peer.published))
                peer.raw(0xE0, b"\x8e\0")  # DISCONNECT, session taken over
        said = [record.getMessage() for record in caplog.records if "takes over the connection" in record.getMessage()]
    assert [f"({number} in a row)" in line for number, line in enumerate(said[:6], 1)] == [True] * 6
    assert "as 'press-7'" in said[0] and "edge.device" in said[0]
    pauses_s = [float(line.rsplit(" in ", 1)[1].removesuffix(" s")) for line in said]
    assert pauses_s[5] > 5 * pauses_s[0] and pauses_s[5] > 0.1, "longer than any pause after a failed connection"


async def test_numbers_that_the_hub_has_are_not_used_again(tmp_path: Path) -> None:
    async with broker() as peer:
        asked = False

        def answer(message: Published) -> int | None:
            nonlocal asked
            if message.channel == "state" and not asked:
                asked = True
                epoch = json.loads(message.payload)["epoch"]
                request = {"request": "epoch", "epoch": epoch, "received": 500, "after": epoch + 9}
                peer.send("penstock/v1/press-7/requests", json.dumps(request).encode())
            return 0

        peer.puback = answer
        sensor = CountingSensor()
        async with running(tmp_path, peer.port, [sensor]):
            await until_frames(peer, 3)
        births = [json.loads(each) for each in peer.channel("state")]
        first, second = [each for each in births if each["online"]]
        assert second["epoch"] > first["epoch"] + 9 and "produced" in first
        seen = HubView(peer.published)
    assert set(seen.readings) == {second["epoch"]}, "no frame went out under an old number"
    assert seen.values("count.value") == list(range(sensor.count))
    assert seen.missing() == []


async def test_a_request_for_an_epoch_that_cannot_be_is_passed_over(tmp_path: Path) -> None:
    async with broker() as peer:
        async with running(tmp_path, peer.port):
            await until_frames(peer, 1)
            epoch = json.loads(peer.channel("state")[0])["epoch"]
            for wrong in (
                {"epoch": epoch - 1, "after": epoch + 5},
                {"epoch": epoch, "after": 1 << 60},
                {"epoch": epoch},
            ):
                peer.send("penstock/v1/press-7/requests", json.dumps({"request": "epoch", **wrong}).encode())
            before = len(peer.channel("frames"))
            await until_frames(peer, before + 3)
        assert len(peer.connects) == 1
        assert set(HubView(peer.published).readings) == {epoch}


async def test_a_short_life_sends_little_again_of_what_it_sent_and_writes_little_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.agent._SAVE_AT_ONCE_S", 0.02)
    saves = 0

    class CountingFiles(DiskFiles):
        def replace(self, path: Path, data: Any) -> None:
            nonlocal saves
            saves += path.name == STATE_NAME
            super().replace(path, data)

    def sent_again() -> int:
        """Frames that a start would send again, if the agent were killed now."""
        kept = json.loads((tmp_path / "spool" / STATE_NAME).read_text())
        return len(peer.channel("frames")) - int(kept["oldest"])

    async with broker() as peer:
        agent = Agent(
            settings(peer.port, frame_readings_max=1), tmp_path, sensors=[CountingSensor()], files=CountingFiles()
        )
        task = asyncio.create_task(agent.run(asyncio.Event()))
        try:
            await until_frames(peer, 100)
            await peer.until(lambda: sent_again() <= 20)
            assert 1 <= saves <= 2 + len(peer.channel("frames")) / 16
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
