"""Pushed sensors that do as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edge.inlet import Inlet
from edge.sensors.sensor import Series

Act = Callable[[Inlet], None]


class ScriptedPush:
    """Each `run` does the next of `acts` (the last one for ever)."""

    def __init__(self, name: str, *acts: Act, series: int = 1, silence_s_max: float = 0.0) -> None:
        self.name = name
        self.silence_s_max = silence_s_max
        self.closed = threading.Event()
        self.runs = 0
        self._acts = list(acts)
        self._count = series

    def open(self) -> Sequence[Series]:
        return [Series(name=f"{self.name}.{number}") for number in range(self._count)]

    def run(self, inlet: Inlet) -> None:
        self.runs += 1
        act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        act(inlet)

    def close(self) -> None:
        self.closed.set()


def wait(inlet: Inlet) -> None:
    inlet.wait(60)


def say(*values: float, series: str = "p.0", then: Act = wait) -> Act:
    """Put values one after the other, then go on with `then`."""

    def act(inlet: Inlet) -> None:
        for value in values:
            inlet.put({series: value})
        then(inlet)

    return act


def fail(error: Exception) -> Act:
    def act(inlet: Inlet) -> None:
        raise error

    return act
