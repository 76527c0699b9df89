"""A proxy between an agent and its hub that counts what goes up, and notes when the first message on a topic does."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time


class CountingProxy:
    """Forwards connections to `port` of loopback from a thread of its own, as a context."""

    def __init__(self, port: int, *, watch: bytes) -> None:
        self._target = port
        self._watch = watch
        self._tail = b""
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="proxy")
        self.port = int(self._listener.getsockname()[1])
        self.bytes_up = 0
        self.first_s: float | None = None
        """When the watched bytes first went up, on `time.monotonic`."""

    def __enter__(self) -> CountingProxy:
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.1):
                if key.data is None:
                    self._accept()
                else:
                    self._forward(key.fileobj, *key.data)  # type: ignore[arg-type]

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._target))
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(near, selectors.EVENT_READ, (far, True))
        self._selector.register(far, selectors.EVENT_READ, (near, False))

    def _forward(self, source: socket.socket, target: socket.socket, is_up: bool) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(65536)
            target.sendall(data)
        if is_up and data:
            self.bytes_up += len(data)
            if self.first_s is None and self._watch in self._tail + data:
                self.first_s = time.monotonic()
            self._tail = data[-len(self._watch) :]
        if not data:
            for each in (source, target):
                with contextlib.suppress(KeyError, ValueError, OSError):
                    self._selector.unregister(each)
                each.close()
