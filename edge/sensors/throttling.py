"""Whether a Raspberry Pi holds back, and why: undervoltage, heat (the firmware's get_throttled word).

Source: Raspberry Pi documentation, vcgencmd get_throttled; the kernel's raspberrypi firmware and rpi_volt drivers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.sensors.sensor import SensorAbsentError, SensorContext, SensorFailedError, Series, Value
from edge.sensors.sysfs import text

_BITS = {  # series -> bit of the word: what is now, and what has been since the start
    "undervoltage": 0,
    "frequency_capped": 1,
    "throttled": 2,
    "hot": 3,
    "undervoltage_before": 16,
    "frequency_capped_before": 17,
    "throttled_before": 18,
    "hot_before": 19,
}
_MEANING = {
    "undervoltage": "the supply is below 4.63 V",
    "frequency_capped": "the processor's frequency is limited",
    "throttled": "the processor is throttled",
    "hot": "the soft temperature limit is reached",
}


class ThrottlingSensor:
    """Reads the firmware's word; where the kernel does not show it, the undervoltage alarm of rpi_volt alone."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        context.check_options()
        self.name = context.name
        self.interval_s = context.interval_s
        self._sys = context.sys
        self._word: Path | None = None
        self._alarm: Path | None = None

    def open(self) -> Sequence[Series]:
        self._word = next(iter(sorted(self._sys.glob("devices/platform/soc*/*firmware/get_throttled"))), None)
        if self._word is not None:
            return [self._series(name) for name in _BITS]
        monitors = sorted((self._sys / "class" / "hwmon").glob("hwmon*"))
        volt = [each / "in0_lcrit_alarm" for each in monitors if text(each / "name") == "rpi_volt"]
        if not volt:
            raise SensorAbsentError(f"there is no firmware of a Raspberry Pi under {self._sys}")
        self._alarm = volt[0]
        return [self._series("undervoltage")]

    def read(self, time_ns: int) -> Sequence[Value | None]:
        path = self._word or self._alarm
        found = text(path) if path is not None else None
        try:
            word = int(found or "", 16)
        except ValueError:
            raise SensorFailedError(f"{path} holds {found!r}, not a number") from None
        bits = _BITS.values() if self._word is not None else (0,)
        return [bool(word >> bit & 1) for bit in bits]

    def close(self) -> None:
        self._word = self._alarm = None

    def _series(self, name: str) -> Series:
        now = name.removesuffix("_before")
        when = "" if name == now else ", at some time since the start"
        return Series(
            name=f"throttling.{name}",
            type="bool",
            interval_s=self.interval_s,
            description=_MEANING[now] + when,
        )
