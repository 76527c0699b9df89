"""Waiting for an event with a limit.

`asyncio.wait_for` of Python 3.11 can swallow a cancellation that comes together with the result, after which a task
runs on for ever; so nothing in the agent uses it.
"""

from __future__ import annotations

import asyncio
import contextlib


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set, or after `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
