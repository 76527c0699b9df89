"""Damage to a log on disk, as a bad sector makes it."""

from __future__ import annotations

from pathlib import Path


def flip(partition: Path, inside: bytes) -> None:
    """Change a byte of the only place where a segment of the partition holds `inside`."""
    for path in sorted(partition.glob("*.log")):
        data = bytearray(path.read_bytes())
        if inside in data:
            assert data.count(inside) == 1
            data[data.index(inside)] ^= 0x55
            path.write_bytes(data)
            return
    raise AssertionError(f"{inside!r} is nowhere in {partition}")
