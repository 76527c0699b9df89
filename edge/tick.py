"""A tick: what one sensor gave at one moment, and how it is written into the journal."""

from __future__ import annotations

import dataclasses
import struct

from edge.sensors.sensor import Value
from streams.errors import CorruptError

_HEAD = struct.Struct("<qH")  # time, readings
_SERIES = struct.Struct("<HBB")  # series, quality, how the value is written
_FLOAT, _INT, _BOOL, _TEXT = range(4)


@dataclasses.dataclass(frozen=True, slots=True)
class Tick:
    """Readings that share a time. `series`, `values` and `qualities` go together."""

    time_ns: int
    series: tuple[int, ...]
    values: tuple[Value, ...]
    qualities: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many readings it holds."""
        return len(self.series)

    @property
    def weight(self) -> int:
        """About how many bytes it takes in a frame, at worst."""
        return sum(_weight(value) for value in self.values)

    def split(self, weight_max: int) -> list[Tick]:
        """The same readings as ticks of at most `weight_max` each (a single reading may weigh more)."""
        parts: list[Tick] = []
        start = weight = 0
        for at, value in enumerate(self.values):
            more = _weight(value)
            if weight + more > weight_max and at > start:
                parts.append(self._part(start, at))
                start, weight = at, 0
            weight += more
        return [*parts, self._part(start, self.count)] if parts else [self]

    def _part(self, start: int, stop: int) -> Tick:
        return Tick(self.time_ns, self.series[start:stop], self.values[start:stop], self.qualities[start:stop])


def _weight(value: Value) -> int:
    return 24 + len(value) * 4 if isinstance(value, str) else 24


def encode_tick(tick: Tick) -> bytes:
    """The tick as bytes, for the journal."""
    parts = [_HEAD.pack(tick.time_ns, tick.count)]
    for series, value, quality in zip(tick.series, tick.values, tick.qualities):
        if isinstance(value, bool):
            parts.append(struct.pack("<HBB?", series, quality, _BOOL, value))
        elif isinstance(value, int):
            parts.append(struct.pack("<HBBq", series, quality, _INT, value))
        elif isinstance(value, float):
            parts.append(struct.pack("<HBBd", series, quality, _FLOAT, value))
        else:
            text = value.encode("utf-8", "surrogatepass")
            parts.append(struct.pack("<HBBI", series, quality, _TEXT, len(text)) + text)
    return b"".join(parts)


def decode_tick(data: bytes | memoryview) -> Tick:
    """Read what `encode_tick` wrote. CorruptError for anything else."""
    try:
        tick, size = _decode(memoryview(data))
    except (struct.error, UnicodeDecodeError, KeyError) as error:
        raise CorruptError(f"not a tick of the journal ({len(data)} bytes): {error}") from None
    if size != len(data):
        raise CorruptError(f"a tick of the journal has {len(data) - size} bytes too many")
    return tick


def _decode(data: memoryview) -> tuple[Tick, int]:
    time_ns, count = _HEAD.unpack_from(data)
    at = _HEAD.size
    series, values, qualities = [], [], []
    for _ in range(count):
        number, quality, form = _SERIES.unpack_from(data, at)
        value, at = _decode_value(data, at + _SERIES.size, form)
        series.append(number)
        values.append(value)
        qualities.append(quality)
    return Tick(time_ns, tuple(series), tuple(values), tuple(qualities)), at


def _decode_value(data: memoryview, at: int, form: int) -> tuple[Value, int]:
    if form == _TEXT:
        (size,) = struct.unpack_from("<I", data, at)
        text = bytes(data[at + 4 : at + 4 + size])
        if len(text) != size:
            raise struct.error("text is cut off")
        return text.decode("utf-8", "surrogatepass"), at + 4 + size
    layout = {_FLOAT: "<d", _INT: "<q", _BOOL: "<?"}[form]
    (value,) = struct.unpack_from(layout, data, at)
    return value, at + struct.calcsize(layout)
