"""Where the processors' time goes, as shares of all processors since the last tick (proc(5), stat)."""

from __future__ import annotations

from collections.abc import Sequence

from edge.sensors.sensor import SensorAbsentError, SensorContext, SensorFailedError, Series, Value

_SHARES = {  # series -> the columns of the `cpu` line that make it
    "cpu.user": (0, 1),
    "cpu.system": (2, 5, 6),
    "cpu.idle": (3,),
    "cpu.iowait": (4,),
    "cpu.steal": (7,),
}
_COLUMNS = 8


class CpuSensor:
    """Reads the first line of /proc/stat; the first tick has nothing to compare with and gives no values."""

    may_block = False

    def __init__(self, context: SensorContext) -> None:
        context.check_options()
        self.name = "cpu"
        self.interval_s = context.interval_s
        self._path = context.proc / "stat"
        self._before: list[int] | None = None

    def open(self) -> Sequence[Series]:
        if not self._path.exists():
            raise SensorAbsentError(f"there is no {self._path}")
        self._before = self._ticks()
        return [
            Series(
                name=name,
                unit="%",
                resolution=0.01,
                interval_s=self.interval_s,
                minimum=0,
                maximum=100,
                description=f"share of all processors' time: {name.removeprefix('cpu.')}",
            )
            for name in _SHARES
        ]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        before, now = self._before, self._ticks()
        self._before = now
        # the kernel's iowait may run backwards a little: never show a negative share
        spent = [max(0, new - old) for new, old in zip(now, before or now)]
        total = sum(spent)
        if total == 0:
            return [None] * len(_SHARES)
        return [round(100 * sum(spent[column] for column in columns) / total, 2) for columns in _SHARES.values()]

    def close(self) -> None:
        self._before = None

    def _ticks(self) -> list[int]:
        with self._path.open("rb") as file:
            line = file.readline()
        try:
            ticks = [int(field) for field in line.split()[1 : _COLUMNS + 1]]
        except ValueError:
            ticks = []
        if not line.startswith(b"cpu ") or len(ticks) < 4:
            raise SensorFailedError(f"{self._path} begins with {line[:80]!r}, not with the processors' times")
        return ticks + [0] * (_COLUMNS - len(ticks))
