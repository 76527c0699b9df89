"""Telling systemd how the service is (sd_notify(3)): datagrams of NAME=VALUE lines to the socket that it named.

Without systemd there is no socket, and nothing is told. The watchdog is fed by the event loop, so that it starves when
the loop does: a thread that hangs with a sensor does not stop it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)

_FEEDS_A_PERIOD = 3.0


class Notifier:
    """The service manager's socket, or nobody's."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment)
        """A service that has not fed its watchdog for so long is killed and started again; 0: there is none."""

    def tell(self, **values: str | int) -> None:
        """Send for example READY=1. What cannot be told is not worth stopping for."""
        if not self._address:
            return
        message = "\n".join(f"{name}={value}" for name, value in values.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto(message.encode(), self._address)
        except OSError as error:
            _log.warning("systemd cannot be told %s: %s", " ".join(values), error)

    async def feed(self) -> None:
        """Feed the watchdog, for as long as the event loop turns."""
        while self.watchdog_s > 0:
            self.tell(WATCHDOG=1)
            await asyncio.sleep(self.watchdog_s / _FEEDS_A_PERIOD)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """WATCHDOG_USEC, if it is meant for this process (sd_watchdog_enabled(3))."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0, int(environment.get("WATCHDOG_USEC", "0"))) / 1e6
    except ValueError:
        return 0.0
