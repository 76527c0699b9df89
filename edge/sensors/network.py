"""Traffic of the network interfaces: counters since boot (proc_net(5), dev)."""

from __future__ import annotations

from collections.abc import Sequence

from edge.sensors.sensor import SensorAbsentError, SensorContext, Series, Value, series_name

_COUNTERS = {  # series -> column after the interface's name, unit
    "rx_bytes": (0, "B"),
    "rx_packets": (1, "1"),
    "rx_errors": (2, "1"),
    "tx_bytes": (8, "B"),
    "tx_packets": (9, "1"),
    "tx_errors": (10, "1"),
}


class NetworkSensor:
    """Reads /proc/net/dev for `interfaces` (an option; all but the loopback unless told)."""

    may_block = False

    def __init__(self, context: SensorContext) -> None:
        context.check_options("interfaces")
        self.name = "network"
        self.interval_s = context.interval_s
        self._path = context.proc / "net" / "dev"
        self._wanted = context.texts("interfaces")
        self._interfaces: list[str] = []

    def open(self) -> Sequence[Series]:
        if not self._path.exists():
            raise SensorAbsentError(f"there is no {self._path}")
        there = self._counters()
        missing = [name for name in self._wanted if name not in there]
        if missing:
            raise SensorAbsentError(f"there is no network interface {', '.join(missing)}; there are {', '.join(there)}")
        self._interfaces = list(self._wanted) or [name for name in there if name != "lo"]
        if not self._interfaces:
            raise SensorAbsentError("there is no network interface but the loopback")
        return [
            Series(
                name=series_name("network", interface, counter),
                unit=unit,
                type="int64",
                resolution=1,
                interval_s=self.interval_s,
                minimum=0,
                description=f"{counter} of {interface} since boot",
            )
            for interface in self._interfaces
            for counter, (_, unit) in _COUNTERS.items()
        ]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        there = self._counters()
        nothing: list[Value | None] = [None] * len(_COUNTERS)
        values: list[Value | None] = []
        for interface in self._interfaces:  # one that was pulled out has no values until it is back
            values += there.get(interface, nothing)
        return values

    def close(self) -> None:
        self._interfaces = []

    def _counters(self) -> dict[str, list[Value | None]]:
        found: dict[str, list[Value | None]] = {}
        for line in self._path.read_text("utf-8").splitlines()[2:]:
            name, _, rest = line.rpartition(":")
            fields = rest.split()
            if len(fields) >= 16:
                found[name.strip()] = [int(fields[column]) for column, _ in _COUNTERS.values()]
        return found
