"""The event loop of the hub: uvloop where there is one. It takes a third of asyncio's own time for a small message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop; None: asyncio's own, because uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
