from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hub.commands import Command, State
from hub.dispatch import ConflictError, UnknownCommandError
from hub.registry import UnknownDeviceError
from streams import names
from streams.errors import MisuseError, TryLaterError
from tests.hub.conftest import Parts, until
from tests.hub.records import result
from tests.hub.test_ingest import FullDisk


async def send(parts: Parts, name: str = "identify", *, device: str = "press", **more: Any) -> Command:
    command, _ = await parts.dispatcher.create(device, name, {"n": 1}, **{"deadline_s": 60.0, **more})
    return command


def delivered(parts: Parts) -> list[str]:
    return [body["key"] for _, channel, body in parts.published if channel == names.COMMAND]


async def say(parts: Parts, client: Any, key: str, step: int, state: str, **more: Any) -> None:
    payload = result(client.client_id, key, step, state, **more).value or b""
    assert await parts.take(client, (names.RESULTS, payload)) is None


async def test_a_device_that_listens_gets_its_command_at_once(parts: Parts) -> None:
    client = await parts.meet("press")
    parts.listening.add("press")
    command = await send(parts)
    assert parts.published == [
        (
            "press",
            "commands",
            {
                "key": command.key,
                "name": "identify",
                "arguments": {"n": 1},
                "deadline_ms": command.created_ms + 60_000,
                "created_ms": command.created_ms,
            },
        )
    ]
    await parts.reaches(command.key, State.SENT)
    await say(parts, client, command.key, 1, "accepted")
    await say(parts, client, command.key, 2, "succeeded", result={"ok": 1})
    assert command.state is State.SUCCEEDED and command.result == {"ok": 1}
    assert [state for state, _ in command.history] == ["queued", "sent", "accepted", "succeeded"]


async def test_a_device_that_returns_gets_its_commands_oldest_first(parts: Parts) -> None:
    client = await parts.meet("press")
    parts.ingest.disconnected(client, "gone")
    keys = [(await send(parts)).key for _ in range(3)]
    assert delivered(parts) == [] and [parts.commands.find(key).state for key in keys] == [State.QUEUED] * 3  # type: ignore[union-attr]
    parts.listening.add("press")
    await parts.meet("press")
    assert delivered(parts) == keys
    for key in keys:
        await parts.reaches(key, State.SENT)


async def test_what_was_given_on_a_lost_connection_is_given_again_on_the_next_and_only_once(parts: Parts) -> None:
    client = await parts.meet("press")
    parts.listening.add("press")
    command = await send(parts)
    await parts.reaches(command.key, State.SENT)
    await parts.take(client, (names.STATE, b'{"online": true, "boot": "b"}'))
    assert delivered(parts) == [command.key]
    parts.ingest.disconnected(client, "gone")
    client = await parts.meet("press")
    parts.dispatcher.tick()
    assert delivered(parts) == [command.key] * 2
    await say(parts, client, command.key, 1, "accepted")
    parts.ingest.disconnected(client, "gone")
    await parts.meet("press")
    assert delivered(parts) == [command.key] * 2, "the device has said that it has it"


async def test_a_device_that_subscribes_late_gets_its_commands_at_the_next_tick(parts: Parts) -> None:
    await parts.meet("press")
    command = await send(parts)
    parts.dispatcher.tick()
    assert delivered(parts) == []
    parts.listening.add("press")
    parts.dispatcher.tick()
    assert delivered(parts) == [command.key]


async def test_a_command_past_its_deadline_expires_and_is_never_delivered(parts: Parts) -> None:
    await parts.meet("press")
    command = await send(parts, deadline_s=5.0)
    parts.clock.advance(5.0)
    parts.listening.add("press")
    parts.dispatcher.tick()
    await parts.reaches(command.key, State.EXPIRED)
    assert delivered(parts) == [] and command.error == "press was not there before the deadline"


async def test_a_command_that_was_given_is_not_expired_by_the_hub(parts: Parts) -> None:
    client = await parts.meet("press")
    parts.listening.add("press")
    command = await send(parts, deadline_s=5.0)
    await parts.reaches(command.key, State.SENT)
    parts.clock.advance(50.0)
    parts.dispatcher.tick()
    parts.ingest.disconnected(client, "gone")
    client = await parts.meet("press")
    assert command.state is State.SENT and delivered(parts) == [command.key], "and not given again after the deadline"
    await say(parts, client, command.key, 1, "succeeded")
    assert command.state is State.SUCCEEDED


async def test_a_device_that_never_says_how_it_ended_has_failed_it(parts: Parts) -> None:
    await parts.meet("press")
    parts.listening.add("press")
    command = await send(parts, deadline_s=5.0)
    await parts.reaches(command.key, State.SENT)
    parts.clock.advance(105.0)
    parts.dispatcher.tick()
    await parts.reaches(command.key, State.FAILED)
    assert "it may have run" in (command.error or "")


async def test_the_same_key_asked_twice_is_the_same_command(parts: Parts) -> None:
    await parts.meet("press")
    (first, new), (second, again) = await asyncio.gather(
        parts.dispatcher.create("press", "go", {}, deadline_s=5, key="k1"),
        parts.dispatcher.create("press", "go", {}, deadline_s=9, key="k1"),
    )
    assert first is second and (new, again) == (True, False)
    assert (await parts.dispatcher.create("press", "go", {}, deadline_s=5, key="k1")) == (first, False)
    assert len(parts.records(names.COMMANDS)) == 1


async def test_a_key_of_another_command_is_a_conflict(parts: Parts) -> None:
    await parts.meet("press")
    await send(parts, key="k1")
    with pytest.raises(ConflictError, match="the key k1 belongs to another command"):
        await send(parts, "other", key="k1")


async def test_an_unknown_device_or_command_is_refused(parts: Parts) -> None:
    await parts.meet("press")
    with pytest.raises(UnknownDeviceError, match="did you mean press"):
        await send(parts, device="pres")
    with pytest.raises(UnknownCommandError, match="no command 'k'"):
        await parts.dispatcher.cancel("k")
    with pytest.raises(UnknownCommandError):
        await parts.dispatcher.wait("k", 1)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"deadline_s": 0.0}, "deadline_s"),
        ({"deadline_s": 1e12}, "deadline_s"),
        ({"key": "a b"}, "cannot be the key"),
        ({"name": ""}, "name"),
    ],
)
async def test_misuse_is_refused_before_anything_is_written(parts: Parts, change: dict[str, Any], fault: str) -> None:
    await parts.meet("press")
    with pytest.raises(MisuseError, match=fault):
        await send(parts, **change)
    assert parts.records(names.COMMANDS) == []


async def test_a_device_has_only_so_many_open_commands(parts: Parts) -> None:
    await parts.meet("press")
    made = await asyncio.gather(*(send(parts) for _ in range(5)), return_exceptions=True)
    refused = [each for each in made if isinstance(each, TryLaterError)]
    assert len(refused) == 2 and "3 commands open already" in str(refused[0])
    first = next(each for each in made if isinstance(each, Command))
    await parts.dispatcher.cancel(first.key)
    await send(parts)


async def test_a_command_that_nobody_got_can_be_cancelled(parts: Parts) -> None:
    await parts.meet("press")
    command = await send(parts)
    assert (await parts.dispatcher.cancel(command.key)).state is State.CANCELLED
    assert await parts.dispatcher.cancel(command.key) is command, "asked twice, it is cancelled still"
    parts.listening.add("press")
    parts.dispatcher.tick()
    assert delivered(parts) == []


async def test_a_command_that_the_device_may_have_got_cannot_be_cancelled(parts: Parts) -> None:
    client = await parts.meet("press")
    parts.listening.add("press")
    command = await send(parts)
    with pytest.raises(ConflictError, match="has got command"):
        await parts.dispatcher.cancel(command.key)
    await say(parts, client, command.key, 1, "succeeded")
    with pytest.raises(ConflictError, match="has ended already: succeeded"):
        await parts.dispatcher.cancel(command.key)


async def test_who_waits_is_told_the_end(parts: Parts) -> None:
    client = await parts.meet("press")
    command = await send(parts)
    waiting = [asyncio.create_task(parts.dispatcher.wait(command.key, 60)) for _ in range(2)]
    await asyncio.sleep(0)
    await say(parts, client, command.key, 1, "running")
    assert not any(each.done() for each in waiting)
    await say(parts, client, command.key, 2, "succeeded")
    assert [each.state for each in await asyncio.gather(*waiting)] == [State.SUCCEEDED] * 2
    assert (await parts.dispatcher.wait(command.key, 60)).ended


async def test_who_has_waited_long_enough_gets_the_command_as_it_is(parts: Parts) -> None:
    await parts.meet("press")
    command = await send(parts)
    assert (await parts.dispatcher.wait(command.key, 0.01)).state is State.QUEUED
    assert (await parts.dispatcher.wait(command.key, 0)).state is State.QUEUED


async def test_a_restart_of_the_hub_changes_nothing(tmp_path: Path) -> None:
    before = Parts(tmp_path)
    client = await before.meet("press")
    before.listening.add("press")
    ended, given = await send(before), await send(before)
    await say(before, client, ended.key, 1, "succeeded")
    await before.reaches(given.key, State.SENT)
    before.listening.clear()
    waiting = await send(before, deadline_s=500.0)
    await before.close()
    after = Parts(tmp_path, clock=before.clock)
    assert after.commands.snapshot() == before.commands.snapshot()
    after.listening.add("press")
    after.clock.advance(1)
    await after.meet("press")
    assert delivered(after) == [given.key, waiting.key]
    again, new = await after.dispatcher.create("press", "identify", {"n": 1}, deadline_s=60.0, key=ended.key)
    assert again.state is State.SUCCEEDED and not new
    await after.close()


async def test_a_command_that_was_given_while_the_disk_was_full_is_neither_expired_nor_cancelled(
    tmp_path: Path,
) -> None:
    files = FullDisk()
    parts = Parts(tmp_path, files=files)
    await parts.meet("press")
    command = await send(parts, deadline_s=5.0)
    files.full = True
    parts.listening.add("press")
    parts.dispatcher.tick()
    await until(lambda: parts.journal.problem)
    assert delivered(parts) == [command.key] and command.state is State.QUEUED
    files.full = False
    with pytest.raises(ConflictError, match="has got command"):
        await parts.dispatcher.cancel(command.key)
    parts.clock.advance(5.0)
    parts.dispatcher.tick()
    await until(lambda: command.state is not State.QUEUED)
    assert command.state is State.SENT and delivered(parts) == [command.key]
    await parts.close()


async def test_every_state_is_on_the_log_before_it_is_shown(parts: Parts) -> None:
    await parts.meet("press")
    parts.listening.add("press")
    command = await send(parts)
    await parts.reaches(command.key, State.SENT)
    assert [b'"queued"' in (record.value or b"") for record in parts.records(names.COMMANDS)] == [True, False]
    assert len(command.history) == 2
