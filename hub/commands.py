"""Commands and their states: plain objects folded from the `commands` stream, without I/O.

    queued -> sent -> accepted -> running -> succeeded | failed
      |         \\----------------------------> rejected | expired
      +-> expired, cancelled                    (by the device)

The hub writes queued, sent, cancelled, expired (step 0); the device writes the rest with steps that count from 1. The
log's order decides: a step that is not newer than the last one, or does not lead forward, changes nothing, and an end
stands for good. A command that the device may have got is never cancelled or expired by the hub, because it may be
running: the device says how it ended. When it keeps silent too long after the deadline, the command has failed, and its
error says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hub.events import CommandEvent, Event, JunkEvent
from streams import names


class State(StrEnum):
    """Where a command stands."""

    QUEUED = "queued"
    SENT = "sent"
    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


_OPEN = (State.QUEUED, State.SENT, State.ACCEPTED, State.RUNNING)
ENDED = frozenset(State) - frozenset(_OPEN)
_BY_DEVICE = frozenset({State.ACCEPTED, State.RUNNING, State.SUCCEEDED, State.FAILED, State.REJECTED, State.EXPIRED})
_BY_HUB_FROM: Mapping[State, frozenset[State]] = {
    State.SENT: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
    State.EXPIRED: frozenset({State.QUEUED}),
    State.FAILED: frozenset(_OPEN),
}


@dataclass(slots=True)
class Command:
    """One command, as far as the log tells."""

    key: str
    device: str
    name: str
    arguments: Mapping[str, Any]
    created_ms: int
    deadline_ms: int
    state: State = State.QUEUED
    step: int = 0
    ended_ms: int | None = None
    result: Any = None
    error: str | None = None
    progress: float | None = None
    history: list[tuple[str, int]] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def to_json(self) -> dict[str, Any]:
        """The command as the control API shows it."""
        return {
            "key": self.key,
            "device": self.device,
            "name": self.name,
            "arguments": self.arguments,
            "state": self.state.value,
            "created_ms": self.created_ms,
            "deadline_ms": self.deadline_ms,
            "ended_ms": self.ended_ms,
            "result": self.result,
            "error": self.error,
            "progress": self.progress,
            "history": [{"state": state, "time_ms": time_ms} for state, time_ms in self.history],
        }

    def to_device(self) -> dict[str, Any]:
        """The command as the device gets it."""
        return {
            "key": self.key,
            "name": self.name,
            "arguments": self.arguments,
            "deadline_ms": self.deadline_ms,
            "created_ms": self.created_ms,
        }

    def take(self, event: CommandEvent) -> bool:
        """Move on by an event of the log; False when it is out of turn and changes nothing."""
        state = _state(event.state)
        if state is None or self.ended or event.device != self.device or not self._leads_to(state, event.step):
            return False
        self.step = max(self.step, event.step)
        if state is not self.state:
            self.state = state
            self.history.append((state.value, event.time_ms))
        self.progress = event.body.get("progress", self.progress)
        if self.ended:
            self.ended_ms = event.time_ms
            self.result, self.error = event.body.get("result"), event.body.get("error")
        return True

    def _leads_to(self, state: State, step: int) -> bool:
        if step == 0:
            return self.state in _BY_HUB_FROM.get(state, ())
        forward = state in ENDED or _OPEN.index(state) >= _OPEN.index(self.state)
        return state in _BY_DEVICE and step > self.step and forward


class Commands:
    """Every command that is open, and the last ones that have ended."""

    name = "commands"
    streams = (names.COMMANDS,)

    def __init__(self, *, kept_max: int = 2000) -> None:
        self._kept_max = kept_max
        self._commands: dict[str, Command] = {}
        self._open: dict[str, dict[str, None]] = {}
        self._ended: dict[str, None] = {}
        self.ignored = 0
        """Steps that changed nothing: older than the last one, after the end, of an unknown command, or junk."""

    def fold(self, event: Event) -> Command | None:
        """Take the next event of the log; returns the command that it changed."""
        if not isinstance(event, CommandEvent):
            self.ignored += isinstance(event, JunkEvent)
            return None
        command = self._commands.get(event.key)
        if command is None and event.step == 0 and event.state == State.QUEUED:
            return self._begin(event)
        if command is None or not command.take(event):
            self.ignored += 1
            return None
        if command.ended:
            self._end(command)
        return command

    def find(self, key: str) -> Command | None:
        return self._commands.get(key)

    def open_of(self, device: str) -> list[Command]:
        """The commands of a device that have not ended, oldest first."""
        return [self._commands[key] for key in self._open.get(device, ())]

    def open_count(self, device: str) -> int:
        return len(self._open.get(device, ()))

    def devices_with_open(self) -> list[str]:
        return list(self._open)

    def newest_first(self, *, device: str | None = None) -> Iterator[Command]:
        """All commands, or those of one device."""
        return (each for each in reversed(self._commands.values()) if device is None or each.device == device)

    def overdue(self, now_ms: int, *, silence_ms: int) -> Iterator[tuple[Command, State, str]]:
        """Open commands whose time is up, with the end that the hub has to write and its error."""
        for keys in self._open.values():
            for command in map(self._commands.__getitem__, keys):
                if command.state is State.QUEUED and now_ms >= command.deadline_ms:
                    yield command, State.EXPIRED, f"{command.device} was not there before the deadline"
                elif now_ms >= command.deadline_ms + silence_ms:
                    yield (
                        command,
                        State.FAILED,
                        (f"{command.device} got the command and never said how it ended; it may have run"),
                    )

    def __len__(self) -> int:
        return len(self._commands)

    def snapshot(self) -> dict[str, Any]:
        """The state, as JSON: `restore` makes an equal store of it."""
        commands = [{**each.to_json(), "step": each.step} for each in self._commands.values()]
        return {"commands": commands, "ended": list(self._ended), "ignored": self.ignored}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a snapshot in place of what is there. KeyError, TypeError or ValueError when it cannot be one."""
        commands = [_restored(each) for each in state["commands"]]
        self._commands = {command.key: command for command in commands}
        self._open = {}
        for command in commands:
            if not command.ended:
                self._open.setdefault(command.device, {})[command.key] = None
        self._ended = {key: None for key in state["ended"] if self._commands[key].ended}
        self.ignored = state["ignored"]

    def _begin(self, event: CommandEvent) -> Command | None:
        body = event.body
        if not isinstance(body.get("name"), str) or not isinstance(body.get("deadline_ms"), int):
            self.ignored += 1
            return None
        command = Command(
            key=event.key,
            device=event.device,
            name=body["name"],
            arguments=body.get("arguments") or {},
            created_ms=body.get("created_ms", event.time_ms),
            deadline_ms=body["deadline_ms"],
            history=[(State.QUEUED.value, event.time_ms)],
        )
        self._commands[command.key] = command
        self._open.setdefault(command.device, {})[command.key] = None
        return command

    def _end(self, command: Command) -> None:
        keys = self._open[command.device]
        del keys[command.key]
        if not keys:
            del self._open[command.device]
        self._ended[command.key] = None
        while len(self._ended) > self._kept_max:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            del self._commands[oldest]


def queued_body(command: Command) -> dict[str, Any]:
    """The first event of a command, as it stands on the log."""
    return {
        "key": command.key,
        "device": command.device,
        "state": State.QUEUED.value,
        "step": 0,
        "time_ms": command.created_ms,
        "name": command.name,
        "arguments": command.arguments,
        "created_ms": command.created_ms,
        "deadline_ms": command.deadline_ms,
    }


def step_body(command: Command, state: State, time_ms: int, error: str | None = None) -> dict[str, Any]:
    """A step that the hub makes, as it stands on the log."""
    body = {"key": command.key, "device": command.device, "state": state.value, "step": 0, "time_ms": time_ms}
    return body if error is None else {**body, "error": error}


def _state(text: str) -> State | None:
    try:
        return State(text)
    except ValueError:
        return None


def _restored(plain: Mapping[str, Any]) -> Command:
    history = [(each["state"], each["time_ms"]) for each in plain["history"]]
    return Command(**{**plain, "state": State(plain["state"]), "history": history})
