"""The gateway: messages a second with each on disk before its PUBACK, its CPU, the way of a command there and back,
memory of an idle connection, and how long it takes until all devices are back after it was away.

The gateway, with all its features and an intake on the event log, and the clients are processes of their own. Peer in
the same run, with the same clients: mosquitto with one subscriber, which stores nothing.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import BenchmarkError
from benchmarks.line import Line
from benchmarks.mqtt_peer import Subscriber
from benchmarks.publisher import publish_packet
from streams.names import COMMAND, RESULTS, topic
from tests.servers import Server, mosquitto

DEVICE = "press-7"
ROUNDS = 3000
DEVICES = 5000
RUNS = 3
SETTLE_S = 1.0
SLOW_SYNC_S = 0.1


class Load(NamedTuple):
    """How many connections, messages in flight on each, bytes a message, messages in all."""

    name: str
    connections: int
    in_flight: int
    size: int
    messages: int


LOADS = (
    Load("500x1/100B", 500, 1, 100, 100_000),
    Load("8x20/4KiB", 8, 20, 4096, 80_000),
)


class Rate(NamedTuple):
    """Messages a second, and CPU microseconds of the servers a message."""

    per_s: float
    cpu_us: float


def run() -> Iterator[Line]:
    for load in LOADS:
        ours, theirs = _alternate(load)
        yield Line(
            name=f"gateway/qos1/{load.name}", value=ours.per_s, unit="messages/s", peer="mosquitto + subscriber",
            peer_value=theirs.per_s, note="fdatasync before PUBACK; mosquitto stores nothing",
        )  # fmt: skip
        yield Line(
            name=f"gateway/cpu/{load.name}", value=ours.cpu_us, unit="us a message", peer="mosquitto + subscriber",
            peer_value=theirs.cpu_us, note="all its threads, the log included",
        )  # fmt: skip
    ours_ms, theirs_ms = _our_rounds(), _their_rounds()
    for name, place in (("p50", 0.5), ("p99", 0.99)):
        yield Line(
            name=f"gateway/command/{name}", value=_at(ours_ms, place), unit="ms", peer="mosquitto",
            peer_value=_at(theirs_ms, place), note="QoS 1, hub to device and its result back to the hub",
        )  # fmt: skip
    behind = _behind()
    yield Line(
        name="gateway/behind/rss", value=behind.grown_bytes / 1e6, unit="MB",
        note=f"most that memory grew while a disk with syncs of {SLOW_SYNC_S * 1e3:.0f} ms took {behind.per_s:,.0f} "
        f"messages/s of 32 KiB, 64 MB in flight; reading was stopped {behind.pauses} times",
    )  # fmt: skip
    idle_bytes, again_s = _our_devices()
    peer_bytes, peer_s = _their_devices()
    yield Line(
        name="gateway/idle-bytes", value=idle_bytes, unit="B/connection", peer="mosquitto", peer_value=peer_bytes,
        note=f"resident, {DEVICES} devices: session that is kept, will, one subscription",
    )  # fmt: skip
    yield Line(
        name=f"gateway/reconnect/{DEVICES}", value=again_s, unit="s", peer="mosquitto", peer_value=peer_s,
        note="all come again at once: CONNECT with will, on disk before its CONNACK, and SUBSCRIBE, likewise",
    )  # fmt: skip


def _at(values: list[float], place: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * place))]


def _alternate(load: Load) -> tuple[Rate, Rate]:
    """The median of some runs of each, in turns: the machine's other work hits both."""
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(_our_rate(load))
        theirs.append(_their_rate(load))
    return _median(ours), _median(theirs)


def _median(rates: list[Rate]) -> Rate:
    return Rate(statistics.median(each.per_s for each in rates), statistics.median(each.cpu_us for each in rates))


class Process:
    """A process of this package that is told what to do by lines, and answers by lines."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{' '.join(map(str, self._process.args))} ended with {self._process.wait(10)}")  # type: ignore[arg-type]
        return line.strip()

    def ask(self, job: str) -> Any:
        """Give it a job; returns the line that it answers, as JSON if it is such."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{job}\n")
        self._process.stdin.flush()
        return json.loads(self.line())

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _process(*arguments: str, forever: bool = False) -> Iterator[Process]:
    process = Process(*arguments)
    try:
        yield process
    finally:
        if forever:
            process._process.terminate()
        process.end()


@contextlib.contextmanager
def _gateway() -> Iterator[tuple[int, Process]]:
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory,
        _process("benchmarks.gateway_server", str(Path(directory))) as server,
    ):
        yield int(server.line()), server


def _publish(port: int, load: Load) -> float:
    """Seconds from the first message to the last PUBACK."""
    numbers = map(str, (port, load.connections, load.in_flight, load.size, load.messages))
    with _process("benchmarks.mqtt_peer", "publish", *numbers) as publisher:
        return float(publisher.line())


def _our_rate(load: Load) -> Rate:
    with _gateway() as (port, server):
        cpu_s = float(server.ask("cpu"))
        elapsed_s = _publish(port, load)
        return Rate(load.messages / elapsed_s, (float(server.ask("cpu")) - cpu_s) / load.messages * 1e6)


def _their_rate(load: Load) -> Rate:
    """Until the subscriber has everything too: with the gateway, everything has arrived when it is acknowledged."""
    sent = load.messages // load.connections * load.connections
    with (
        mosquitto() as server,
        _process("benchmarks.mqtt_peer", "subscribe", str(server.port), "penstock/#", str(sent)) as subscriber,
    ):
        subscriber.line()
        cpu_s = server.cpu_s()
        published_s = _publish(server.port, load)
        received_s, subscriber_cpu_s = map(float, subscriber.line().split())
        used_s = server.cpu_s() - cpu_s + subscriber_cpu_s
        return Rate(sent / max(published_s, received_s), used_s / sent * 1e6)


def _our_rounds() -> list[float]:
    with (
        _gateway() as (port, server),
        _process("benchmarks.mqtt_peer", "respond", str(port), DEVICE, forever=True) as responder,
    ):
        responder.line()
        return [float(each) for each in server.ask(f"rounds {DEVICE} {ROUNDS}")]


def _their_rounds() -> list[float]:
    """The same by way of mosquitto; the hub's side is a raw socket."""
    with (
        mosquitto() as server,
        _process("benchmarks.mqtt_peer", "respond", str(server.port), DEVICE, forever=True) as responder,
    ):
        responder.line()
        hub = Subscriber(server.port, "hub", topic(DEVICE, RESULTS))
        latencies_ms = []
        for number in range(ROUNDS):
            packet = publish_packet(topic(DEVICE, COMMAND), bytes(64), number + 1)
            started = time.perf_counter()
            hub.sock.sendall(packet)
            count, acks = 0, b""
            while not count:
                count, acks = hub.receive()
            latencies_ms.append((time.perf_counter() - started) * 1000)
            hub.sock.sendall(acks)
        hub.sock.close()
        return latencies_ms


class Behind(NamedTuple):
    """How the gateway bears a disk that is 100 times too slow."""

    grown_bytes: int
    per_s: float
    pauses: int


def _behind() -> Behind:
    connections, in_flight, size, messages = 20, 100, 32_768, 12_000
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory,
        _process("benchmarks.gateway_server", directory, str(SLOW_SYNC_S)) as server,
    ):
        port, before = int(server.line()), int(server.ask("rss"))
        started = time.perf_counter()
        most = before
        numbers = map(str, (port, connections, in_flight, size, messages))
        with _process("benchmarks.mqtt_peer", "publish", *numbers) as publisher:
            while not publisher.has_ended:
                most = max(most, int(server.ask("rss")))
                time.sleep(0.05)
        elapsed_s = time.perf_counter() - started
        return Behind(most - before, messages / elapsed_s, int(server.ask("counters")["reading_pauses"]))


def _our_devices() -> tuple[float, float]:
    with _gateway() as (port, server):
        return _devices(port, lambda: int(server.ask("rss")))


def _their_devices() -> tuple[float, float]:
    with mosquitto("persistence false") as server:
        return _devices(server.port, lambda: _rss(server))


def _rss(server: Server) -> int:
    return server.rss_bytes()


def _devices(port: int, rss_bytes: Any) -> tuple[float, float]:
    """Bytes of an idle connection, and seconds until all are back."""
    with _process("benchmarks.mqtt_peer", "devices", str(port), str(DEVICES)) as devices:
        devices.line()
        before = rss_bytes()
        devices.ask("connect")
        time.sleep(SETTLE_S)
        idle_bytes = (rss_bytes() - before) / DEVICES
        again_s = []
        for _ in range(RUNS):
            devices.ask("close")
            time.sleep(SETTLE_S)
            again_s.append(float(devices.ask("connect")))
        return idle_bytes, statistics.median(again_s)
