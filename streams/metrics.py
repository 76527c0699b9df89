"""Counters and gauges of one process, shown in Prometheus' text format (exposition format 0.0.4).

One `Metrics` belongs to one process and is passed to who counts. Metrics may be changed from any thread.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows; its name ends in `_total`."""

    kind = "counter"

    def __init__(self) -> None:
        self._value: int | float = 0
        self._ask: Callable[[], int | float] | None = None
        self._lock = threading.Lock()

    def increment(self, by: int | float = 1) -> None:
        """Count `by` more (>= 0)."""
        if by < 0:
            raise ValueError(f"a counter cannot go down (by {by}); use a gauge")
        with self._lock:
            self._value += by

    def follow(self, ask: Callable[[], int | float]) -> None:
        """From now on show what `ask` has counted; it must not block."""
        self._ask = ask

    @property
    def value(self) -> int | float:
        return self._ask() if self._ask is not None else self._value


class Gauge:
    """A number that goes up and down, either set or asked for when it is shown."""

    kind = "gauge"

    def __init__(self) -> None:
        self._value: int | float = 0
        self._ask: Callable[[], int | float] | None = None

    def set(self, value: int | float) -> None:
        self._value = value

    def follow(self, ask: Callable[[], int | float]) -> None:
        """From now on call `ask` whenever the value is shown; it must not block."""
        self._ask = ask

    @property
    def value(self) -> int | float:
        return self._ask() if self._ask is not None else self._value


class _Family:
    """All metrics of one name: they differ in their labels."""

    def __init__(self, name: str, kind: type[Counter] | type[Gauge], help_text: str) -> None:
        self.name = name
        self.kind = kind
        self.help_text = help_text
        self.members: dict[Labels, Counter | Gauge] = {}

    def lines(self) -> list[str]:
        shown = self.help_text.replace("\\", r"\\").replace("\n", r"\n")
        head = [f"# HELP {self.name} {shown}", f"# TYPE {self.name} {self.kind.kind}"]
        members = sorted(self.members.items())
        return head + [f"{self.name}{_braces(labels)} {_number(each.value)}" for labels, each in members]


class Metrics:
    """The metrics of one process, made where they are counted and found again by name and labels."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}
        self._lock = threading.RLock()  # a followed gauge may look up another metric while all are shown

    def counter(self, name: str, help_text: str, /, **labels: str) -> Counter:
        """The counter of this name and these labels; made at the first call. ValueError for a name that cannot be."""
        made = self._member(name, Counter, help_text, labels)
        assert isinstance(made, Counter)
        return made

    def gauge(self, name: str, help_text: str, /, **labels: str) -> Gauge:
        """The gauge of this name and these labels; made at the first call. ValueError for a name that cannot be."""
        made = self._member(name, Gauge, help_text, labels)
        assert isinstance(made, Gauge)
        return made

    def render(self) -> str:
        """Everything in Prometheus' text format, sorted by name; serve it as `CONTENT_TYPE`."""
        with self._lock:
            families = sorted(self._families.values(), key=lambda family: family.name)
            lines = [line for family in families for line in family.lines()]
        return "\n".join(lines) + "\n" if lines else ""

    def _member(
        self, name: str, kind: type[Counter] | type[Gauge], help_text: str, labels: Mapping[str, str]
    ) -> Counter | Gauge:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a metric name: use letters, digits, '_' and ':'")
        for label in labels:
            if not _LABEL.fullmatch(label) or label.startswith("__"):
                raise ValueError(f"{label!r} is not a label of a metric ({name}): use letters, digits and '_'")
        with self._lock:
            family = self._families.setdefault(name, _Family(name, kind, help_text))
            if family.kind is not kind:
                raise ValueError(f"{name} is a {family.kind.kind} already, it cannot be a {kind.kind} too")
            return family.members.setdefault(tuple(sorted(labels.items())), kind())


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: int | float) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "+Inf" if value > 0 else "-Inf"
    return repr(value)
