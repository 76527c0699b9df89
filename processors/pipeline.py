"""The processors' process: wires log, engine, store and query API, and keeps them going."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from pathlib import Path

from processors.api import Api
from processors.consumer import Consumer
from processors.engine import Engine
from processors.outbox import Outbox
from processors.settings import ProcessorsSettings
from processors.stores.registry import open_store
from streams.clock import SystemClock
from streams.control import serving
from streams.files import DirectoryLock, DiskFiles
from streams.log import EventLog, LogSettings
from streams.names import ALERTS, QUARANTINE

_log = logging.getLogger("penstock.processors")

OWNER = "penstock processors"
WATCH_S = 0.25


def run(settings: ProcessorsSettings, data: Path) -> int:
    """Run the processors on the data directory `data` until SIGTERM or SIGINT, which drains; a second signal ends it at
    once. Returns the exit status.

    Raises MisuseError when other processors use the directory, DiskError when the store cannot be opened.
    """
    lock = DirectoryLock(data / "store", owner=OWNER)
    try:
        return asyncio.run(_run(settings, data))
    finally:
        lock.release()


async def _run(settings: ProcessorsSettings, data: Path) -> int:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            _log.warning("ended by a second signal; what is committed is on disk, the rest is read again")
            os._exit(1)
        _log.info("stopping; a second signal ends it at once")
        stop.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, on_signal)
    files, clock = DiskFiles(), SystemClock()
    store = open_store(data / "store", settings.store)
    log = EventLog.open(data / "log", _streams(settings), files=files, clock=clock, owner=OWNER)
    try:
        state = await asyncio.to_thread(store.load)
        engine = Engine(settings, state)
        consumer = Consumer(data / "log", settings, engine, store, Outbox(log, clock), state, files=files, clock=clock)
        api = Api(settings, engine, store, consumer, data / "log", files=files, clock=clock)
        async with serving(api.application(), data / "run" / "processors.sock"):
            _log.info("ready: store %s, %d readings, %d series", store.name, consumer.readings, len(engine.table))
            return await _consume(consumer, stop)
    finally:
        log.close()
        store.close()
        _log.info("stopped; what is committed is on disk")


async def _consume(consumer: Consumer, stop: asyncio.Event) -> int:
    """Keep the consumer's thread going until `stop`, or until it dies: then the status is 1."""
    ending = threading.Event()
    thread = threading.Thread(target=consumer.run, args=(ending,), name="consumer")
    thread.start()
    while thread.is_alive() and not stop.is_set():
        with_limit = asyncio.create_task(stop.wait())
        await asyncio.wait([with_limit], timeout=WATCH_S)
        with_limit.cancel()
    ending.set()
    await asyncio.to_thread(thread.join)
    return 0 if consumer.failed is None else 1


def _streams(settings: ProcessorsSettings) -> dict[str, LogSettings]:
    """The streams that the processors write, each kept up to its size."""
    sizes = {ALERTS: settings.alerts_bytes_max, QUARANTINE: settings.quarantine_bytes_max}
    return {
        stream: LogSettings(segment_bytes=min(64 << 20, size // 4), retention_bytes=size)
        for stream, size in sizes.items()
    }
