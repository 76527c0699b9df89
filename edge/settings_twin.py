"""The settings twin: what the hub wants set (desired), what is in force, and how it went (docs/protocol.md, twin).

Desired settings are a JSON merge patch (RFC 7396) over those of the settings file. They are checked before anything is
done with them, then tried; the keeper decides how the trial ends. What is tried is on disk before it is tried, with
what was in force before, so that a power cut leaves neither in doubt.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge.sensors.registry import make_sensors
from edge.settings import EdgeSettings, plain_settings, without_secrets
from streams.clock import Clock
from streams.errors import JunkError, MisuseError
from streams.files import Files
from streams.settings import build, leaves

_log = logging.getLogger(__name__)

FILE_NAME = "settings.json"
STARTS_MAX = 3
"""A trial that was cut short so often has failed: the settings may be what ends the agent."""

TRYING, APPLIED, REFUSED, ROLLED_BACK = "trying", "applied", "refused", "rolled back"

Patch = dict[str, Any]
_FIXED = {
    "device": "the device id is the device's own",
    "scripts": "what the hub may have run is decided on the device",
    "outputs": "what the hub may have switched is decided on the device",
}
_RUNS_A_PROGRAM = "program"
"""The kind of sensor that would let the hub run what it likes."""


@dataclasses.dataclass(slots=True)
class TwinState:
    """What is kept on disk. `before` is in force again when the trial of `patch` fails."""

    version: int = 0
    desired: Patch = dataclasses.field(default_factory=dict)
    patch: Patch = dataclasses.field(default_factory=dict)
    before: Patch = dataclasses.field(default_factory=dict)
    outcome: str = APPLIED
    error: str | None = None
    starts: int = 0
    """How often the agent was started during this trial."""


class SettingsTwin:
    """One agent's twin; lives as long as the process. Methods are called in the event loop."""

    def __init__(self, local: EdgeSettings, directory: Path, *, files: Files, clock: Clock) -> None:
        """`local` are the settings of this machine; what the twin knows is in `directory`."""
        self._local = local
        self._path = directory / FILE_NAME
        self._files = files
        self._clock = clock
        self._state = TwinState()
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.settings = local
        """Those in force, or on trial."""
        self.changed = asyncio.Event()
        """Set when there are others to try; whoever takes them up clears it."""
        self.send: Callable[[], None] = lambda: None
        """Publishes `report()`, if there is a connection."""

    @property
    def on_trial(self) -> bool:
        return self._state.outcome == TRYING

    async def load(self) -> None:
        """Take up what an earlier start left. What cannot be read or used is reported, and the local settings hold."""
        if not self._files.exists(self._path):
            return
        try:
            self._state = _read(self._files, self._path)
            if self.on_trial:
                self._state.starts += 1
                if self._state.starts >= STARTS_MAX:
                    await self.roll_back(f"the agent was started {STARTS_MAX} times while it tried them")
                else:
                    await self._write(self._state)
            self.settings = self._with(self._state.patch)
        except (OSError, MisuseError, JunkError) as error:
            _log.error("the settings that the hub wanted are not used, those of this machine are: %s", error)
            self._state = TwinState(version=self._state.version, desired=self._state.desired, outcome=REFUSED)
            self._state.error = str(error)
            self.settings = self._local

    def on_message(self, payload: bytes, acknowledge: Callable[[], None]) -> None:
        """Desired settings came in; `acknowledge` is called when what becomes of them is on disk."""
        task = asyncio.create_task(self._take(payload, acknowledge), name="desired settings")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def report(self) -> dict[str, Any]:
        """What the hub is told: which version it is about, how it went, and all that is set, secrets left out."""
        return {
            "version": self._state.version,
            "outcome": self._state.outcome,
            "error": self._state.error,
            "settings": without_secrets(self.settings),
            "time_ms": self._clock.time_ns() // 1_000_000,
        }

    async def confirm(self) -> None:
        """The trial went well."""
        await self._settle(APPLIED, None, self._state.patch)

    async def roll_back(self, reason: str) -> None:
        """The trial failed: what was set before is set again."""
        _log.error("the settings that the hub wanted (version %d) are rolled back: %s", self._state.version, reason)
        self.settings = self._with(self._state.before)
        await self._settle(ROLLED_BACK, reason, self._state.before)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _settle(self, outcome: str, error: str | None, patch: Patch) -> None:
        state = dataclasses.replace(self._state, outcome=outcome, error=error, patch=patch, before={}, starts=0)
        self._state = state
        try:
            await self._write(state)
        except OSError as failed:  # the next start tries again, and comes to the same end
            _log.error("%s cannot be written: %s", self._path, failed)
        self.send()

    async def _take(self, payload: bytes, acknowledge: Callable[[], None]) -> None:
        async with self._writing:
            try:
                version, desired = _parse(payload)
            except JunkError as error:
                _log.warning("desired settings are passed over: %s", error)
                acknowledge()
                return
            if (version, desired) == (self._state.version, self._state.desired):
                acknowledge()
                self.send()
                return
            in_force = self._state.before if self.on_trial else self._state.patch
            state, settings = self._judged(version, desired, in_force)
            try:
                await self._write(state)
            except OSError as error:  # not acknowledged: the hub sends it again
                _log.error("%s cannot be written: %s; the desired settings are not taken", self._path, error)
                return
            self._state = state
            acknowledge()
            self.send()
            if settings != self.settings:
                self.settings = settings
                self.changed.set()

    def _judged(self, version: int, desired: Patch, in_force: Patch) -> tuple[TwinState, EdgeSettings]:
        now = self._with(in_force)
        state = TwinState(version=version, desired=desired, patch=in_force)
        try:
            wanted = self._with(desired)
            make_sensors(wanted.sensors, read_timeout_s=wanted.read_timeout_s)
        except MisuseError as error:
            _log.warning("the settings that the hub wants (version %d) are refused: %s", version, error)
            state.outcome, state.error = REFUSED, str(error)
            return state, now
        state.patch = desired
        if wanted != now:
            state.outcome, state.before = TRYING, in_force
        return state, wanted

    def _with(self, patch: Patch) -> EdgeSettings:
        """The local settings with a patch over them. MisuseError: it cannot be used."""
        if not patch:
            return self._local
        for name, why in _FIXED.items():
            if name in patch:
                raise MisuseError(f"edge.{name} cannot be set from the hub: {why}")
        for leaf in leaves(EdgeSettings):
            if leaf.secret and _has(patch, leaf.path):
                raise MisuseError(f"edge.{leaf.name} is a secret; it is set on the device, where nobody else reads it")
        merged = merge(plain_settings(self._local), patch)
        settings = build(EdgeSettings, merged, path=("edge",))
        for sensor in settings.sensors:
            if sensor.kind == _RUNS_A_PROGRAM and sensor.options not in [each.options for each in self._local.sensors]:
                raise MisuseError(f"edge.sensors: a {sensor.kind} sensor can be set up on the device alone")
        return settings

    async def _write(self, state: TwinState) -> None:
        data = json.dumps(dataclasses.asdict(state), allow_nan=False).encode()
        await asyncio.to_thread(self._replace, data)

    def _replace(self, data: bytes) -> None:
        self._files.make_directory(self._path.parent)
        self._files.replace(self._path, data)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null takes a member away, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _has(patch: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(patch, Mapping) or part not in patch:
            return False
        patch = patch[part]
    return True


def _parse(payload: bytes) -> tuple[int, Patch]:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise JunkError(f"they are not JSON: {error}") from None
    if not isinstance(document, dict):
        raise JunkError(f"they must be one JSON object, not {payload[:60]!r}")
    version, settings = document.get("version"), document.get("settings")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise JunkError(f"their version must be a number from 1 on, not {version!r:.80}")
    if not isinstance(settings, dict):
        raise JunkError(f"settings must be an object, not {settings!r:.80}")
    return version, settings


def _read(files: Files, path: Path) -> TwinState:
    file = files.open(path)
    try:
        kept = json.loads(file.read(0, file.size()))
        state = TwinState(**kept)
    except (ValueError, TypeError, RecursionError) as error:
        raise JunkError(f"{path} cannot be read: {error}") from None
    finally:
        file.close()
    patches = (state.desired, state.patch, state.before)
    if not isinstance(state.version, int) or not all(isinstance(each, dict) for each in patches):
        raise JunkError(f"{path} is not what the agent writes")
    return state
