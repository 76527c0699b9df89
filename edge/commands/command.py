"""The contract of a command.

`check` is called on the event loop before the command is accepted and must not block; MisuseError makes it `rejected`.
`run` is called once, in a thread of its own, and may block; it should end before the agent's command time-out. Whatever
it raises makes the command `failed`, with the error's text as the reason.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from streams.errors import MisuseError

Arguments = Mapping[str, Any]
Result = Mapping[str, Any]


def no_readings() -> dict[str, dict[str, Any]]:
    return {}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CommandContext:
    """What a command may use."""

    device: str
    agent: str
    model: str
    uptime_s: Callable[[], float]
    readings: Callable[[], dict[str, dict[str, Any]]] = no_readings
    """The latest reading of every series, by name: time_ns, value, unit, quality."""
    sys: Path = Path("/sys")
    pause: Callable[[float], None] = time.sleep


class Command(Protocol):
    """Something that the device can be asked to do."""

    name: str

    def check(self, arguments: Arguments) -> None:
        """MisuseError, which says what is wrong and what is right, when the arguments cannot be used."""
        ...

    def run(self, arguments: Arguments, context: CommandContext) -> Result:
        """Do it; returns the result, which must be plain JSON."""
        ...


def check_names(command: str, arguments: Arguments, *known: str) -> None:
    """MisuseError when an argument is given that the command does not know."""
    for name in arguments:
        if name not in known:
            has = f"it takes {', '.join(known)}" if known else "it takes none"
            raise MisuseError(f"{command} has no argument {name!r:.60}; {has}")
