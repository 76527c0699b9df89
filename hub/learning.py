"""What a device that sends no manifest measures: series learnt from its readings, and the manifest made of them.

The manifest is all that is kept: it goes to the stream `devices` like those that devices send, and is learnt from again
after a restart, so that a series keeps its number and name for good.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hub.manifest import MANIFEST_BYTES_MAX, SERIES_MAX
from hub.payloads import Reading
from streams.errors import JunkError

MARK = "translated"
"""The key in the manifest's `device` that says who made it."""
NAME_LENGTH_MAX = 128

_DOTTED = re.compile(r"[/:, ]")
_STRANGE = re.compile(r"[^A-Za-z0-9._\-]")

Key = tuple[str, str, str | None]
"""The name as it was sent, type, unit: what tells series apart."""


class Learnt(NamedTuple):
    """One series."""

    number: int
    name: str
    """As far as a manifest's names allow what was sent."""
    kind: str
    unit: str | None
    original: str

    def to_json(self) -> dict[str, Any]:
        declared = {"id": self.number, "name": self.name, "type": self.kind}
        if self.unit is not None:
            declared["unit"] = self.unit
        if self.original != self.name:
            declared["description"] = self.original
        return declared


class Learner:
    """The series of one device."""

    def __init__(self, series_max: int, manifest: Mapping[str, Any] | None = None) -> None:
        """Begin with those of a manifest that a learner made."""
        self._series_max = min(series_max, SERIES_MAX)
        self._series: dict[Key, Learnt] = {}
        self._names: set[str] = set()
        self._payload: bytes | None = None
        self._size = len(_dumped({"series": [], "device": {MARK: True}}))
        for each in (manifest or {}).get("series", ()):
            self._add(
                Learnt(
                    each["id"], each["name"], each["type"], each.get("unit"), each.get("description") or each["name"]
                )
            )

    def learn(self, readings: Sequence[Reading]) -> list[int]:
        """The numbers of the readings' series, which may be new. JunkError when there would be too many: then nothing
        is learnt."""
        known = len(self._series)
        try:
            return [self._number(reading) for reading in readings]
        except JunkError:
            for key in list(self._series)[known:]:
                self._forget(key)
            raise

    def manifest(self) -> bytes:
        """The payload that declares all series."""
        if self._payload is None:
            document = {"series": [each.to_json() for each in self._series.values()], "device": {MARK: True}}
            self._payload = _dumped(document)
        return self._payload

    def manifest_id(self) -> int:
        return zlib.crc32(self.manifest())

    def __len__(self) -> int:
        return len(self._series)

    def _number(self, reading: Reading) -> int:
        key = reading.name, str(reading.kind), reading.unit
        found = self._series.get(key)
        if found is None:
            number = len(self._series)
            found = Learnt(number, self._free_name(reading), str(reading.kind), reading.unit, reading.name)
            if number >= self._series_max or self._size + _size(found) > MANIFEST_BYTES_MAX:
                raise JunkError(
                    f"{reading.name[:80]!r} would be series {number + 1} of this device, which is too many; "
                    f"at most {self._series_max} are learnt (hub.devices.learnt_series_max), in a manifest of "
                    f"{MANIFEST_BYTES_MAX} bytes"
                )
            self._add(found)
        return found.number

    def _add(self, series: Learnt) -> None:
        self._series[series.original, series.kind, series.unit] = series
        self._names.add(series.name)
        self._size += _size(series)
        self._payload = None

    def _forget(self, key: Key) -> None:
        series = self._series.pop(key)
        self._names.discard(series.name)
        self._size -= _size(series)
        self._payload = None

    def _free_name(self, reading: Reading) -> str:
        """Two originals may look alike as names, and one original may have several types or units."""
        plain = _allowed(reading.name)
        attempts = [plain, _shortened(f"{plain}.{_allowed(reading.unit)}")] if reading.unit else [plain]
        attempts.append(_shortened(f"{attempts[-1]}.{reading.kind}"))
        for name in attempts:
            if name not in self._names:
                return name
        number = 2
        while (name := _shortened(f"{plain}-{number}")) in self._names:
            number += 1
        return name


def is_learnt(manifest: Mapping[str, Any]) -> bool:
    """Whether a learner made this manifest."""
    device = manifest.get("device")
    return isinstance(device, Mapping) and device.get(MARK) is True


def _dumped(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _size(series: Learnt) -> int:
    """The bytes that it takes in a manifest, with the comma."""
    return len(_dumped(series.to_json())) + 1


def _allowed(text: str) -> str:
    return _shortened(_STRANGE.sub("_", _DOTTED.sub(".", text)))


def _shortened(name: str) -> str:
    if len(name) <= NAME_LENGTH_MAX:
        return name
    return f"{name[: NAME_LENGTH_MAX - 9]}.{zlib.crc32(name.encode()):08x}"
