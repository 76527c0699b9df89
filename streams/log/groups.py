"""Consumer groups: how far each group has read, by name, durable."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from streams.errors import CorruptError, MisuseError
from streams.files import Files
from streams.log.reader import StreamReader

_FOLDER = ".groups"
_SUFFIX = ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}")


class Lag(NamedTuple):
    """How far a group is behind in one partition."""

    group: str
    stream: str
    partition: int
    offset: int
    """The next one that it reads."""
    end: int
    """The first one that is not on disk yet."""
    lag: int


def lags(directory: Path, *, files: Files) -> list[Lag]:
    """How far every group of a log is behind, by name, stream and partition. CorruptError: its file is damaged."""
    found: list[Lag] = []
    for name in files.listing(directory / _FOLDER):
        group, suffix = name[: -len(_SUFFIX)], name[-len(_SUFFIX) :]
        if suffix == _SUFFIX and _NAME.fullmatch(group):
            found += GroupOffsets(directory, group, files=files).lags()
    return found


class GroupOffsets:
    """The committed offsets of one group. One process at a time commits for a group."""

    def __init__(self, directory: Path, group: str, *, files: Files) -> None:
        if not _NAME.fullmatch(group):
            raise MisuseError(f"{group!r} is not a group name: use letters, digits, '.', '_' and '-'")
        self._directory = directory
        self._group = group
        self._path = directory / _FOLDER / f"{group}{_SUFFIX}"
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

    def lags(self) -> list[Lag]:
        """How far the group is behind wherever it committed an offset."""
        found: list[Lag] = []
        for place, offset in sorted(self._offsets.items()):
            stream, _, partition = place.rpartition("/")
            with closing(StreamReader(self._directory, stream, int(partition), files=self._files)) as reader:
                end = reader.end
            found.append(Lag(self._group, stream, int(partition), offset, end, max(0, end - offset)))
        return found

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
