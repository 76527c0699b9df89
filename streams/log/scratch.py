"""Memory that is used again for each round: fresh memory costs the kernel more than copying into old."""

from __future__ import annotations

from streams.files import Buffer

_BYTES_MAX = 8 << 20


class Scratch:
    """Keeps bytes side by side until `clear`. It grows to what a round needs, up to a bound."""

    def __init__(self) -> None:
        self._memory = memoryview(bytearray())
        self._used = 0
        self._wanted = 0

    def keep(self, data: Buffer) -> Buffer:
        """The same bytes in the scratch memory, or `data` itself when they do not fit."""
        start, end = self._used, self._used + len(data)
        self._wanted += len(data)
        if end > len(self._memory):
            return data
        self._memory[start:end] = data
        self._used = end
        return self._memory[start:end]

    def clear(self) -> None:
        """Nothing of what was kept is needed any more."""
        if len(self._memory) < self._wanted <= _BYTES_MAX:
            self._memory = memoryview(bytearray(self._wanted * 5 // 4))
        self._used = self._wanted = 0
