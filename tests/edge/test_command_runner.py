from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.command_runner import INTERRUPTED, WAITING_MAX, CommandRunner
from edge.commands.command import Arguments, CommandContext, Result
from edge.commands.identify import IdentifyCommand
from edge.commands.read_now import ReadNowCommand
from edge.inbox import Inbox
from edge.settings import EdgeSettings
from streams.clock import ManualClock
from streams.errors import MisuseError
from streams.files import DiskFiles
from tests.edge.trees import write

CONTEXT = CommandContext(device="d", agent="penstock 1", model="m", uptime_s=lambda: 12.34, pause=lambda seconds: None)


class Probe:
    """A command that counts how often it ran, and waits to be let go if told to."""

    name = "probe"

    def __init__(self, *, waits: bool = False, result: Any = None, error: Exception | None = None) -> None:
        self.ran: list[Arguments] = []
        self.let_go = threading.Event()
        if not waits:
            self.let_go.set()
        self._result = {"done": True} if result is None else result
        self._error = error

    def check(self, arguments: Arguments) -> None:
        if "bad" in arguments:
            raise MisuseError("bad is not good")

    def run(self, arguments: Arguments, context: CommandContext) -> Result:
        self.ran.append(arguments)
        self.let_go.wait(30)
        if self._error is not None:
            raise self._error
        result: Result = self._result
        return result


class Desk:
    """A runner, what it sent to the hub, and what it acknowledged."""

    def __init__(self, runner: CommandRunner, sent: list[dict[str, Any]], clock: ManualClock) -> None:
        self.runner, self.sent, self.clock = runner, sent, clock
        self.acknowledged: list[str] = []

    def ask(self, key: str = "k", name: str = "probe", *, deadline_s: float = 60, **arguments: Any) -> None:
        deadline_ms = self.clock.time_ns() // 1_000_000 + round(deadline_s * 1000)
        command = {"key": key, "name": name, "arguments": arguments, "deadline_ms": deadline_ms}
        self.runner.on_message(json.dumps(command).encode(), lambda: self.acknowledged.append(key))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)

    def states(self, key: str = "k") -> list[str]:
        return [step["state"] for step in self.sent if step["key"] == key]

    async def until_state(self, state: str, key: str = "k") -> dict[str, Any]:
        await self.until(lambda: state in self.states(key))
        return next(step for step in self.sent if step["key"] == key and step["state"] == state)


@contextlib.asynccontextmanager
async def desk(
    directory: Path, *commands: Any, clock: ManualClock | None = None, **changed: Any
) -> AsyncIterator[Desk]:
    chosen = clock or ManualClock()
    settings = EdgeSettings(device="d", **changed)
    inbox = Inbox(directory, files=DiskFiles(), clock=chosen, kept_max=settings.commands_kept_max)
    sent: list[dict[str, Any]] = []
    known: Mapping[str, Any] = {command.name: command for command in commands}
    runner = CommandRunner(settings, inbox, known, CONTEXT, clock=chosen, executor=None, send=sent.append)
    await runner.open()
    try:
        yield Desk(runner, sent, chosen)
    finally:
        await runner.close()


async def test_a_command_is_acknowledged_runs_and_tells_each_step(tmp_path: Path) -> None:
    probe = Probe()
    async with desk(tmp_path, probe) as at:
        at.ask(level=3)
        last = await at.until_state("succeeded")
        assert at.states() == ["accepted", "running", "succeeded"]
        assert [step["step"] for step in at.sent] == [1, 2, 3]
        assert last["result"] == {"done": True}
        assert at.acknowledged == ["k"]
        assert probe.ran == [{"level": 3}]


async def test_the_same_key_again_is_not_run_again_and_its_last_result_is_sent_again(tmp_path: Path) -> None:
    probe = Probe()
    async with desk(tmp_path, probe) as at:
        at.ask()
        last = await at.until_state("succeeded")
        at.ask()
        await at.until(lambda: len(at.acknowledged) == 2 and len(at.sent) == 4)
        assert at.sent[3] == last
        assert len(probe.ran) == 1


async def test_twice_in_a_row_before_the_first_is_on_disk_still_runs_once(tmp_path: Path) -> None:
    probe = Probe()
    async with desk(tmp_path, probe) as at:
        for _ in range(5):
            at.ask()
        await at.until_state("succeeded")
        await at.until(lambda: len(at.acknowledged) == 5)
        assert len(probe.ran) == 1


async def test_after_a_restart_the_key_is_still_known(tmp_path: Path) -> None:
    probe = Probe()
    async with desk(tmp_path, probe) as at:
        at.ask()
        last = await at.until_state("succeeded")
    async with desk(tmp_path, probe) as at:
        at.ask()
        await at.until(lambda: at.sent == [last])
        assert len(probe.ran) == 1


async def test_killed_while_it_ran_it_has_failed_and_is_not_run_again(tmp_path: Path) -> None:
    probe = Probe(waits=True)
    async with desk(tmp_path, probe) as at:
        at.ask()
        await at.until_state("running")
    async with desk(tmp_path, probe) as at:
        assert (await at.until_state("failed"))["error"] == INTERRUPTED
        at.ask()
        await at.until(lambda: at.states() == ["failed", "failed"])
    assert len(probe.ran) == 1
    probe.let_go.set()


async def test_accepted_and_then_killed_it_runs_at_the_next_start(tmp_path: Path) -> None:
    busy, clock = Probe(waits=True), ManualClock()
    async with desk(tmp_path, busy, clock=clock, commands_running_max=1) as at:
        at.ask("first")
        await at.until_state("running", "first")
        at.ask("second")
        await at.until_state("accepted", "second")
    probe = Probe()
    async with desk(tmp_path, probe, clock=clock) as at:
        await at.until_state("succeeded", "second")
    assert len(probe.ran) == 1
    busy.let_go.set()


async def test_it_never_runs_after_its_deadline(tmp_path: Path) -> None:
    probe, clock = Probe(), ManualClock()
    async with desk(tmp_path, probe, clock=clock) as at:
        at.ask("late", deadline_s=0)
        await at.until_state("expired", "late")
        assert at.acknowledged == ["late"]
    assert probe.ran == []


async def test_a_command_whose_deadline_passes_while_it_waits_for_its_turn_expires(tmp_path: Path) -> None:
    busy = Probe(waits=True)
    async with desk(tmp_path, busy, commands_running_max=1) as at:
        at.ask("first")
        await at.until_state("running", "first")
        at.ask("second", deadline_s=10)
        await at.until_state("accepted", "second")
        at.clock.advance(11)
        busy.let_go.set()
        await at.until_state("expired", "second")
        assert len(busy.ran) == 1


async def test_a_deadline_that_passes_while_the_agent_is_off(tmp_path: Path) -> None:
    busy, clock = Probe(waits=True), ManualClock()
    async with desk(tmp_path, busy, clock=clock, commands_running_max=1) as at:
        at.ask("first")
        await at.until_state("running", "first")
        at.ask("second", deadline_s=10)
        await at.until_state("accepted", "second")
    clock.advance(100)
    probe = Probe()
    async with desk(tmp_path, probe, clock=clock) as at:
        await at.until_state("expired", "second")
    assert probe.ran == []
    busy.let_go.set()


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [("probe", {"bad": 1}, "bad is not good"), ("prob", {}, "knows no command 'prob'; it knows probe")],
)
async def test_what_cannot_be_run_is_rejected_with_the_reason(
    tmp_path: Path, name: str, arguments: dict[str, Any], sentence: str
) -> None:
    async with desk(tmp_path, Probe()) as at:
        at.ask(name=name, **arguments)
        assert sentence in (await at.until_state("rejected"))["error"]
        assert at.states() == ["rejected"]


async def test_a_command_that_raises_has_failed_with_its_words(tmp_path: Path) -> None:
    async with desk(tmp_path, Probe(error=OSError(5, "the valve is stuck"))) as at:
        at.ask()
        assert "the valve is stuck" in (await at.until_state("failed"))["error"]


@pytest.mark.parametrize("result", [{"x": object()}, {"x": float("nan")}])
async def test_a_result_that_is_not_json_is_a_failure_and_not_a_silence(tmp_path: Path, result: Any) -> None:
    async with desk(tmp_path, Probe(result=result)) as at:
        at.ask()
        assert "its result is not JSON" in (await at.until_state("failed"))["error"]


async def test_a_command_that_takes_too_long_has_failed_and_holds_up_no_other(tmp_path: Path) -> None:
    slow = Probe(waits=True)
    async with desk(tmp_path, slow, commands_running_max=1, command_timeout_s=0.05) as at:
        at.ask("slow")
        at.ask("next")
        assert "did not end within 0.05 s" in (await at.until_state("failed", "slow"))["error"]
        await at.until_state("failed", "next")
    slow.let_go.set()


async def test_more_commands_than_the_bound_are_rejected(tmp_path: Path) -> None:
    busy = Probe(waits=True)
    async with desk(tmp_path, busy) as at:
        for number in range(WAITING_MAX):
            at.ask(f"k{number}")
        await at.until(lambda: len(at.acknowledged) == WAITING_MAX)
        at.ask("one too many")
        assert "wait already" in (await at.until_state("rejected", "one too many"))["error"]
    busy.let_go.set()


async def test_junk_is_acknowledged_and_reported_and_nothing_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path, Probe()) as at:
        at.runner.on_message(b"\xff{", lambda: at.acknowledged.append("junk"))
        at.ask()
        await at.until_state("succeeded")
        assert "junk" in at.acknowledged
        assert "a command is passed over" in caplog.text


async def test_what_the_hub_has_not_acknowledged_is_remembered(tmp_path: Path) -> None:
    async with desk(tmp_path, Probe()) as at:
        at.ask()
        last = await at.until_state("succeeded")
        assert at.runner.unreported() == [last]
        at.runner.on_reported(at.sent[0])
        assert at.runner.unreported() == [last], "an older step does not count"
        at.runner.on_reported(last)
        assert at.runner.unreported() == []


async def test_identify_says_who_this_is_and_blinks(tmp_path: Path) -> None:
    for name, text in {"brightness": "0", "max_brightness": "255", "trigger": "none [mmc0] timer"}.items():
        write(tmp_path, f"class/leds/ACT/{name}", text)
    seen: list[str] = []
    light = tmp_path / "class/leds/ACT"
    context = CommandContext(
        device="d",
        agent="penstock 1",
        model="m",
        uptime_s=lambda: 12.34,
        sys=tmp_path,
        pause=lambda seconds: seen.append((light / "brightness").read_text()),
    )
    answer = IdentifyCommand().run({}, context)
    assert (answer["device"], answer["agent"], answer["uptime_s"], answer["blinked"]) == (
        "d",
        "penstock 1",
        12.3,
        "ACT",
    )
    assert seen == ["255", "0"] * 5
    assert (light / "brightness").read_text() == "0"
    assert (light / "trigger").read_text() == "mmc0"


def test_identify_without_a_light(tmp_path: Path) -> None:
    context = CommandContext(device="d", agent="a", model="m", uptime_s=lambda: 1.0, sys=tmp_path)
    assert IdentifyCommand().run({}, context)["blinked"] is None


def test_read_now_answers_all_or_those_asked_for() -> None:
    readings = {"a": {"value": 1.0}, "b": {"value": 2.0}}
    context = CommandContext(device="d", agent="a", model="m", uptime_s=lambda: 1.0, readings=lambda: readings)
    assert ReadNowCommand().run({}, context) == {"readings": readings}
    assert ReadNowCommand().run({"series": ["b"]}, context) == {"readings": {"b": {"value": 2.0}}}
    with pytest.raises(MisuseError, match="there is no reading of c; there is a, b"):
        ReadNowCommand().run({"series": ["c"]}, context)
    with pytest.raises(MisuseError, match="series must be a list of names"):
        ReadNowCommand().check({"series": "a"})
    with pytest.raises(MisuseError, match="no argument 'x'"):
        ReadNowCommand().check({"x": 1})
