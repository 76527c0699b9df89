"""Consumer groups: how far each group has read, by name, durable."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from streams.errors import CorruptError, MisuseError
from streams.files import Files

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}")


class GroupOffsets:
    """The committed offsets of one group. One process at a time commits for a group."""

    def __init__(self, directory: Path, group: str, *, files: Files) -> None:
        if not _NAME.fullmatch(group):
            raise MisuseError(f"{group!r} is not a group name: use letters, digits, '.', '_' and '-'")
        self._path = directory / ".groups" / f"{group}.json"
        self._files = files
        self._offsets = self._load()

    def committed(self, stream: str, partition: int = 0) -> int | None:
        """The next offset to read; None when the group never committed one."""
        return self._offsets.get(f"{stream}/{partition}")

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Remember the next offsets to read; durable when this returns."""
        merged = self._offsets | {f"{stream}/{partition}": offset for (stream, partition), offset in offsets.items()}
        self._files.make_directory(self._path.parent)
        self._files.replace(self._path, json.dumps(merged, sort_keys=True).encode())
        self._offsets = merged

    def _load(self) -> dict[str, int]:
        try:
            file = self._files.open(self._path)
        except FileNotFoundError:
            return {}
        try:
            found = json.loads(file.read(0, file.size()))
            return {str(name): int(offset) for name, offset in found.items()}
        except (ValueError, AttributeError) as error:
            raise CorruptError(f"{self._path} is damaged: {error}; remove it and the group begins anew") from None
        finally:
            file.close()
