"""The whole path: MQTT publishers -> hub -> event log on disk -> processors (detectors included) -> rows in the store.

The clock stops when the last reading is a committed row. Peer, in the same run: mosquitto -> Telegraf -> InfluxDB 1.8
with JSON of 20 fields a message, settings as its users have them (persistent session, so that it acknowledges late).
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.line import Line
from benchmarks.publisher import publish_all, publish_packet
from streams.control import ControlClient
from streams.errors import PenstockError
from streams.frames import Block, ClockQuality, Column, Frame, Kind
from streams.frames.encode_numpy import encode
from streams.names import topic
from tests.servers import free_port, influxdb, mosquitto, telegraf

SERIES = 20
READINGS_PER_SERIES = 100
DEVICES = 20
FRAMES_PER_DEVICE = 150
PEER_MESSAGES = 60_000
TIMEOUT_S = 180.0


def run() -> Iterator[Line]:
    readings_per_s, cpu_us, latencies_ms = ours()
    peer_readings_per_s, peer_cpu_us = theirs()
    peer = "mosquitto + Telegraf + InfluxDB 1.8"
    note = f"{DEVICES} devices, {SERIES} series x {READINGS_PER_SERIES} readings a frame, 16 in flight"
    yield Line(
        name="pipeline/readings",
        value=readings_per_s,
        unit="readings/s",
        peer=peer,
        peer_value=peer_readings_per_s,
        note=note,
    )
    yield Line(
        name="pipeline/cpu", value=cpu_us, unit="us a reading", peer=peer, peer_value=peer_cpu_us, note="all servers"
    )
    yield Line(
        name="pipeline/latency/p50",
        value=statistics.median(latencies_ms),
        unit="ms",
        note="one frame of 20 readings published to its row committed, otherwise idle; includes the commit interval",
    )


@contextmanager
def stack(data: Path) -> Iterator[tuple[int, ControlClient, list[subprocess.Popen[bytes]]]]:
    """A hub and its processors as processes of their own."""
    port = free_port()
    base = [sys.executable, "-m", "penstock"]
    data.mkdir(exist_ok=True)
    with (data / "out.log").open("wb") as out:
        processes = [
            subprocess.Popen(
                [*base, "hub", "run", "--data", str(data), "--mqtt-port", str(port)], stdout=out, stderr=out
            ),
            subprocess.Popen([*base, "process", "run", "--data", str(data)], stdout=out, stderr=out),
        ]
    processors = ControlClient(data / "run" / "processors.sock", what="the processors")
    hub = ControlClient(data / "run" / "hub.sock", what="the hub")
    try:
        for client in (hub, processors):
            _until(lambda client=client: client.get("/health"), "hub and processors to start")
        yield port, processors, processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def ours() -> tuple[float, float, list[float]]:
    """Readings per second, CPU microseconds a reading, latencies in ms."""
    devices = {f"bench-{number:02d}": frames(number) for number in range(DEVICES)}
    manifest = _manifest()
    queues = {
        device: [
            publish_packet(topic(device, "manifest"), manifest, 1),
            *(publish_packet(topic(device, "frames"), data, 2 + at % 60_000) for at, data in enumerate(each)),
        ]
        for device, each in devices.items()
    }
    total = DEVICES * FRAMES_PER_DEVICE * SERIES * READINGS_PER_SERIES
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory, stack(Path(directory)) as running:
        port, processors, processes = running
        cpu_before = sum(_cpu_s(process.pid) for process in processes)
        started = time.perf_counter()
        publish_all(port, queues, in_flight=16)
        _until(lambda: processors.get("/health")["readings"] >= total, "the rows to be in the store", every_s=0.02)
        elapsed = time.perf_counter() - started
        cpu = sum(_cpu_s(process.pid) for process in processes) - cpu_before
        ledger = processors.get("/ledger")
        rows = sum(each["rows"] for each in ledger["accounts"])
        if rows != total or any(each["duplicate_rows"] for each in ledger["accounts"]):
            raise BenchmarkError(f"{rows:,} rows in the store, {total:,} readings were published")
        latencies = _latencies(port, processors, manifest)
    return total / elapsed, cpu / total * 1e6, latencies


def frames(seed: int) -> list[bytes]:
    """The frames of one device: decimals with noise, sampled together each second with jitter."""
    dice = random.Random(seed)
    at_ns = 1_790_000_000_000_000_000
    levels = [dice.uniform(10, 90) for _ in range(SERIES)]
    out = []
    for number in range(FRAMES_PER_DEVICE):
        times = [at_ns + i * 1_000_000_000 + dice.randrange(5) * 1_000_000 for i in range(READINGS_PER_SERIES)]
        at_ns += READINGS_PER_SERIES * 1_000_000_000
        columns = [
            Column(series, Kind.FLOAT64, [round(dice.gauss(level, 0.2), 2) for _ in times])
            for series, level in enumerate(levels)
        ]
        out.append(_frame(number * SERIES * READINGS_PER_SERIES, times, columns))
    return out


def theirs() -> tuple[float, float]:
    """Readings per second and CPU microseconds a reading of mosquitto -> Telegraf -> InfluxDB."""
    settings = """
[agent]
  interval = "1s"
  flush_interval = "1s"
  metric_batch_size = 5000
  metric_buffer_limit = 2000000
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{mqtt}"]
  topics = ["bench/#"]
  qos = 1
  persistent_session = true
  client_id = "telegraf"
  max_undelivered_messages = 20000
  data_format = "json"
[[outputs.influxdb]]
  urls = ["http://127.0.0.1:{influx}"]
  database = "bench"
"""
    names = [f"f{number:02d}" for number in range(SERIES)]
    dice = random.Random(1)
    bodies = [json.dumps({name: round(dice.gauss(50, 0.2), 2) for name in names}).encode() for _ in range(500)]
    per_device = PEER_MESSAGES // DEVICES
    queues = {
        f"pub{number}": [
            publish_packet(f"bench/{number}", bodies[at % 500], 1 + at % 60_000) for at in range(per_device)
        ]
        for number in range(DEVICES)
    }
    with (
        mosquitto() as broker,
        influxdb() as database,
        telegraf(settings.format(mqtt=broker.port, influx=database.port)) as agent,
    ):
        servers = (broker, database, agent)
        cpu_before = sum(each.cpu_s() for each in servers)
        started = time.perf_counter()
        publish_all(broker.port, queues, in_flight=16)
        _until(lambda: _influx_points(database.url) >= PEER_MESSAGES, "the points to be in InfluxDB", every_s=0.1)
        elapsed = time.perf_counter() - started
        cpu = sum(each.cpu_s() for each in servers) - cpu_before
    readings = PEER_MESSAGES * SERIES
    return readings / elapsed, cpu / readings * 1e6


def _influx_points(url: str) -> int:
    """Points that InfluxDB has taken, from its own counters: a count over the data would slow it down."""
    query = urllib.parse.urlencode({"q": "SHOW STATS FOR 'httpd'"})
    with urllib.request.urlopen(f"{url}/query?{query}", timeout=10) as response:
        series = json.load(response)["results"][0]["series"][0]
    return int(series["values"][0][series["columns"].index("pointsWrittenOK")])


def _latencies(port: int, processors: ControlClient, manifest: bytes) -> list[float]:
    found = []
    start_ns = 1_795_000_000_000_000_000
    for number in range(20):
        columns = [Column(series, Kind.FLOAT64, [float(number)]) for series in range(SERIES)]
        data = _frame(number * SERIES, [start_ns + number * 1_000_000_000], columns)
        before = processors.get("/health")["readings"]
        packets = [publish_packet(topic("bench-latency", "manifest"), manifest, 1)] if number == 0 else []
        packets.append(publish_packet(topic("bench-latency", "frames"), data, 2))
        started = time.perf_counter()
        publish_all(port, {"bench-latency": packets}, in_flight=16)
        _until(lambda before=before: processors.get("/health")["readings"] >= before + SERIES, "a row", every_s=0.001)
        found.append((time.perf_counter() - started) * 1e3)
    return found


def _manifest() -> bytes:
    series = [{"id": number, "name": f"bench.{number:02d}", "unit": "1", "type": "float64"} for number in range(SERIES)]
    return json.dumps({"series": series, "device": {"model": "benchmark"}}).encode()


def _frame(sequence: int, times: list[int], columns: list[Column]) -> bytes:
    return encode(
        Frame(
            epoch=1,
            sequence=sequence,
            manifest=zlib.crc32(_manifest()),
            clock_quality=ClockQuality.SYNCHRONISED,
            blocks=[Block(times, columns)],
        )
    )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _until(probe: object, what: str, *, every_s: float = 0.05) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            if probe():  # type: ignore[operator]
                return
        except PenstockError:
            pass
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited {TIMEOUT_S:.0f} s for {what}")
        time.sleep(every_s)
