"""Real servers as context managers, on ports and directories of their own; a missing one is named, never skipped."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 30.0


class MissingServer(AssertionError):
    """A server that the test needs is not installed."""


def binary(name: str, *, variable: str | None = None) -> Path:
    """Where a server is: an environment variable, .servers/bin below the checkout, the path, or /usr/sbin."""
    chosen = os.environ.get(variable) if variable else None
    candidates = [chosen, str(ROOT / ".servers" / "bin" / name), shutil.which(name), f"/usr/sbin/{name}"]
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            return Path(candidate)
    raise MissingServer(f"{name} is not installed; run tests/system/install-servers (as `make system` does)")


def free_port() -> int:
    """A port that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    directory: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """CPU seconds that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        return 0


@contextlib.contextmanager
def mosquitto(*lines: str, port: int | None = None) -> Iterator[Server]:
    """mosquitto for anybody on loopback, without limits that would slow it down; `lines` are added to its settings."""
    chosen = port or free_port()
    settings = [
        f"listener {chosen} 127.0.0.1",
        "allow_anonymous true",
        "set_tcp_nodelay true",
        "max_queued_messages 0",
        "max_inflight_messages 1000",
        "log_type error",
        f"user {'root' if os.geteuid() == 0 else 'nobody'}",
        *lines,
    ]
    with _directory("mosquitto") as directory:
        (directory / "mosquitto.conf").write_text("\n".join(settings) + "\n")
        command = [str(binary("mosquitto")), "-c", str(directory / "mosquitto.conf")]
        with _running("mosquitto", command, chosen, directory, lambda: _connects(chosen)) as server:
            yield server


@contextlib.contextmanager
def influxdb(*, port: int | None = None, home: Path | None = None, auth: bool = False) -> Iterator[Server]:
    """InfluxDB 1.8 with the v2 write API and InfluxQL. What is in `home` stays: start it there again to go on."""
    port = port or free_port()
    with contextlib.nullcontext(home) if home else _directory("influxdb") as directory:
        environment = {
            "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
            "INFLUXDB_HTTP_AUTH_ENABLED": str(auth).lower(),
            "INFLUXDB_BIND_ADDRESS": f"127.0.0.1:{free_port()}",
            "INFLUXDB_META_DIR": str(directory / "meta"),
            "INFLUXDB_DATA_DIR": str(directory / "data"),
            "INFLUXDB_DATA_WAL_DIR": str(directory / "wal"),
            "INFLUXDB_REPORTING_DISABLED": "true",
            "INFLUXDB_HTTP_LOG_ENABLED": "false",
            "INFLUXDB_MONITOR_STORE_ENABLED": "false",
        }
        command = [str(binary("influxd", variable="PENSTOCK_INFLUXD"))]
        ready = lambda: _answers(f"http://127.0.0.1:{port}/ping", 204)  # noqa: E731
        with _running("influxd", command, port, directory, ready, environment) as server:
            yield server


@contextlib.contextmanager
def telegraf(settings: str, *, ready: bytes = b"Connected") -> Iterator[Server]:
    """Telegraf with the given settings; ready when it says so, by default that its input is connected."""
    with _directory("telegraf") as directory:
        (directory / "telegraf.conf").write_text(settings)
        command = [str(binary("telegraf", variable="PENSTOCK_TELEGRAF")), "--config", str(directory / "telegraf.conf")]
        log = directory / "telegraf.log"
        with _running("telegraf", command, 0, directory, lambda: ready in log.read_bytes()) as server:
            yield server


@contextlib.contextmanager
def _running(
    name: str,
    command: list[str],
    port: int,
    directory: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    log = directory / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(environment or {})})
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{name} did not start: {log.read_text('utf-8', 'replace')[-1000:]}")
            time.sleep(0.02)
        yield Server(name, port, process, directory)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _directory(name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f"penstock-{name}-", ignore_cleanup_errors=True) as path:
        yield Path(path)


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _answers(url: str, status: int) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == status)
    except (urllib.error.URLError, OSError):
        return False
