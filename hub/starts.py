"""Which agents spoke under one device id: the random ids of their starts, so that two at the same time are noticed.

An agent takes a new id at each start. One that comes back after another has spoken was running all the while.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STARTS_REMEMBERED = 8


@dataclass(slots=True)
class Starts:
    """The last starts of the agents of one device."""

    address: str | None = None
    """Where its present connection comes from."""
    boots: dict[str, str | None] = field(default_factory=dict)
    """The address of each start, the one that spoke last at the end."""
    twin_ms: int | None = None
    """When two agents were last seen to run at the same time."""

    def on_birth(self, boot: str, time_ms: int) -> bool:
        """An agent says that it is there; whether it is one that another had taken the place of."""
        is_twin = boot in self.boots and boot != next(reversed(self.boots))
        self.boots.pop(boot, None)
        self.boots[boot] = self.address
        if len(self.boots) > STARTS_REMEMBERED:
            del self.boots[next(iter(self.boots))]
        if is_twin:
            self.twin_ms = time_ms
        return is_twin

    def where(self) -> str:
        """The addresses of the last two, in words."""
        addresses = [address or "an unknown address" for address in list(self.boots.values())[-2:]]
        return " and ".join(addresses) or self.address or "an unknown address"

    def snapshot(self) -> dict[str, Any]:
        return {"address": self.address, "boots": list(self.boots.items()), "twin_ms": self.twin_ms}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Starts:
        """What `snapshot` made. KeyError, TypeError or ValueError when it cannot be one."""
        return cls(state["address"], dict(state["boots"]), state["twin_ms"])
