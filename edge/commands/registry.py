"""Commands by name: those built in, and those that users install (entry points `penstock.commands`)."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable

from edge.commands.command import Command
from edge.commands.identify import IdentifyCommand
from edge.commands.read_now import ReadNowCommand

_log = logging.getLogger(__name__)

ENTRY_POINTS = "penstock.commands"

COMMANDS: dict[str, Callable[[], Command]] = {
    "identify": IdentifyCommand,
    "read_now": ReadNowCommand,
}


def make_commands() -> dict[str, Command]:
    """Every command there is. One that is installed and cannot be made is reported and left out."""
    made = {name: constructor() for name, constructor in COMMANDS.items()}
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            made.setdefault(point.name, point.load()())
        except Exception as error:  # somebody else's code must not keep the agent from starting
            _log.error("command %s of %s cannot be used: %s", point.name, point.value, error)
    return made
