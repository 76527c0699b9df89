"""Keys for commands: ULIDs (github.com/ulid/spec), which sort by the time they were made."""

from __future__ import annotations

import re
from collections.abc import Callable

from streams.clock import Clock
from streams.errors import MisuseError

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_RANDOM_BITS = 80
_KEY = re.compile(r"[A-Za-z0-9._\-]{1,64}")


class Keys:
    """Makes keys that grow: 48 bits of milliseconds, 80 random bits, one more than the last within a millisecond."""

    def __init__(self, clock: Clock, random_bytes: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._last = 0

    def make(self) -> str:
        """A new key of 26 letters and digits, greater than every one before it."""
        time_ms = self._clock.time_ns() // 1_000_000
        number = time_ms << _RANDOM_BITS | int.from_bytes(self._random_bytes(_RANDOM_BITS // 8), "big")
        if number >> _RANDOM_BITS <= self._last >> _RANDOM_BITS:  # the same millisecond, or the clock went back
            number = self._last + 1
        self._last = number
        return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def check_key(key: str) -> str:
    """Return `key` if a command may have it. MisuseError otherwise."""
    if not _KEY.fullmatch(key):
        raise MisuseError(f"{key[:80]!r} cannot be the key of a command: use 1 to 64 letters, digits, '.', '_' or '-'")
    return key
