"""Sensors that do as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edge.sensors.sensor import Series, Value


class ScriptedSensor:
    """Gives `values` in turn (the last one for ever); an exception among them is raised."""

    def __init__(
        self, name: str, *values: Sequence[Value | None] | Exception, interval_s: float = 1.0, may_block: bool = False
    ) -> None:
        self.name = name
        self.interval_s = interval_s
        self.may_block = may_block
        self.reads: list[int] = []
        self.closed = False
        self._values = list(values) or [[1.0]]

    def open(self) -> Sequence[Series]:
        first = next(values for values in self._values if not isinstance(values, Exception))
        return [Series(name=f"{self.name}.{number}") for number in range(len(first))]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        self.reads.append(time_ns)
        values = self._values.pop(0) if len(self._values) > 1 else self._values[0]
        if isinstance(values, Exception):
            raise values
        return values

    def close(self) -> None:
        self.closed = True


class StuckSensor(ScriptedSensor):
    """Blocks in `read` until it is let go."""

    def __init__(self, name: str = "stuck", *, interval_s: float = 1.0) -> None:
        super().__init__(name, [1.0], interval_s=interval_s, may_block=True)
        self.let_go = threading.Event()

    def read(self, time_ns: int) -> Sequence[Value | None]:
        self.reads.append(time_ns)
        self.let_go.wait(30)
        return [1.0]


class CountingSensor:
    """Its one series counts the ticks; `on_read` is told each value, in the order in which it is handed over."""

    may_block = False

    def __init__(
        self, name: str = "count", *, interval_s: float = 0.01, on_read: Callable[[int], None] | None = None
    ) -> None:
        self.name = name
        self.interval_s = interval_s
        self.count = 0
        self._on_read = on_read

    def open(self) -> Sequence[Series]:
        return [Series(name=f"{self.name}.value", type="int64", resolution=1, interval_s=self.interval_s)]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        value, self.count = self.count, self.count + 1
        if self._on_read is not None:
            self._on_read(value)
        return [value]

    def close(self) -> None:
        pass
