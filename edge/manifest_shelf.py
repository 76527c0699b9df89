"""Manifests that frames in the spool still name, one a file: after a change of sensors old frames need the old one."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Collection
from pathlib import Path

from streams.files import Files

_log = logging.getLogger(__name__)

_BYTES_MAX = 1 << 20


class ManifestShelf:
    """Manifests by their number, the CRC-32 of their payload. Blocks on the disk."""

    def __init__(self, directory: Path, *, files: Files) -> None:
        self._directory = directory
        self._files = files

    def keep(self, payload: bytes) -> int:
        """Keep a manifest durably; returns its number. OSError if the disk refuses."""
        number = zlib.crc32(payload)
        if self.get(number) is None:
            self._files.make_directory(self._directory)
            self._files.replace(self._path(number), payload)
        return number

    def get(self, number: int) -> bytes | None:
        """The payload of a manifest; None when it is not there or damaged."""
        try:
            file = self._files.open(self._path(number))
        except FileNotFoundError:
            return None
        try:
            payload = file.read(0, _BYTES_MAX + 1)
        finally:
            file.close()
        if zlib.crc32(payload) != number:
            _log.error("%s is damaged; frames that need it wait at the hub", self._path(number))
            return None
        return payload

    def prune(self, wanted: Collection[int]) -> None:
        """Remove the manifests that no frame names any more."""
        names = {self._path(number).name for number in wanted}
        for name in self._files.listing(self._directory):
            if name not in names:
                self._files.remove(self._directory / name)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:08x}.json"
