"""How well alarms match the labels: recall, delay, false alarms.

An alarm is explained by a fault of its series that it opened in, or less than the grace after (the end of a fault is a
change too). What no fault explains is a false alarm. A fault is found when it explains at least one alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from simulators.label import Fault, Label

_WEEK_S = 7 * 86_400.0

# What a detector should call each fault: a change of the process, or a sensor that misbehaves.
EXPECTED_KIND: dict[Fault, str] = {
    "level_shift": "process",
    "drift": "sensor",
    "stuck": "sensor",
    "spike": "sensor",
    "noise": "sensor",
    "dropout": "sensor",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KindScore:
    """The faults of one kind."""

    faults: int
    found: int
    delays_s: tuple[float, ...]  # of the first alarm of each fault found, sorted

    @property
    def recall(self) -> float:
        """The part of the faults that were found; 1.0 when there were none."""
        return self.found / self.faults if self.faults else 1.0

    @property
    def delay_s(self) -> float | None:
        """The median delay of those found."""
        return median(self.delays_s) if self.delays_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The result of a comparison."""

    total: KindScore
    kinds: Mapping[Fault, KindScore]
    alarms: int
    false_alarms: int
    kind_right: int  # explained alarms that told sensor from process as EXPECTED_KIND has it
    false: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def explained(self) -> int:
        return self.alarms - self.false_alarms

    @property
    def precision(self) -> float:
        """The part of the alarms that a fault explains; 1.0 when there were none."""
        return self.explained / self.alarms if self.alarms else 1.0

    def false_alarms_per_week(self, *, series: int, watched_s: float) -> float:
        """False alarms for each series and week, when `series` were watched for `watched_s` seconds."""
        return self.false_alarms / (series * watched_s / _WEEK_S)


def score(labels: Iterable[Label], alarms: Iterable[Mapping[str, Any]], *, grace_s: float = 60.0) -> Score:
    """Compare labels with alarms (as `GET /alarms` gives them: docs/architecture.md). Neither is changed."""
    by_series: dict[tuple[str, str], list[Label]] = {}
    for label in sorted(labels):
        by_series.setdefault((label.device, label.series), []).append(label)
    delays: dict[Label, float] = {}
    false: list[Mapping[str, Any]] = []
    count = kind_right = 0
    for alarm in alarms:
        count += 1
        opened_ns = int(alarm["opened_ns"])
        cause = _explanation(by_series.get((alarm["device"], alarm["metric"]), ()), opened_ns, round(grace_s * 1e9))
        if cause is None:
            false.append(alarm)
            continue
        kind_right += alarm.get("kind") == EXPECTED_KIND[cause.kind]
        delay_s = (opened_ns - cause.start_ns) / 1e9
        delays[cause] = min(delay_s, delays.get(cause, delay_s))
    every = [label for each in by_series.values() for label in each]
    kinds = {kind: _kind_score([x for x in every if x.kind == kind], delays) for kind in EXPECTED_KIND}
    return Score(
        total=_kind_score(every, delays),
        kinds={kind: result for kind, result in kinds.items() if result.faults},
        alarms=count,
        false_alarms=len(false),
        kind_right=kind_right,
        false=tuple(false),
    )


def _explanation(labels: Sequence[Label], opened_ns: int, grace_ns: int) -> Label | None:
    """The latest fault that explains an alarm of its series."""
    for label in reversed(labels):
        if label.start_ns <= opened_ns < label.end_ns + grace_ns:
            return label
    return None


def _kind_score(labels: Sequence[Label], delays: Mapping[Label, float]) -> KindScore:
    found = [label for label in labels if label in delays]
    return KindScore(faults=len(labels), found=len(found), delays_s=tuple(sorted(delays[label] for label in found)))
