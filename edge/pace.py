"""A limit of bytes a second, with no burst to speak of: when may the next one go? Pure."""

from __future__ import annotations


class Pace:
    """`bytes_per_s` of 0 is no limit."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at_ns = 0

    def wait_s(self, now_ns: int) -> float:
        """Seconds until something may go; 0 when it may now."""
        return max(0, self._free_at_ns - now_ns) / 1e9

    def on_sent(self, size: int, now_ns: int) -> None:
        """`size` bytes have gone."""
        if self._bytes_per_s:
            self._free_at_ns = max(self._free_at_ns, now_ns) + size * 1_000_000_000 // self._bytes_per_s
