"""Files that devices sent: which there are is a projection of the log; the bytes stay in the log, until it is full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hub.events import Event, UploadEvent, device_key
from streams import names
from streams.errors import JunkError, MisuseError
from streams.log import DamagedRange
from streams.uploads import Part, join, read_part

KEPT_MAX = 1000


class UnknownUploadError(MisuseError):
    """There is no such file, or not all of it."""


class Reader(Protocol):
    """What is read of the stream (see EventLog.reader)."""

    @property
    def earliest(self) -> int: ...

    @property
    def end(self) -> int: ...

    def read(self, offset: int) -> Any: ...


class Uploads:
    """Every file of which a part came, oldest first."""

    name = "uploads"
    streams = (names.UPLOADS,)

    def __init__(self) -> None:
        self._files: dict[str, dict[str, Any]] = {}

    def fold(self, event: Event) -> None:
        """Take the next event of the log."""
        if not isinstance(event, UploadEvent):
            return
        fresh: dict[str, Any] = {"device": event.device, "key": event.key, "size": event.size, "crc32": event.crc32}
        fresh |= {"parts": event.parts, "have": [], "time_ms": event.time_ms}
        name = f"{event.device}/{event.key}"
        kept = self._files.get(name)
        if kept is None or (kept["size"], kept["crc32"]) != (event.size, event.crc32):
            self._files.pop(name, None)
            kept = self._files[name] = fresh
        if event.part not in kept["have"]:
            kept["have"].append(event.part)
        kept["time_ms"] = event.time_ms
        while len(self._files) > KEPT_MAX:
            del self._files[next(iter(self._files))]

    def of(self, device: str) -> list[dict[str, Any]]:
        """The files of a device, newest first."""
        found = [each for each in reversed(self._files.values()) if each["device"] == device]
        return [{**each, "complete": len(each["have"]) == each["parts"], "have": len(each["have"])} for each in found]

    def snapshot(self) -> dict[str, Any]:
        """The state, as JSON: `restore` makes an equal one of it."""
        return {"files": [{**each, "have": list(each["have"])} for each in self._files.values()]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a snapshot in place of what is there. KeyError or TypeError when it cannot be one."""
        self._files = {f"{each['device']}/{each['key']}": dict(each) for each in state["files"]}


def collect(reader: Reader, device: str, key: str) -> bytes:
    """The bytes of a file, gathered from the log. Blocks. UnknownUploadError when they are not all there."""
    wanted = device_key(device, names.UPLOADS)
    parts: dict[int, Part] = {}
    at = reader.earliest
    while at < reader.end:
        try:
            records = reader.read(at)
        except DamagedRange as damage:
            at = damage.resume
            continue
        for record in records:
            if record.key == wanted:
                try:
                    part = read_part(record.value or b"")
                except JunkError:
                    continue
                if part.key == key:
                    if parts and next(iter(parts.values())).crc32 != part.crc32:
                        parts = {}  # made again under the same key
                    parts[part.part] = part
        at = records[-1].offset + 1
    data = join(parts)
    if data is None:
        raise UnknownUploadError(
            f"there is no file {key[:80]!r} of {device}, or not all of it has come (or it was deleted with the oldest)"
        )
    return data
