"""Lines as they are appended to a file: through rotation and truncation, waiting rather than losing any."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import BinaryIO

from edge.inlet import Inlet
from edge.sensors.lines import LineSplitter, TextOptions, TextReader
from edge.sensors.sensor import SensorContext, SensorFailedError, Series
from streams.errors import JunkError
from streams.settings import setting

_LOOK_S = 0.25
_READ_BYTES = 65536


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TailOptions(TextOptions):
    """Which file, and how to read its lines."""

    path: str = setting(doc="The file; it may come later, and be renamed or cut while it is followed.")
    from_start: bool = setting(False, "Read also what is in the file when the agent starts.")
    silence_s_max: float = setting(0.0, "A series without a value for so long is BAD; 0: never.", minimum=0)


class TailSensor:
    """Follows the file by name. A line counts once its end of line is there."""

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(TailOptions)
        self._reader = TextReader(self._options)
        self.name = context.name
        self.silence_s_max = self._options.silence_s_max
        self._file: BinaryIO | None = None
        self._lines = LineSplitter()
        self._skip_to_end = not self._options.from_start

    def open(self) -> Sequence[Series]:
        return [each.declare(None) for each in self._options.series]

    def run(self, inlet: Inlet) -> None:
        while not inlet.stopping:
            if self._file is None:
                self._file = self._opened()
            if not self._read(self._file, inlet) and not self._moved_on(self._file):
                inlet.wait(_LOOK_S)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> BinaryIO:
        try:
            file = open(self._options.path, "rb", buffering=0)  # noqa: PTH123, SIM115  unbuffered, kept open
        except OSError as error:
            self._skip_to_end = False  # what comes later is new, all of it
            raise SensorFailedError(f"{self._options.path} cannot be read: {error.strerror}") from None
        cut = False
        if self._skip_to_end and (end := file.seek(0, os.SEEK_END)) > 0:
            file.seek(end - 1)
            cut = file.read(1) not in (b"\n", b"")
        self._skip_to_end = False
        self._lines = LineSplitter(skip_first=cut)
        return file

    def _read(self, file: BinaryIO, inlet: Inlet) -> bool:
        """Take what is there, up to a bound; returns whether there was anything."""
        if os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)
            self._lines = LineSplitter()
        data = file.read(_READ_BYTES)
        for line in self._lines.feed(data):
            if line is None:
                inlet.not_understood("", "a line is too long")
                continue
            try:
                values = self._reader.read(line)
            except JunkError as error:
                inlet.not_understood(line, str(error))
                continue
            if not inlet.put_when_room(values):
                return False
        return bool(data)

    def _moved_on(self, file: BinaryIO) -> bool:
        """Whether another file has the name now; then the one that was read to its end is let go of."""
        try:
            there = os.stat(self._options.path)  # noqa: PTH116
        except FileNotFoundError:
            return False  # renamed, and the new one is not made yet: what is still written to this one is read
        here = os.fstat(file.fileno())
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            return False
        if file.tell() < here.st_size:
            return True  # written to between reading and looking: read on before letting go
        self.close()
        return True
