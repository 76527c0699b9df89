"""Keeps an agent at work under the settings in force, and tries others when the hub wants them.

New settings need no new process: the agent is stopped, which seals and syncs what it has, and another one takes up its
state. The new settings are on trial for `settings_trial_s`. At its end the hub must have been reached with them, and no
sensor may fail that did not fail before; otherwise, or when the agent dies of them, the settings before them are back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from edge.agent import Agent, end
from edge.settings import EdgeSettings
from edge.settings_twin import SettingsTwin
from streams.clock import Clock, SystemClock
from streams.files import DiskFiles, Files, InUseError

_log = logging.getLogger(__name__)

MakeAgent = Callable[[EdgeSettings, SettingsTwin], Agent]


class Keeper:
    """One device for the life of the process."""

    def __init__(
        self,
        settings: EdgeSettings,
        state: Path,
        *,
        files: Files | None = None,
        clock: Clock | None = None,
        make: MakeAgent | None = None,
    ) -> None:
        """`make` replaces the agent's constructor."""
        self._files = files or DiskFiles()
        self._clock = clock or SystemClock()
        self._make = make or (lambda chosen, twin: Agent(chosen, state, files=files, clock=clock, twin=twin))
        self._twin = SettingsTwin(settings, state, files=self._files, clock=self._clock)
        self._failing: set[str] | None = None
        """What failed under the settings before those on trial; None: not known, an earlier start began the trial."""
        self.restart_wanted = asyncio.Event()
        """Set when `run` has ended, or ends, because the process is to start anew."""
        self.sampling = asyncio.Event()
        """Set when sensors are read for the first time."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises what an agent died of that was not on trial."""
        await self._twin.load()
        try:
            while not stop.is_set() and not self.restart_wanted.is_set():
                self._twin.changed.clear()
                await self._run_one(stop)
        finally:
            await self._twin.close()

    async def _run_one(self, stop: asyncio.Event) -> None:
        """One agent, until `stop`, or until other settings are to be used."""
        agent = self._make(self._twin.settings, self._twin)
        agent.sampling, agent.restart_wanted = self.sampling, self.restart_wanted
        enough = asyncio.Event()
        running = asyncio.create_task(agent.run(enough), name="agent")
        try:
            if self._twin.on_trial:
                await self._try(agent, running, stop)
            else:
                await self._wait(running, stop)
            if self._twin.changed.is_set() and not agent.on_trial:
                self._failing = set(agent.failing())
            enough.set()
            await running
        except InUseError:
            raise
        except Exception as error:  # whatever the new settings made of it
            if not agent.on_trial:
                raise
            _log.exception("the agent died of its new settings")
            if self._twin.on_trial and not self._twin.changed.is_set():
                await self._twin.roll_back(f"the agent died of them: {error}")
        finally:
            await end(running)

    async def _try(self, agent: Agent, running: asyncio.Task[None], stop: asyncio.Event) -> None:
        """The trial; after a good one the agent goes on."""
        agent.on_trial = True
        trial_s = agent.settings.settings_trial_s
        await self._wait(running, stop, timeout_s=trial_s)
        if any(each.is_set() for each in (stop, self._twin.changed, self.restart_wanted)) or running.done():
            return
        if problem := self._problem(agent, trial_s):
            await self._twin.roll_back(problem)
            return
        agent.on_trial = False
        await self._twin.confirm()
        await self._wait(running, stop)

    def _problem(self, agent: Agent, trial_s: float) -> str | None:
        if not agent.reached_hub:
            return f"the hub at {agent.settings.hub_host}:{agent.settings.hub_port} was not reached in {trial_s:g} s"
        failing = agent.failing()
        new = sorted(failing.keys() - (failing.keys() if self._failing is None else self._failing))
        if new:
            return f"{new[0]} fails, which did not before: {failing[new[0]]}"
        return None

    async def _wait(self, running: asyncio.Task[None], stop: asyncio.Event, *, timeout_s: float | None = None) -> None:
        """Until the agent ends, `stop` is set, other settings are wanted, or time is up."""
        awaited = (stop, self._twin.changed, self.restart_wanted)
        events = [asyncio.ensure_future(each.wait()) for each in awaited]
        try:
            await asyncio.wait([running, *events], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in events:
                each.cancel()
