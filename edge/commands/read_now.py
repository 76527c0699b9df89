"""read_now: the latest reading of every series, or of those asked for."""

from __future__ import annotations

from edge.commands.command import Arguments, CommandContext, Result, check_names
from streams.errors import MisuseError


class ReadNowCommand:
    """`{"series": ["cpu.user"]}` asks for some; without it all are answered."""

    name = "read_now"

    def check(self, arguments: Arguments) -> None:
        check_names(self.name, arguments, "series")
        wanted = arguments.get("series", [])
        if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
            raise MisuseError(f"read_now: series must be a list of names, not {wanted!r:.80}")

    def run(self, arguments: Arguments, context: CommandContext) -> Result:
        readings = context.readings()
        wanted = arguments.get("series") or sorted(readings)
        unknown = [name for name in wanted if name not in readings]
        if unknown:
            raise MisuseError(f"there is no reading of {', '.join(unknown)}; there is {', '.join(sorted(readings))}")
        return {"readings": {name: readings[name] for name in wanted}}
