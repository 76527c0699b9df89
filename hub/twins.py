"""Twins: the settings that somebody wants a device to have, and those that it says it has. A projection of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hub.events import DesiredEvent, Event, ReportedEvent
from streams import names

TRYING = "trying"


@dataclass(slots=True)
class Twin:
    """One device's. Desired settings are a JSON merge patch over what the device has of its own."""

    device: str
    version: int = 0
    """Of what is desired; it grows by one with each change."""
    desired: Mapping[str, Any] = field(default_factory=dict)
    desired_ms: int | None = None
    reported_version: int | None = None
    """The desired version that the device spoke of last; None: it never did."""
    outcome: str | None = None
    error: str | None = None
    reported: Mapping[str, Any] = field(default_factory=dict)
    reported_ms: int | None = None

    @property
    def settled(self) -> bool:
        """Whether the device has said what became of what is desired now."""
        return self.reported_version == self.version and self.outcome != TRYING

    def to_json(self) -> dict[str, Any]:
        """The twin as the control API shows it."""
        desired = {"version": self.version, "settings": self.desired, "time_ms": self.desired_ms}
        reported = {
            "version": self.reported_version,
            "outcome": self.outcome,
            "error": self.error,
            "settings": self.reported,
            "time_ms": self.reported_ms,
        }
        told = self.reported_version is not None
        return {
            "device": self.device,
            "settled": self.settled,
            "desired": desired,
            "reported": reported if told else None,
        }


class Twins:
    """Every twin that anybody spoke of."""

    name = "twins"
    streams = (names.DEVICES,)

    def __init__(self) -> None:
        self._twins: dict[str, Twin] = {}

    def fold(self, event: Event) -> None:
        """Take the next event of the log."""
        match event:
            case DesiredEvent():
                twin = self._twin(event.device)
                twin.version, twin.desired, twin.desired_ms = event.version, event.settings, event.time_ms
            case ReportedEvent():
                twin = self._twin(event.device)
                twin.reported_version, twin.outcome, twin.error = event.version, event.outcome, event.error
                twin.reported, twin.reported_ms = event.settings, event.time_ms

    def get(self, device: str) -> Twin:
        """The twin of a device; an empty one when nobody spoke of it."""
        return self._twins.get(device) or Twin(device)

    def snapshot(self) -> dict[str, Any]:
        """The state, as JSON: `restore` makes equal twins of it."""
        return {"twins": [asdict(twin) for twin in self._twins.values()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a snapshot in place of what is there. KeyError or TypeError when it cannot be one."""
        twins = [Twin(**each) for each in state["twins"]]
        self._twins = {twin.device: twin for twin in twins}

    def _twin(self, device: str) -> Twin:
        return self._twins.setdefault(device, Twin(device))
