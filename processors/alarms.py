"""Alarms: what opens one, what closes it, and what it says. Pure.

When an alarm opens and closes is decided reading by reading in detectors/bank_compiled.py; here transitions become
alarms with their evidence.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from processors.detectors.detector import Detector
from processors.manifests import SeriesInfo
from processors.rows import Rows


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
    """When it opened; the largest of all once it is closed."""
    value: float
    message: str
    parameters: Mapping[str, float]
    evidence: Mapping[str, int]

    @property
    def state(self) -> str:
        return "open" if self.closed_ns is None else "closed"

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"state": self.state}


class Transition(NamedTuple):
    """What the bank saw: the alarm of a series opens or closes at a reading."""

    row: int
    """Which reading, in the rows that the bank was fed."""
    series: int
    opens: bool
    strength: float
    """The largest since the alarm opened."""
    usual: float
    spread: float


class Alarms:
    """The open alarms."""

    def __init__(self, parameters: Mapping[str, float]) -> None:
        self._parameters = dict(parameters)
        self._open: dict[tuple[str, int], Alarm] = {}

    def restore(self, series: int, alarm: Alarm) -> None:
        self._open[alarm.detector, series] = alarm

    def apply(self, transition: Transition, rows: Rows, info: SeriesInfo, detector: Detector) -> Alarm:
        """The alarm that opened or closed."""
        key, row = (detector.name, transition.series), transition.row
        time_ns, value = int(rows.time_ns[row]), float(rows.value[row])
        if not transition.opens:
            alarm = self._open.pop(key)
            return dataclasses.replace(alarm, closed_ns=time_ns, strength=max(alarm.strength, transition.strength))
        names = ("epoch", "sequence", "partition", "offset")
        evidence = {name: int(getattr(rows, name)[row]) for name in names}
        said = detector.says(value, transition.usual, transition.spread, info)
        alarm = self._open[key] = Alarm(
            id=f"{info.device}/{info.metric}/{detector.name}/{evidence['epoch']}/{evidence['sequence']}",
            device=info.device,
            metric=info.metric,
            detector=detector.name,
            version=detector.version,
            kind=detector.kind,
            opened_ns=time_ns,
            strength=transition.strength,
            value=value,
            message=f"{info.metric} of {info.device} {said}",
            parameters=self._parameters,
            evidence=evidence,
        )
        return alarm


def alarm_from_json(text: str) -> Alarm:
    """An alarm as the store keeps it."""
    fields = json.loads(text)
    fields.pop("state", None)
    return Alarm(**fields)
