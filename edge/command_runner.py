"""Takes commands from the hub, runs each at most once and never after its deadline, and tells how it went.

The inbox decides what is durable; this is the shell around it: threads, time limits, what the hub has not heard yet.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar

from edge.commands.command import Command, CommandContext
from edge.inbox import Inbox
from edge.inbox_entry import InboxEntry, JsonObject, parse_command
from edge.settings import EdgeSettings
from edge.worker_thread import WorkerThread
from streams.clock import Clock
from streams.errors import JunkError, MisuseError

_log = logging.getLogger(__name__)
T = TypeVar("T")

WAITING_MAX = 100
"""Commands that have not ended; more are rejected."""

_DISK_RETRY_S = 2.0
_ERROR_LENGTH_MAX = 500
INTERRUPTED = "the agent was stopped while the command ran; it may have taken effect"


class CommandRunner:
    """Lives as long as the agent; connections come and go. `send` publishes a step if there is a connection."""

    def __init__(
        self,
        settings: EdgeSettings,
        inbox: Inbox,
        commands: Mapping[str, Command],
        context: CommandContext,
        *,
        clock: Clock,
        executor: Executor | None,
        send: Callable[[JsonObject], None],
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._commands = commands
        self._context = context
        self._clock = clock
        self._executor = executor
        self._send = send
        self._disk = asyncio.Lock()
        self._slots = asyncio.Semaphore(settings.commands_running_max)
        self._tasks: set[asyncio.Task[None]] = set()
        self._unreported: collections.OrderedDict[str, JsonObject] = collections.OrderedDict()

    async def open(self) -> None:
        """Take up what an earlier start left: what was accepted runs now, what was running has failed."""
        for entry in await self._blocking(self._inbox.open):
            if entry.state == "running":
                await self._step(entry, "failed", error=INTERRUPTED)
            else:
                self._report(entry.last)
                self._start(self._run(entry))

    def on_message(self, payload: bytes, acknowledge: Callable[[], None]) -> None:
        """A command came in; `acknowledge` is called when it is on disk, or is known to be junk."""
        self._start(self._take(payload, acknowledge))

    def unreported(self) -> list[JsonObject]:
        """Last steps that the hub has not acknowledged; sent again over each new connection."""
        return list(self._unreported.values())

    def on_reported(self, step: JsonObject) -> None:
        """The hub has acknowledged this step."""
        if self._unreported.get(step["key"]) is step:
            del self._unreported[step["key"]]

    async def close(self) -> None:
        """Stop. What still runs is left to its thread; the next start calls it failed."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._disk:
            self._inbox.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, payload: bytes, acknowledge: Callable[[], None]) -> None:
        try:
            asked = parse_command(payload)
        except JunkError as error:
            _log.warning("a command is passed over: %s", error)
            acknowledge()
            return
        seen = self._inbox.get(asked.key)
        entry, is_new = (seen, False) if seen is not None else await self._accept(asked, payload)
        acknowledge()
        self._report(entry.last)
        if is_new and not entry.ended:
            await self._run(entry)

    async def _accept(self, asked: InboxEntry, payload: bytes) -> tuple[InboxEntry, bool]:
        state, more = self._judge(asked)

        def write() -> tuple[InboxEntry, bool]:
            seen = self._inbox.get(asked.key)  # the same command may have come twice in a row
            return (seen, False) if seen is not None else (self._inbox.accept(payload, state, **more), True)

        return await self._until_written(write)

    def _judge(self, asked: InboxEntry) -> tuple[str, JsonObject]:
        if self._now_ms() >= asked.deadline_ms:
            return "expired", {}
        command = self._commands.get(asked.name)
        if command is None:
            known = ", ".join(sorted(self._commands))
            return "rejected", {"error": f"this device knows no command {asked.name!r}; it knows {known}"}
        if self._inbox.waiting() >= WAITING_MAX:
            return "rejected", {"error": f"{WAITING_MAX} commands wait already; ask again later"}
        try:
            command.check(asked.arguments)
        except Exception as error:  # a plug-in may raise anything
            return "rejected", {"error": _sentence(error)}
        return "accepted", {}

    async def _run(self, entry: InboxEntry) -> None:
        async with self._slots:
            if self._now_ms() >= entry.deadline_ms:
                await self._step(entry, "expired")
                return
            command = self._commands.get(entry.name)
            if command is None:  # accepted by an earlier start that knew it
                await self._step(entry, "rejected", error=f"this device knows no command {entry.name!r} any more")
                return
            await self._step(entry, "running")
            state, more = await self._call(command, entry)
        await self._step(entry, state, **more)

    async def _call(self, command: Command, entry: InboxEntry) -> tuple[str, JsonObject]:
        thread = WorkerThread(f"command {entry.name}")
        timeout_s = self._settings.command_timeout_s
        try:
            async with asyncio.timeout(timeout_s) as limit:
                result = await thread.submit(lambda: dict(command.run(entry.arguments, self._context)))
            return "succeeded", {"result": result}
        except Exception as error:  # a plug-in may raise anything
            if limit.expired():
                return "failed", {"error": f"it did not end within {timeout_s:g} s; it may still take effect"}
            if not isinstance(error, MisuseError):
                _log.warning("command %s failed", entry.name, exc_info=True)
            return "failed", {"error": _sentence(error)}
        finally:
            thread.close()

    async def _step(self, entry: InboxEntry, state: str, **more: Any) -> None:
        try:
            step = await self._until_written(lambda: self._inbox.step(entry, state, **more))
        except (TypeError, ValueError) as error:
            text = f"its result is not JSON: {error}"
            step = await self._until_written(lambda: self._inbox.step(entry, "failed", error=text))
        self._report(step)

    def _report(self, step: JsonObject) -> None:
        self._unreported[step["key"]] = step
        self._send(step)

    async def _until_written(self, call: Callable[[], T]) -> T:
        """Try until the disk takes it: until then the command is not acknowledged, not run, not ended."""
        told = False
        while True:
            try:
                return await self._blocking(call)
            except OSError as error:
                if not told:
                    _log.error("the command inbox cannot be written: %s; it is tried again", error)
                told = True
            await asyncio.sleep(_DISK_RETRY_S)

    async def _blocking(self, call: Callable[[], T]) -> T:
        async with self._disk:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def _now_ms(self) -> int:
        return self._clock.time_ns() // 1_000_000


def _sentence(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:_ERROR_LENGTH_MAX]
