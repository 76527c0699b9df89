"""Takes commands from people and programs and brings them to devices: the I/O around the states in commands.py.

A command is written to the log first, then given to its device: at once when that is connected and listens, otherwise
when it returns, oldest first. What a device had been given before it left is given again, which does no harm, because
it knows the key.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from hub.commands import Command, Commands, State, queued_body, step_body
from hub.events import CommandEvent, Event, dump
from hub.journal import Journal
from hub.keys import Keys, check_key
from hub.registry import Registry
from hub.settings import CommandSettings
from streams import names
from streams.clock import Clock
from streams.errors import MisuseError, TryLaterError
from streams.metrics import Metrics
from streams.record import NewRecord

_log = logging.getLogger("penstock.hub.commands")

PAYLOAD_BYTES_MAX = 256 << 10
DEADLINE_S_MAX = 365 * 86_400.0


class ConflictError(MisuseError):
    """What was asked for does not go with what is already so."""


class UnknownCommandError(MisuseError):
    """There is no command of this key."""


class Dispatcher:
    """Creates, delivers, expires and watches commands. All methods are called in the event loop."""

    def __init__(
        self,
        commands: Commands,
        registry: Registry,
        journal: Journal,
        *,
        publish: Callable[[str, str, bytes], bool],
        keys: Keys,
        clock: Clock,
        settings: CommandSettings,
        metrics: Metrics,
    ) -> None:
        self._commands = commands
        self._registry = registry
        self._journal = journal
        self._publish = publish
        self._keys = keys
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._creating: dict[str, tuple[Command, asyncio.Future[None]]] = {}
        self._given: dict[str, int] = {}
        """Commands that a device may have got, with the number of the connection on which it did."""
        self._connections: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._writing: set[str] = set()
        """Commands with a step of the hub on its way to the log."""
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    async def create(
        self, device: str, name: str, arguments: Mapping[str, Any], *, deadline_s: float, key: str | None = None
    ) -> tuple[Command, bool]:
        """Take a command; returns it, and whether it is new (the same key asked for again is not).

        Raises UnknownDeviceError, ConflictError (the key belongs to another command), MisuseError, TryLaterError (too
        many open commands), DiskError.
        """
        command = self._draft(device, name, arguments, deadline_s, key)
        known = self._known(command)
        if known is not None:
            return known, False
        if command.key in self._creating:
            twin, durable = self._creating[command.key]
            _check_same(twin, command)
            await asyncio.shield(durable)
            return self.get(command.key), False
        self._registry.get(device)
        self._check_room(device)
        durable = self._journal.write(names.COMMANDS, [self._record(command.key, queued_body(command))])
        self._creating[command.key] = (command, durable)
        durable.add_done_callback(lambda _: self._creating.pop(command.key))
        await asyncio.shield(durable)
        self._count(State.QUEUED)
        created = self.get(command.key)
        self.deliver(device)
        return created, True

    async def cancel(self, key: str) -> Command:
        """Take a command back. ConflictError when it has ended, or its device may have got it already."""
        command = self.get(key)
        if command.state is State.QUEUED and key not in self._given and key not in self._writing:
            await self._step(command, State.CANCELLED)
        if command.state is not State.CANCELLED:
            if command.ended:
                raise ConflictError(f"command {key} has ended already: {command.state}")
            raise ConflictError(f"{command.device} has got command {key} already, it cannot be taken back any more")
        return command

    def get(self, key: str) -> Command:
        """The command of this key. UnknownCommandError when there is none."""
        command = self._commands.find(key)
        if command is None:
            raise UnknownCommandError(
                f"there is no command {key[:80]!r} (or it ended long ago); see the known ones with: "
                "penstock command list"
            )
        return command

    async def wait(self, key: str, wait_s: float) -> Command:
        """The command, once it has ended or `wait_s` have passed."""
        command = self.get(key)
        if command.ended or wait_s <= 0:
            return command
        ended = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(ended)
        try:
            await asyncio.wait([ended], timeout=wait_s)
        finally:
            waiting = self._waiting[key]
            waiting.remove(ended)
            if not waiting:
                del self._waiting[key]
        return command

    def on_connected(self, device: str) -> None:
        """A new connection: what was given on the last one may not have arrived."""
        self._connections[device] = next(self._numbers)

    def on_disconnected(self, device: str) -> None:
        """The connection of a device has ended."""
        self._connections.pop(device, None)

    def react(self, event: Event) -> None:
        """A new event on the log: a sign of life of a device, or a step of a command."""
        if isinstance(event, CommandEvent):
            self._on_step(event)
        if event.device and self._commands.open_count(event.device):
            self.deliver(event.device)

    def deliver(self, device: str) -> None:
        """Give a device what it has not got on this connection, oldest first, as far as it listens."""
        now_ms = self._now_ms()
        connection = self._connections.get(device, 0)
        for command in self._commands.open_of(device):
            if command.state not in (State.QUEUED, State.SENT):
                continue
            if self._given.get(command.key) != connection and now_ms < command.deadline_ms:
                if not self._publish(device, names.topic(device, names.COMMAND), dump(command.to_device())):
                    return
                self._given[command.key] = connection
            if command.state is State.QUEUED and command.key in self._given and command.key not in self._writing:
                self._write_step(command, State.SENT)

    def tick(self) -> None:
        """Once a second: deliver what could not be delivered, end what is overdue."""
        for device in self._commands.devices_with_open():
            self.deliver(device)
        silence_ms = round(self._settings.silence_s * 1000)
        for command, state, error in list(self._commands.overdue(self._now_ms(), silence_ms=silence_ms)):
            if command.key not in self._writing:  # `deliver` is writing that it was given
                self._write_step(command, state, error)

    def _draft(
        self, device: str, name: str, arguments: Mapping[str, Any], deadline_s: float, key: str | None
    ) -> Command:
        if not 1 <= len(name) <= 128:
            raise MisuseError("a command needs a name of 1 to 128 characters")
        if not 0 < deadline_s <= DEADLINE_S_MAX:
            raise MisuseError(f"deadline_s must be more than 0 and at most {DEADLINE_S_MAX:.0f}, not {deadline_s}")
        now_ms = self._now_ms()
        command = Command(
            key=self._keys.make() if key is None else check_key(key),
            device=device,
            name=name,
            arguments=arguments,
            created_ms=now_ms,
            deadline_ms=now_ms + round(deadline_s * 1000),
        )
        size = len(dump(command.to_device()))
        if size > PAYLOAD_BYTES_MAX:
            raise MisuseError(f"the command has {size} bytes; a device takes at most {PAYLOAD_BYTES_MAX}")
        return command

    def _known(self, command: Command) -> Command | None:
        known = self._commands.find(command.key)
        if known is not None:
            _check_same(known, command)
        return known

    def _check_room(self, device: str) -> None:
        most = self._settings.open_max
        coming = sum(command.device == device for command, _ in self._creating.values())
        if self._commands.open_count(device) + coming >= most:
            raise TryLaterError(
                f"{device} has {most} commands open already (hub.commands.open_max); wait until some have ended, "
                "or cancel them",
                retry_after_s=5.0,
            )

    async def _step(self, command: Command, state: State) -> None:
        self._writing.add(command.key)
        try:
            body = step_body(command, state, self._now_ms())
            await asyncio.shield(self._journal.write(names.COMMANDS, [self._record(command.key, body)]))
        finally:
            self._writing.discard(command.key)

    def _write_step(self, command: Command, state: State, error: str | None = None) -> None:
        self._writing.add(command.key)
        record = self._record(command.key, step_body(command, state, self._now_ms(), error))
        self._journal.append(names.COMMANDS, [record], lambda _: self._writing.discard(command.key))

    def _on_step(self, event: CommandEvent) -> None:
        command = self._commands.find(event.key)
        if command is None:
            return
        if command.ended:
            self._given.pop(command.key, None)
            for waiting in self._waiting.get(command.key, ()):
                if not waiting.done():
                    waiting.set_result(None)
        if event.state == command.state and event.step in (0, command.step):
            self._count(command.state)
            _log.info("%s: command %s (%s) is %s", command.device, command.key, command.name, command.state)

    def _count(self, state: State) -> None:
        self._metrics.counter("penstock_hub_commands_total", "Steps of commands.", state=state.value).increment()

    def _record(self, key: str, body: Mapping[str, Any]) -> NewRecord:
        return NewRecord(key.encode(), dump(body), self._now_ms())

    def _now_ms(self) -> int:
        return self._clock.time_ns() // 1_000_000


def _check_same(known: Command, asked: Command) -> None:
    if (known.device, known.name, known.arguments) != (asked.device, asked.name, asked.arguments):
        raise ConflictError(
            f"the key {known.key} belongs to another command ({known.name} on {known.device}); "
            "use a new key, or leave it out"
        )
