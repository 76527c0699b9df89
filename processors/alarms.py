"""Alarms: what opens one, what closes it, and what it says. Pure.

When an alarm opens and closes is decided reading by reading in detectors/bank_compiled.py; here transitions become
alarms with their evidence.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from processors.manifests import SeriesInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm. The id says which: a second look at the same readings makes the same one."""

    id: str
    device: str
    metric: str
    detector: str
    version: int
    kind: str
    """"process" or "sensor": what is at fault."""
    opened_ns: int
    closed_ns: int | None = None
    strength: float
    """The largest so far."""
    value: float
    message: str
    parameters: dict[str, float]
    evidence: dict[str, int]

    @property
    def state(self) -> str:
        return "open" if self.closed_ns is None else "closed"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"state": self.state}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What the bank saw: a series crossed a threshold at a reading."""

    detector: str
    version: int
    kind: str
    series: int
    opens: bool
    time_ns: int
    value: float
    strength: float
    usual: float
    spread: float
    epoch: int
    sequence: int
    partition: int
    offset: int


class Alarms:
    """The open alarms."""

    def __init__(self, parameters: dict[str, float]) -> None:
        self._parameters = parameters
        self._open: dict[tuple[str, int], Alarm] = {}

    def restore(self, series: int, alarm: Alarm) -> None:
        self._open[alarm.detector, series] = alarm

    def is_open(self, detector: str, series: int) -> bool:
        return (detector, series) in self._open

    def apply(self, transition: Transition, info: SeriesInfo) -> Alarm | None:
        """The alarm that changed; None when there is nothing to open or close."""
        key = transition.detector, transition.series
        if not transition.opens:
            alarm = self._open.pop(key, None)
            if alarm is None:
                return None
            strength = max(alarm.strength, transition.strength)
            return dataclasses.replace(alarm, closed_ns=transition.time_ns, strength=strength)
        if key in self._open:
            return None
        alarm = self._open[key] = Alarm(
            id=f"{info.device}/{info.metric}/{transition.detector}/{transition.epoch}/{transition.sequence}",
            device=info.device,
            metric=info.metric,
            detector=transition.detector,
            version=transition.version,
            kind=transition.kind,
            opened_ns=transition.time_ns,
            strength=transition.strength,
            value=transition.value,
            message=message(transition, info),
            parameters=dict(self._parameters),
            evidence={
                "epoch": transition.epoch,
                "sequence": transition.sequence,
                "partition": transition.partition,
                "offset": transition.offset,
            },
        )
        return alarm


def message(transition: Transition, info: SeriesInfo) -> str:
    """The sentence that a person reads."""
    unit = f" {info.unit}" if info.unit and info.unit != "1" else ""
    what = f"{info.metric} of {info.device}"
    value = _short(transition.value)
    if transition.detector == "stuck":
        habit = f"{transition.usual:.0f} equal readings, at most {transition.spread:.0f} before"
        return f"{what} is stuck at {value}{unit}: {habit}"
    if info.maximum is not None and transition.value > info.maximum:
        return f"{what} is above its limit: {value}{unit}, at most {_short(info.maximum)}"
    if info.minimum is not None and transition.value < info.minimum:
        return f"{what} is below its limit: {value}{unit}, at least {_short(info.minimum)}"
    return (
        f"{what} left its usual level: {value}{unit}, usually {_short(transition.usual)} ± {_short(transition.spread)}"
    )


def alarm_from_json(text: str) -> Alarm:
    """An alarm as the store keeps it."""
    fields = json.loads(text)
    fields.pop("state", None)
    return Alarm(**fields)


def _short(value: float) -> str:
    return f"{value:.4g}"
