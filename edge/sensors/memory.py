"""Memory of the machine in bytes (proc(5), meminfo)."""

from __future__ import annotations

from collections.abc import Sequence

from edge.sensors.sensor import SensorAbsentError, SensorContext, SensorFailedError, Series, Value

_KIB = 1024


class MemorySensor:
    """Reads /proc/meminfo: used is what a new program could not get."""

    may_block = False

    def __init__(self, context: SensorContext) -> None:
        context.check_options()
        self.name = "memory"
        self.interval_s = context.interval_s
        self._path = context.proc / "meminfo"

    def open(self) -> Sequence[Series]:
        if not self._path.exists():
            raise SensorAbsentError(f"there is no {self._path}")
        sizes = self._sizes()
        return [
            self._series("memory.used", sizes["MemTotal"], "in use by programs and the kernel"),
            self._series("memory.available", sizes["MemTotal"], "free, or can be freed at once"),
            self._series("memory.swap_used", sizes["SwapTotal"], "moved out to swap"),
        ]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        sizes = self._sizes()
        return [
            sizes["MemTotal"] - sizes["MemAvailable"],
            sizes["MemAvailable"],
            sizes["SwapTotal"] - sizes["SwapFree"],
        ]

    def close(self) -> None:
        pass

    def _series(self, name: str, maximum: int, description: str) -> Series:
        return Series(
            name=name,
            unit="B",
            type="int64",
            resolution=_KIB,
            interval_s=self.interval_s,
            minimum=0,
            maximum=maximum,
            description=description,
        )

    def _sizes(self) -> dict[str, int]:
        sizes = {"SwapTotal": 0, "SwapFree": 0}
        with self._path.open("rb") as file:
            for line in file:
                name, _, rest = line.partition(b":")
                if name in (b"MemTotal", b"MemAvailable", b"SwapTotal", b"SwapFree"):
                    sizes[name.decode()] = int(rest.split()[0]) * _KIB
        if "MemTotal" not in sizes or "MemAvailable" not in sizes:
            raise SensorFailedError(f"{self._path} does not tell MemTotal and MemAvailable")
        return sizes
