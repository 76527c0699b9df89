"""Commands that change something: scripts that are really run, and pins of gpiozero's own mock."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from edge.commands.registry import make_commands
from edge.commands.run_script import OUTPUT_CHARACTERS_MAX, RunScriptCommand
from edge.commands.set_output import SetOutputCommand
from edge.settings import EdgeSettings, OutputSettings, ScriptSettings
from edge.settings_twin import REFUSED
from streams.errors import MisuseError, PenstockError
from tests.edge.test_command_runner import CONTEXT, desk
from tests.edge.test_settings_twin import Desk


def script(program: str, **more: Any) -> RunScriptCommand:
    made = ScriptSettings(name="s", command=(sys.executable, "-c", program), **more)
    return RunScriptCommand([made], timeout_s=30.0)


def run(command: RunScriptCommand, **arguments: Any) -> dict[str, Any]:
    asked = {"script": "s", "arguments": arguments}
    command.check(asked)
    return dict(command.run(asked, CONTEXT))


def test_a_script_gets_its_arguments_and_its_output_comes_back() -> None:
    program = "import json, os, sys; a = json.loads(os.environ['PENSTOCK_ARGUMENTS']); print(a['x'] + 1); sys.exit(0)"
    assert run(script(program), x=2) == {"status": 0, "output": "3", "errors": ""}


def test_a_script_that_fails_says_why() -> None:
    with pytest.raises(PenstockError, match="status 3: no paper"):
        run(script("import sys; print('no paper', file=sys.stderr); sys.exit(3)"))


def test_of_a_long_output_the_end_comes_back() -> None:
    output = run(script(f"print('a' * {OUTPUT_CHARACTERS_MAX} + 'end')"))["output"]
    assert (len(output), output[-3:]) == (OUTPUT_CHARACTERS_MAX, "end")


def test_a_script_that_hangs_ends_with_its_children(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)"
    )
    with pytest.raises(PenstockError, match="did not end within 1 s"):
        run(script(program, timeout_s=1.0))
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(child)


def _lives(number: int) -> bool:
    try:
        os.kill(number, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{number}/stat").read_text().split()[2] != "Z"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"script": "rm"}, "allows s"),
        ({"script": "/bin/sh"}, "allows s"),
        ({}, "allows s"),
        ({"script": "s", "arguments": [1]}, "object"),
        ({"script": "s", "command": ["rm"]}, "no argument 'command'"),
        ({"script": "s", "arguments": {"x": "y" * 70_000}}, "65536 bytes"),
    ],
)
def test_what_the_device_does_not_allow_is_not_run(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(MisuseError, match=word):
        script("print(1)").check(arguments)


def test_a_device_that_allows_nothing_says_where_it_would() -> None:
    with pytest.raises(MisuseError, match=r"\[\[edge.scripts\]\]"):
        make_commands(EdgeSettings(device="d"))["run_script"].check({"script": "s"})


@pytest.mark.parametrize(
    "wanted",
    [
        {"scripts": [{"name": "x", "command": ["/bin/sh"]}]},
        {"outputs": [{"name": "x", "pin": 1}]},
        {"sensors": [{"kind": "program", "options": {"command": ["/bin/sh", "-c", "id"]}}]},
    ],
)
async def test_the_hub_cannot_allow_itself_more(tmp_path: Path, wanted: dict[str, Any]) -> None:
    at = Desk(tmp_path)
    assert await at.want(1, **wanted) == REFUSED
    assert "device" in at.said[-1]["error"]


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    before, Device.pin_factory = Device.pin_factory, MockFactory()
    yield Device.pin_factory
    Device.pin_factory.reset()
    Device.pin_factory = before


def test_an_output_is_switched_kept_and_given_back(pins: MockFactory) -> None:
    command = SetOutputCommand(
        [OutputSettings(name="fan", pin=17), OutputSettings(name="low", pin=4, active_high=False)]
    )
    assert command.run({"output": "fan", "on": True}, CONTEXT) == {"output": "fan", "on": True, "before": False}
    assert (pins.pin(17).function, pins.pin(17).state) == ("output", True)
    assert command.run({"output": "fan", "on": False}, CONTEXT)["before"] is True
    command.run({"output": "low", "on": True}, CONTEXT)
    assert pins.pin(4).state == 0
    command.close()
    assert pins.pin(17).function == "input"


def test_an_output_for_a_while_goes_back(pins: MockFactory) -> None:
    seen: list[tuple[float, bool]] = []
    context = dataclasses.replace(CONTEXT, pause=lambda seconds: seen.append((seconds, bool(pins.pin(17).state))))
    command = SetOutputCommand([OutputSettings(name="fan", pin=17)])
    assert command.run({"output": "fan", "on": True, "for_s": 5}, context)["on"] is False
    assert (seen, pins.pin(17).state) == ([(5, True)], False)
    command.close()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"output": "pump", "on": True}, "it has fan"),
        ({"output": "fan", "on": 1}, "true or false"),
        ({"output": "fan", "on": True, "for_s": 0}, "for_s"),
        ({"output": "fan", "on": True, "for_s": 1e9}, "for_s"),
        ({"output": "fan", "on": True, "for_s": True}, "for_s"),
        ({"output": "fan", "on": True, "pin": 4}, "no argument 'pin'"),
    ],
)
def test_an_output_that_is_not_named_is_not_switched(arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(MisuseError, match=word):
        SetOutputCommand([OutputSettings(name="fan", pin=17)]).check(arguments)


async def test_outputs_are_given_back_at_the_end_of_the_agent(tmp_path: Path, pins: MockFactory) -> None:
    async with desk(tmp_path, SetOutputCommand([OutputSettings(name="fan", pin=17)])) as at:
        at.ask(name="set_output", output="fan", on=True)
        await at.until_state("succeeded")
        assert pins.pin(17).function == "output"
    assert pins.pin(17).function == "input"
