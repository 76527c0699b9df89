"""run_script: one of the programs that the device's own settings allow, by name. The hub cannot name any other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from edge.commands.command import Arguments, CommandContext, Result, check_names
from edge.sensors.program import run_program
from edge.settings import ScriptSettings
from streams.errors import MisuseError, PenstockError

OUTPUT_CHARACTERS_MAX = 16_384
_ARGUMENTS_BYTES_MAX = 65_536


class ScriptFailedError(PenstockError):
    """It ended with a status other than 0."""


class RunScriptCommand:
    """`{"script": "clean-nozzle", "arguments": {...}}`; the program finds the arguments as JSON in PENSTOCK_ARGUMENTS.

    The result is what it printed, its end if that is long. It, and what it started, is killed when its time is over.
    """

    name = "run_script"

    def __init__(self, scripts: Iterable[ScriptSettings], *, timeout_s: float) -> None:
        self._scripts = {each.name: each for each in scripts}
        self._timeout_s = timeout_s

    def check(self, arguments: Arguments) -> None:
        check_names(self.name, arguments, "script", "arguments")
        name = arguments.get("script")
        if name not in self._scripts:
            allowed = ", ".join(sorted(self._scripts)) or "none ([[edge.scripts]] on the device)"
            raise MisuseError(f"run_script: this device allows no script {name!r:.80}; it allows {allowed}")
        given = arguments.get("arguments", {})
        if not isinstance(given, dict):
            raise MisuseError(f"run_script: arguments must be an object, not {given!r:.80}")
        if len(json.dumps(given)) > _ARGUMENTS_BYTES_MAX:
            raise MisuseError(f"run_script: the arguments are longer than {_ARGUMENTS_BYTES_MAX} bytes")

    def run(self, arguments: Arguments, context: CommandContext) -> Result:
        script = self._scripts[arguments["script"]]
        environment = {**os.environ, "PENSTOCK_ARGUMENTS": json.dumps(arguments.get("arguments", {}))}
        limit_s = min(script.timeout_s or self._timeout_s, self._timeout_s)
        status, output, errors = run_program(script.command, "/", limit_s, environment=environment)
        if status != 0:
            said = _end(errors) or _end(output)
            raise ScriptFailedError(f"{script.name} ended with status {status}: {said[-300:]}")
        return {"status": status, "output": _end(output), "errors": _end(errors)}


def _end(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip()[-OUTPUT_CHARACTERS_MAX:]
