"""The whole product as real processes: `penstock up` in a directory of its own, on ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from streams.control import ControlClient
from streams.errors import PenstockError

T = TypeVar("T")


def free_port() -> int:
    """A port that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, probe: Callable[[], T | None], *, timeout_s: float = 60.0, every_s: float = 0.1) -> T:
    """Ask until the answer is true; fail by name."""
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = answer = probe()
            if answer:
                return answer
        except (PenstockError, OSError) as error:
            last = error
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {timeout_s:.0f} s; last answer: {str(last)[:500]}")


class Stack:
    """A running `penstock up`."""

    def __init__(self, data: Path, settings: Mapping[str, object] | None = None) -> None:
        self.data = data
        self.mqtt_port = free_port()
        self.web_port = free_port()
        self.settings: dict[str, object] = {
            "hub.mqtt.port": self.mqtt_port,
            "web.port": self.web_port,
            **(settings or {}),
        }
        self.hub = ControlClient(data / "run" / "hub.sock", what="the hub")
        self.processors = ControlClient(data / "run" / "processors.sock", what="the processors")
        self._process: subprocess.Popen[bytes] | None = None
        self.output = data.parent / f"{data.name}.out"

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    def start(self, *arguments: str) -> None:
        sets = [word for name, value in self.settings.items() for word in ("--set", f"{name}={value}")]
        command = [sys.executable, "-m", "penstock", "up", "--data", str(self.data), *sets, *arguments]
        with self.output.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def penstock(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another subcommand on this data directory."""
        environment = {**os.environ, "PENSTOCK_DATA": str(self.data)}
        command = [sys.executable, "-m", "penstock", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    def ledger(self) -> dict[str, Any]:
        """`penstock ledger --json`."""
        done = self.penstock("ledger", "--json")
        if not done.stdout.startswith("{"):
            raise PenstockError(done.stderr)
        answer: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if answer["verdict"] == "balanced" else 1)
        return answer

    def pids(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.data / "run" / "processes.json").read_text())
        return found

    def kill(self, name: str) -> bool:
        """SIGKILL one process; False if it was not there just now."""
        pid = self.pids().get(name)
        if pid is None or not is_alive(pid):
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    def wait_until_storing(self, devices: int, *, timeout_s: float = 90.0) -> None:
        """Until readings of that many devices are in the store."""
        wait_for(
            f"readings of {devices} devices in the store",
            lambda: len(self.processors.get("/latest")["devices"]) >= devices,
            timeout_s=timeout_s,
        )

    def interrupt(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)

    def stop(self, *, timeout_s: float = 60.0) -> int:
        """Ctrl-C, and wait for the end; returns the exit status."""
        assert self._process is not None
        self.interrupt()
        return self._process.wait(timeout_s)

    def said(self) -> str:
        """What it printed so far."""
        return self.output.read_text("utf-8", "replace")

    def destroy(self) -> None:
        """Leave nothing running, whatever happened."""
        if self._process is None:
            return
        with contextlib.suppress(OSError, ValueError):
            children = self.pids()
            self._process.kill()
            for pid in children.values():
                if is_alive(pid) and b"penstock" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        self._process.wait(10)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def running(data: Path, settings: Mapping[str, object] | None = None, *arguments: str) -> Iterator[Stack]:
    """`penstock up` for as long as the context lasts."""
    stack = Stack(data, settings)
    try:
        stack.start(*arguments)
        yield stack
    except BaseException:
        print(stack.said())
        for log in sorted((data / "logs").glob("*.log")):
            print(f"--- {log.name}\n{log.read_text('utf-8', 'replace')[-3000:]}")
        raise
    finally:
        stack.destroy()
