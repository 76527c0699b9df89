"""System load: the mean number of processes that want to run, over 1, 5 and 15 minutes (proc(5), loadavg)."""

from __future__ import annotations

from collections.abc import Sequence

from edge.sensors.sensor import SensorAbsentError, SensorContext, SensorFailedError, Series, Value

_WINDOWS = ("1m", "5m", "15m")


class LoadSensor:
    """Reads /proc/loadavg."""

    may_block = False

    def __init__(self, context: SensorContext) -> None:
        context.check_options()
        self.name = "load"
        self.interval_s = context.interval_s
        self._path = context.proc / "loadavg"

    def open(self) -> Sequence[Series]:
        if not self._path.exists():
            raise SensorAbsentError(f"there is no {self._path}")
        return [
            Series(
                name=f"load.{window}",
                resolution=0.01,
                interval_s=self.interval_s,
                minimum=0,
                description=f"processes that want to run, mean of {window}",
            )
            for window in _WINDOWS
        ]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        text = self._path.read_text("ascii")
        try:
            return [float(field) for field in text.split()[: len(_WINDOWS)]]
        except ValueError:
            raise SensorFailedError(f"{self._path} holds {text[:80]!r}, not three numbers") from None

    def close(self) -> None:
        pass
