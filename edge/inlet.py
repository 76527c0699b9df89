"""Where a pushed sensor puts its readings: a bounded queue between its thread and the agent's event loop.

When it is full the oldest give way, and are counted, so that the account can declare them. A source that can wait (a
file) uses `put_when_room` and loses nothing.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from edge.sensors.sensor import Given, SensorFailedError
from streams.clock import Clock

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Pushed:
    """What came at one time: values by the place of their series in what the sensor declared."""

    time_ns: int
    given: tuple[tuple[int, Given], ...]


class Inlet:
    """All methods may be called from any thread. `wake` is told when something has come into an empty queue."""

    def __init__(
        self, sensor: str, series: Sequence[str], *, ticks_max: int, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._sensor = sensor
        self._places = {name: place for place, name in enumerate(series)}
        self._ticks_max = ticks_max
        self._clock = clock
        self._wake = wake
        self._queue: collections.deque[Pushed] = collections.deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._dropped = 0
        self._not_understood = 0

    # -- for the sensor ----------------------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        """Whether `run` is to return."""
        return self._stopping.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is stopping; returns whether it is."""
        return self._stopping.wait(seconds)

    def put(self, values: Mapping[str, Given], time_ns: int | None = None) -> None:
        """Take values by the names of their series. Without a time they get the time of now. Never waits."""
        item = self._item(values, time_ns)
        with self._changed:
            if len(self._queue) >= self._ticks_max:
                self._dropped += len(self._queue.popleft().given)
            self._queue.append(item)
            first = len(self._queue) == 1
        if first:
            self._wake()

    def put_when_room(self, values: Mapping[str, Given], time_ns: int | None = None) -> bool:
        """As `put`, but waits while the queue is full. False: it is stopping, and nothing was taken."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._queue) < self._ticks_max or self.stopping)
            if self.stopping:
                return False
        self.put(values, time_ns)
        return True

    def lost(self, readings: int) -> None:
        """So many readings were lost on their way here, and the source says so; they are declared as dropped."""
        with self._changed:
            self._dropped += readings

    def not_understood(self, what: str, why: str) -> None:
        """Something came that makes no reading. The first is logged, all are counted."""
        with self._changed:
            self._not_understood += 1
            first = self._not_understood == 1
        if first:
            _log.warning(
                "sensor %s got what it does not understand: %s: %.200r; more is only counted", self._sensor, why, what
            )

    # -- for the agent -----------------------------------------------------------------------------------------------

    def take(self, ticks_max: int) -> list[Pushed]:
        """The oldest, at most so many."""
        with self._changed:
            taken = [self._queue.popleft() for _ in range(min(ticks_max, len(self._queue)))]
            self._changed.notify_all()
        return taken

    def take_dropped(self) -> int:
        """Readings dropped since it was last asked."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
        return dropped

    @property
    def not_understood_count(self) -> int:
        return self._not_understood

    @property
    def waiting(self) -> int:
        """Ticks in the queue."""
        return len(self._queue)

    def stop(self) -> None:
        """Tell `run` to return."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _item(self, values: Mapping[str, Given], time_ns: int | None) -> Pushed:
        unknown = [name for name in values if name not in self._places]
        if unknown:
            raise SensorFailedError(f"it gave a value for {unknown[0]!r}, which it has not declared")
        given = tuple((self._places[name], value) for name, value in values.items() if value is not None)
        return Pushed(self._clock.time_ns() if time_ns is None else time_ns, given)
