"""The agent as a process: signals, and what the service manager is told."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from edge.agent import end
from edge.keeper import Keeper
from edge.log_tail import keep_log_tail
from edge.notify import Notifier
from edge.settings import EdgeSettings

_log = logging.getLogger(__name__)


def run(settings: EdgeSettings, state: Path) -> int:
    """Run one agent until a signal: the first drains, the second forces. Returns the exit status.

    When a restart is asked for, this process becomes the new one, with the same number and the same words.
    """
    keep_log_tail()
    keeper = Keeper(settings, state)
    status = asyncio.run(_run_until_signal(keeper, Notifier(os.environ)))
    if status == 0 and keeper.restart_wanted.is_set():
        _log.info("starting anew, as asked")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    return status


async def _run_until_signal(keeper: Keeper, manager: Notifier) -> int:
    stop = asyncio.Event()
    task = asyncio.create_task(keeper.run(stop), name="agent")
    watch = [
        asyncio.create_task(manager.feed(), name="watchdog"),
        asyncio.create_task(_tell_ready(keeper, manager), name="tell that it is ready"),
    ]

    def on_signal() -> None:
        manager.tell(STOPPING=1)
        keeper.restart_wanted.clear()
        if stop.is_set():
            _log.warning("second signal: stopping at once; what is not sent stays in the spool")
            task.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        await task
    except asyncio.CancelledError:
        return 1
    finally:
        await end(*watch)
    return 0


async def _tell_ready(keeper: Keeper, manager: Notifier) -> None:
    await keeper.sampling.wait()
    manager.tell(READY=1)
