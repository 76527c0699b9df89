"""The hub's parts over a real log in a temporary directory; the gateway is the only one that is not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from hub.accounts import Accounts
from hub.commands import Command, Commands, State
from hub.dispatch import Dispatcher
from hub.events import Event
from hub.ingest import Ingest
from hub.intake import Client, Message
from hub.journal import Journal
from hub.keys import Keys
from hub.projections import Projections
from hub.registry import Registry
from hub.settings import CommandSettings
from hub.translations import Translations
from hub.translator import Translator
from streams import names
from streams.clock import ManualClock
from streams.files import DiskFiles, Files
from streams.log import EventLog, LogSettings
from streams.metrics import Metrics
from streams.record import Record


async def until(condition: Callable[[], Any], *, timeout_s: float = 10.0) -> Any:
    """Let the loop run until `condition` holds; returns what it returned."""
    async with asyncio.timeout(timeout_s):
        while not (value := condition()):
            await asyncio.sleep(0.001)
    return value


class Parts:
    """Everything behind the gateway. `listening` are the clients that take what is published to them."""

    def __init__(
        self,
        data: Path,
        *,
        files: Files | None = None,
        clock: ManualClock | None = None,
        settings: CommandSettings | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.files = files or DiskFiles()
        self.registry, self.accounts, self.commands = Registry(), Accounts(), Commands()
        self.metrics = Metrics()
        self.events: list[Event] = []
        self.published: list[tuple[str, str, Any]] = []
        self.listening: set[str] = set()
        self.translations = Translations()
        projections = [self.registry, self.accounts, self.commands, self.translations]
        self.projections = Projections(data / "hub", self.files, projections)
        self.journal = Journal(self.projections, clock=self.clock, react=self._react)
        keys = Keys(self.clock, lambda size: bytes(size))
        self.dispatcher = Dispatcher(
            self.commands,
            self.registry,
            self.journal,
            publish=self._publish,
            keys=keys,
            clock=self.clock,
            settings=settings or CommandSettings(open_max=3, silence_s=100.0),
            metrics=self.metrics,
        )
        self.translator = Translator(self.journal, self.translations, clock=self.clock, series_max=100)
        self.ingest = Ingest(
            self.journal,
            self.registry,
            publish=self._publish,
            translator=self.translator,
            watch=self.dispatcher,
            clock=self.clock,
            metrics=self.metrics,
        )
        streams = {stream: LogSettings() for stream in (names.TELEMETRY, names.DEVICES, names.COMMANDS)}
        self.log = EventLog.open(
            data / "log", streams, files=self.files, clock=self.clock, on_commit=self.journal.on_commit, owner="test"
        )
        self.journal.attach(self.log)
        self.projections.start({(stream, 0): self.log.reader(stream, 0) for stream in streams})

    def records(self, stream: str) -> list[Record]:
        """Everything durable on a stream."""
        reader = self.log.reader(stream, 0)
        found: list[Record] = []
        while batch := reader.read(found[-1].offset + 1 if found else 0):
            found.extend(batch)
        return found

    async def take(self, client: Client, *messages: tuple[str, bytes]) -> Exception | None:
        """What the gateway does with messages of a client, given as (channel, payload); what it was told."""
        told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        made = [Message(names.topic(client.client_id, channel), payload, 1) for channel, payload in messages]
        self.ingest.take(client, made, told.set_result)
        return await asyncio.wait_for(told, 10)

    async def meet(self, device: str) -> Client:
        """A device connects and sends its birth."""
        client = Client(device, None, "127.0.0.1:9", 4)
        self.ingest.connected(client)
        assert await self.take(client, (names.STATE, b'{"online": true, "boot": "b", "epoch": 7}')) is None
        return client

    async def reaches(self, key: str, state: State) -> Command:
        """Wait until a command is in a state."""
        command = self.commands.find(key)
        assert command is not None
        await until(lambda: command.state is state)
        return command

    async def close(self) -> None:
        await asyncio.to_thread(self.log.close)
        await asyncio.sleep(0)

    def _publish(self, device: str, topic: str, payload: bytes) -> bool:
        if device not in self.listening:
            return False
        self.published.append((device, topic.rpartition("/")[2], json.loads(payload)))
        return True

    def _react(self, event: Event) -> None:
        self.events.append(event)
        self.ingest.react(event)
        self.dispatcher.react(event)


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    made = Parts(tmp_path)
    yield made
    await made.close()
