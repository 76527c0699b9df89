"""Random numbers without a state: a hash of (seed, name, counter).

A device model asks for the numbers of an instant and always gets the same ones, in any order, in any process, after
any crash. So every reading that was ever simulated can be computed again from the seed.
The generator is BLAKE2b (RFC 7693) over a 32-byte key and the counter, one call for sixteen numbers.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from statistics import NormalDist

_WORDS = struct.Struct("<16I")
_COUNTER = struct.Struct("<q")
_UNIT = 1.0 / (1 << 32)
_NORMAL = NormalDist()

DRAWS = 16  # numbers of one instant


@functools.lru_cache(maxsize=1 << 15)
def _corner(key: bytes, stream: int, index: int) -> float:
    """A uniform number in [-1, 1) at one point of a lattice; kept, for many ticks fall between two points."""
    digest = hashlib.blake2b(_COUNTER.pack(index), digest_size=8, key=key, person=_COUNTER.pack(stream)).digest()
    return int.from_bytes(digest, "little") / (1 << 63) - 1.0


class Dice:
    """The random numbers of one named thing under one seed."""

    __slots__ = ("_key",)

    def __init__(self, seed: int, name: str) -> None:
        self._key = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=32).digest()

    def uniforms(self, counter: int) -> tuple[float, ...]:
        """Sixteen numbers in (0, 1) that belong to `counter` (any signed 64-bit integer)."""
        words = _WORDS.unpack(hashlib.blake2b(self._key + _COUNTER.pack(counter)).digest())
        return tuple([(word + 0.5) * _UNIT for word in words])

    def normals(self, counter: int) -> tuple[float, ...]:
        """Sixteen numbers of the standard normal distribution that belong to `counter`."""
        return tuple(map(_NORMAL.inv_cdf, self.uniforms(counter)))

    def smooth(self, stream: int, time_s: float, period_s: float) -> float:
        """A curve in [-1, 1) that wanders without steps; it turns about every `period_s` seconds.

        Streams are independent curves. (Value noise on a lattice, K. Perlin 1985, with a smoothstep between points.)
        """
        position = time_s / period_s
        index = int(position // 1)
        part = position - index
        left, right = _corner(self._key, stream, index), _corner(self._key, stream, index + 1)
        return left + (right - left) * part * part * (3.0 - 2.0 * part)
