"""One command as the agent knows it: what was asked, how far it came, and what was last said about it. Pure."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from streams.errors import CorruptError, JunkError

JsonObject = dict[str, Any]

ENDED = frozenset({"succeeded", "failed", "rejected", "expired"})
STATES = frozenset({"accepted", "running"}) | ENDED

_KEY_LENGTH_MAX = 128
_NAME_LENGTH_MAX = 128


@dataclasses.dataclass(slots=True)
class InboxEntry:
    """A command and its last step. `last` is the payload of that step as it is published."""

    key: str
    name: str
    arguments: JsonObject
    deadline_ms: int
    step: int = 0
    state: str = ""
    last: JsonObject = dataclasses.field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def next_step(self, state: str, time_ms: int, more: JsonObject) -> JsonObject:
        """The next thing to say; it counts only after `take`."""
        assert state in STATES and not self.ended, f"{self.key} cannot go from {self.state} to {state}"
        return {"key": self.key, "step": self.step + 1, "state": state, "time_ms": time_ms, **more}

    def take(self, step: JsonObject) -> None:
        """This step is on disk."""
        self.step, self.state, self.last = int(step["step"]), str(step["state"]), step

    def to_json(self) -> JsonObject:
        asked = {"key": self.key, "name": self.name, "arguments": self.arguments, "deadline_ms": self.deadline_ms}
        return {"command": asked, "step": self.last}

    @classmethod
    def from_json(cls, kept: JsonObject) -> InboxEntry:
        """Read what `to_json` made. CorruptError for anything else."""
        try:
            entry = parse_command(json.dumps(kept["command"]).encode())
            if kept["step"]:
                entry.take(kept["step"])
        except (KeyError, TypeError, ValueError, JunkError) as error:
            raise CorruptError(f"not a command of the inbox: {error}") from None
        return entry


def parse_command(payload: bytes) -> InboxEntry:
    """Read a command as the hub sends it (docs/protocol.md, commands). JunkError when it is none."""
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise JunkError(f"a command is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise JunkError(f"a command must be one JSON object, not {payload[:60]!r}")
    key, name = document.get("key"), document.get("name")
    arguments, deadline_ms = document.get("arguments", {}), document.get("deadline_ms")
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_LENGTH_MAX:
        raise JunkError(f"a command's key must be text of 1 to {_KEY_LENGTH_MAX} characters, not {key!r:.80}")
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_LENGTH_MAX:
        raise JunkError(f"command {key}: name must be text of 1 to {_NAME_LENGTH_MAX} characters, not {name!r:.80}")
    if not isinstance(arguments, dict):
        raise JunkError(f"command {key}: arguments must be an object, not {arguments!r:.80}")
    if not isinstance(deadline_ms, int) or isinstance(deadline_ms, bool):
        raise JunkError(f"command {key}: deadline_ms must be a whole number, not {deadline_ms!r:.80}")
    return InboxEntry(key, name, arguments, deadline_ms)
