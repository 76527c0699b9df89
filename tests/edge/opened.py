"""Sensors as a test opens them: read once, or run in a thread beside the test."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edge.inlet import Inlet
from edge.sensors.registry import constructor
from edge.sensors.sensor import AnySensor, Given, SensorContext, is_pushed, is_sampled
from streams.clock import SystemClock

TIMEOUT_S = 20.0


def make(kind: str, *, timeout_s: float = 5.0, interval_s: float = 1.0, **options: Any) -> AnySensor:
    return constructor(kind)(SensorContext(kind=kind, interval_s=interval_s, timeout_s=timeout_s, options=options))


def read(sensor: AnySensor) -> Sequence[Given]:
    """Open it, read it once, close it."""
    assert is_sampled(sensor)
    sensor.open()
    try:
        return sensor.read(0)
    finally:
        sensor.close()


class Heard:
    """What a pushed sensor has said so far: (name, value), in order."""

    def __init__(self, inlet: Inlet, names: list[str]) -> None:
        self.inlet = inlet
        self._names = names
        self._all: list[tuple[str, Given]] = []
        self.times_ns: list[int] = []
        self.failure: BaseException | None = None

    def all(self) -> list[tuple[str, Given]]:
        for pushed in self.inlet.take(self.inlet.waiting):
            self._all += [(self._names[place], value) for place, value in pushed.given]
            self.times_ns.append(pushed.time_ns)
        return self._all

    def until(self, condition: Callable[[list[tuple[str, Given]]], bool]) -> list[tuple[str, Given]]:
        """Wait for what has been said to be so."""
        deadline = time.monotonic() + TIMEOUT_S
        while not condition(self.all()):
            assert self.failure is None, repr(self.failure)
            assert time.monotonic() < deadline, f"heard only {self._all}"
            time.sleep(0.005)
        return self._all

    def values(self, count: int) -> list[Given]:
        """The first `count` values, of whatever series."""
        return [value for _, value in self.until(lambda heard: len(heard) >= count)[:count]]


@contextlib.contextmanager
def running(sensor: AnySensor, *, ticks_max: int = 1000) -> Iterator[Heard]:
    """The sensor runs in a thread and has stopped when this ends; what it raises is kept in `failure`."""
    assert is_pushed(sensor)
    names = [each.name for each in sensor.open()]
    inlet = Inlet(sensor.name, names, ticks_max=ticks_max, clock=SystemClock(), wake=lambda: None)
    heard = Heard(inlet, names)

    def run() -> None:
        try:
            sensor.run(inlet)
        except Exception as error:
            heard.failure = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        inlet.stop()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive(), "it does not stop"
        sensor.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
