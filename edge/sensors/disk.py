"""Space on file systems in bytes (statvfs(3)). A network file system may make this wait, so it has its own thread."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge.sensors.sensor import SensorAbsentError, SensorContext, Series, Value, series_name


class DiskSensor:
    """Asks the file systems that hold `paths` (an option; the root directory unless told)."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        context.check_options("paths")
        self.name = "disk"
        self.interval_s = context.interval_s
        self._paths = [Path(each) for each in context.texts("paths", ("/",))]

    def open(self) -> Sequence[Series]:
        missing = [str(path) for path in self._paths if not path.exists()]
        if missing or not self._paths:
            raise SensorAbsentError(f"there is no {', '.join(missing) or 'path to look at'}")
        found: list[Series] = []
        for path in self._paths:
            status = os.statvfs(path)
            total = status.f_blocks * status.f_frsize
            where = "root" if path == Path("/") else str(path).strip("/").replace("/", "_")
            found.append(self._series(series_name("disk", where, "used"), total, f"used on {path}"))
            found.append(self._series(series_name("disk", where, "available"), total, f"free for users on {path}"))
        return found

    def read(self, time_ns: int) -> Sequence[Value | None]:
        values: list[Value | None] = []
        for path in self._paths:
            status = os.statvfs(path)
            values.append((status.f_blocks - status.f_bfree) * status.f_frsize)
            values.append(status.f_bavail * status.f_frsize)
        return values

    def close(self) -> None:
        pass

    def _series(self, name: str, maximum: int, description: str) -> Series:
        return Series(
            name=name,
            unit="B",
            type="int64",
            resolution=512,
            interval_s=self.interval_s,
            minimum=0,
            maximum=maximum,
            description=description,
        )
