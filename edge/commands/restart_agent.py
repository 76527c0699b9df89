"""restart_agent: the agent stops as on a signal, which loses nothing, and starts anew in the same place."""

from __future__ import annotations

from edge.commands.command import Arguments, CommandContext, Result, check_names


class RestartAgentCommand:
    """Succeeds when the restart is sure to come: it comes once this is on disk and nothing else runs."""

    name = "restart_agent"

    def check(self, arguments: Arguments) -> None:
        check_names(self.name, arguments)

    def run(self, arguments: Arguments, context: CommandContext) -> Result:
        context.restart()
        return {"uptime_s": round(context.uptime_s(), 1)}
