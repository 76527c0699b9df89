"""An asyncio event loop in virtual time: when nothing is left to do now, the clock jumps to the next timer.

No sockets, no threads: what is handed to an executor runs in the loop itself, after a pause that the seed decides, so
that a seed replays the same run. A loop with nothing to do and no timer is stuck, and says so.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Any

SECOND_NS = 10**9

Factory = Callable[[], asyncio.BaseProtocol]
Listen = Callable[[int, Factory | None], None]


class StuckError(RuntimeError):
    """Nothing is left to do and nothing will ever happen again."""


class _NoSelector(selectors.BaseSelector):
    """Instead of waiting for sockets, lets virtual time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError("nothing is left to do")
        if timeout > 0:
            self._loop.pass_time(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        # the loop's own wake-up pipe, which nobody writes to
        key = selectors.SelectorKey(fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj]


class _ListeningSocket:
    """What a server's socket says of itself."""

    family = socket.AF_INET

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def getsockname(self) -> tuple[str, int]:
        return self._address

    def fileno(self) -> int:
        return -1


class VirtualServer(asyncio.AbstractServer):
    """A server on the simulated network."""

    def __init__(self, listen: Listen, factory: Factory, host: str, port: int) -> None:
        self._listen, self._port = listen, port
        self.sockets = (_ListeningSocket((host, port)),)
        self._serving = True
        listen(port, factory)

    def close(self) -> None:
        if self._serving:
            self._serving = False
            self._listen(self._port, None)

    def is_serving(self) -> bool:
        return self._serving

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def start_serving(self) -> None: ...

    async def wait_closed(self) -> None: ...


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop of one simulated world."""

    def __init__(self, dice: random.Random) -> None:
        self.listen: Listen | None = None
        """Set by the network: where servers listen."""
        self._now_s = 0.0
        self._dice = dice
        self.readers: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        super().__init__(_NoSelector(self))

    def time(self) -> float:
        return self._now_s

    def pass_time(self, seconds: float) -> None:
        self._now_s += seconds

    def moment_s(self) -> float:
        """How long some work takes that is done beside the loop."""
        return self._dice.uniform(0, 0.01)

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.readers[fd] = (callback, args)

    def remove_reader(self, fd: Any) -> bool:
        return self.readers.pop(fd, None) is not None

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.call_soon(callback, *args)  # a simulated socket takes all that it is given

    def remove_writer(self, fd: Any) -> bool:
        return False

    def _write_to_self(self) -> None:
        pass  # there is no thread that would have to wake this loop

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        assert self.listen is not None, "there is a network"
        return VirtualServer(self.listen, protocol_factory, host or "127.0.0.1", port)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run `func` in the loop, once a moment has passed; its result comes another moment later."""
        future: asyncio.Future[Any] = self.create_future()

        def work() -> None:
            result, error = None, None
            try:
                result = func(*args)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as caught:  # also a power cut: whoever waits dies of it
                error = caught
            self.call_later(self.moment_s() / 5, settle, result, error)

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.call_later(self.moment_s(), work)
        return future


async def end(task: asyncio.Task[Any]) -> None:
    """End the task of a process that was killed: whatever it still wants to do in good order, it does not get to."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.001)
    if not task.cancelled():
        task.exception()  # a killed process may end in any way


class MachineClock:
    """`streams.clock.Clock` of one simulated machine: its wall clock may jump."""

    def __init__(self, loop: VirtualLoop, *, start_ns: int = 1_790_000_000 * SECOND_NS) -> None:
        self._loop = loop
        self._wall_offset_ns = start_ns

    def time_ns(self) -> int:
        return self._wall_offset_ns + self.monotonic_ns()

    def monotonic_ns(self) -> int:
        return round(self._loop.time() * SECOND_NS)

    def jump(self, seconds: float) -> None:
        self._wall_offset_ns += round(seconds * SECOND_NS)
