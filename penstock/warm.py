"""Compile the kernels once, at install, so that the first start does not wait for it: python -m penstock.warm"""

from __future__ import annotations

import time


def warm() -> float:
    """Compile and cache every kernel; returns the seconds it took."""
    started = time.monotonic()
    from processors.detectors.registry import warm as warm_detectors
    from streams.frames.decode_compiled import warm as warm_frames

    warm_frames()
    warm_detectors()
    return time.monotonic() - started


if __name__ == "__main__":
    print(f"kernels ready ({warm():.1f} s)")
