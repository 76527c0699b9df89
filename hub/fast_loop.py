"""The event loop of the hub: uvloop where there is one. It takes a third of asyncio's own time for a small message."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop; None: asyncio's own, because uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def tune() -> None:
    """Call it when all is imported and nothing is connected. A message makes objects that die young and in no cycles:
    the collector would look at all that was imported again and again for nothing. And the log's committer must not wait
    5 ms for its turn."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)
    sys.setswitchinterval(0.001)
