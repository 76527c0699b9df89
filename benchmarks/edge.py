"""The edge agent as a process beside a real hub: memory, processor, start, bytes to flash and on the wire a reading.

1,000 readings a second come from 20 sensors of 5 series each, ten times a second; 1 reading a second from one. The
peer is Telegraf with 20 mock inputs of 5 fields, the same pace, JSON by MQTT QoS 1 to mosquitto; it writes nothing to
disk, and loses what it holds when it is killed. `SOAK=1800 python -m benchmarks edge` runs the agent for so many
seconds, prints how memory and processor changed over that time, and counts all thirty days without a hub.
Thirty days: the agent's own recorder and spool, in virtual time; by default one day of it, times thirty.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.counting_proxy import CountingProxy
from benchmarks.edge_agent import DEVICE, sensors
from benchmarks.errors import BenchmarkError
from benchmarks.line import Line
from edge.manifest import make_manifest
from edge.recorder import Recorder
from edge.settings import EdgeSettings
from edge.storage import open_storage
from edge.tick import Tick
from streams.clock import ManualClock
from streams.control import ControlClient
from streams.errors import PenstockError
from streams.files import DiskFiles
from streams.frames import ClockQuality
from tests.servers import MissingServer, Server, free_port, mosquitto, telegraf

SENSORS, SERIES, INTERVAL_S = 20, 5, 0.1
SOAK_S = float(os.environ.get("SOAK", 0))
MEASURED_S = SOAK_S or 25.0
SETTLE_S = 4.0
SAMPLE_S = 5.0
DAYS = 30
OFFLINE_SERIES = 10
PEER = "Telegraf"
NOTE = f"{SENSORS} sensors x {SERIES} series at {1 / INTERVAL_S:.0f}/s, health included"


def run() -> Iterator[Line]:
    busy = agent(SENSORS, SERIES, INTERVAL_S, measured_s=MEASURED_S)
    peer = peer_figures()
    yield _line("edge/rss/1000rps", busy.rss_mb, "MB", peer.rss_mb if peer else None, NOTE)
    yield _line("edge/cpu/1000rps", busy.cpu, "% of one core", peer.cpu if peer else None, NOTE)
    idle = agent(1, 1, 1.0, measured_s=MEASURED_S)
    yield _line("edge/cpu/1rps", idle.cpu, "% of one core", None, "one series, and the agent's own health each 10 s")
    yield _line("edge/start-to-publish", busy.start_s, "s", None, "start of the process to its first frame sent")
    note = "write_bytes of /proc/PID/io: whole pages, at 1,000 readings/s; the file system's own journal not counted"
    yield _line("edge/flash-bytes-per-reading", busy.flash_bytes, "bytes", None, note)
    wire = peer.wire_bytes if peer else None
    yield _line("edge/wire-bytes-per-reading", busy.wire_bytes, "bytes", wire, "MQTT bytes up, all messages")
    days = DAYS if SOAK_S else 1
    size = asyncio.run(offline(days))
    readings = OFFLINE_SERIES * 86_400 * days
    note = (
        f"{days} of {DAYS} days of {OFFLINE_SERIES} readings/s, {size / readings:.2f} B a reading in the spool's files"
    )
    yield _line("edge/30-days-offline/bytes", size * DAYS / days, "bytes", None, note)


class Figures:
    """What one process used, for so many readings."""

    def __init__(self) -> None:
        self.rss_mb = self.cpu = self.start_s = self.flash_bytes = self.wire_bytes = 0.0


def agent(count: int, series: int, interval_s: float, *, measured_s: float) -> Figures:
    """Run the agent against a hub and look at its process."""
    found = Figures()
    with (
        tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory,
        hub(Path(directory) / "hub") as (port, control),
        CountingProxy(port, watch=f"{DEVICE}/frames".encode()) as proxy,
    ):
        arguments = [str(Path(directory) / "agent"), str(proxy.port), str(count), str(series), str(interval_s)]
        started_s = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.edge_agent", *arguments])
        try:
            _until(lambda: proxy.first_s is not None, "the first frame")
            found.start_s = (proxy.first_s or 0.0) - started_s
            time.sleep(SETTLE_S)
            readings, wire, flash = _readings(control), proxy.bytes_up, _written(process.pid)
            samples = [(0.0, _rss_mb(process.pid), _cpu_s(process.pid))]
            began_s = time.monotonic()
            while (passed := time.monotonic() - began_s) < measured_s:
                time.sleep(min(SAMPLE_S, measured_s - passed + 0.01))
                samples.append((time.monotonic() - began_s, _rss_mb(process.pid), _cpu_s(process.pid)))
            passed = samples[-1][0]
            taken = _readings(control) - readings
            if abs(taken - passed * count * series / interval_s) > 0.2 * passed * count * series / interval_s + 30:
                raise BenchmarkError(f"{taken} readings came in {passed:.0f} s, not {count * series / interval_s:g}/s")
            found.rss_mb = max(rss for _, rss, _ in samples)
            found.cpu = (samples[-1][2] - samples[0][2]) / passed * 100
            found.flash_bytes = (_written(process.pid) - flash) / taken
            found.wire_bytes = (proxy.bytes_up - wire) / taken
            if SOAK_S:
                _print_slopes(samples, f"{count * series / interval_s:g} readings/s")
        finally:
            process.terminate()
            process.wait(30)
    return found


def peer_figures() -> Figures | None:
    """Telegraf at the same job; None when it is not installed, or has no mock input or no MQTT output."""
    mock = "\n".join(
        f'[[inputs.mock]]\n  metric_name = "bench{number:02d}"\n'
        + "".join(
            f'  [[inputs.mock.random]]\n    name = "{each}"\n    min = 40.0\n    max = 60.0\n' for each in range(SERIES)
        )
        for number in range(SENSORS)
    )
    settings = f"""
[agent]
  interval = "{INTERVAL_S * 1000:.0f}ms"
  flush_interval = "2s"
  metric_buffer_limit = 100000
  omit_hostname = true
{mock}
[[outputs.mqtt]]
  servers = ["tcp://127.0.0.1:{{port}}"]
  topic = "bench/telegraf"
  qos = 1
  data_format = "json"
"""
    found = Figures()
    try:
        with (
            mosquitto() as broker,
            CountingProxy(broker.port, watch=b"bench/telegraf") as proxy,
            telegraf(settings.format(port=proxy.port), ready=b"Loaded outputs: mqtt") as server,
        ):
            _until(lambda: proxy.first_s is not None, "Telegraf to publish")
            time.sleep(SETTLE_S)
            wire, cpu, began_s = proxy.bytes_up, server.cpu_s(), time.monotonic()
            time.sleep(20.0)
            passed = time.monotonic() - began_s
            found.cpu, found.rss_mb = (server.cpu_s() - cpu) / passed * 100, server.rss_bytes() / 1e6
            found.wire_bytes = (proxy.bytes_up - wire) / (passed * SENSORS * SERIES / INTERVAL_S)
    except (MissingServer, AssertionError, BenchmarkError) as error:
        print(f"no peer: {str(error)[:300]}", file=sys.stderr)
        return None
    return found


async def offline(days: int) -> int:
    """Bytes of all the agent's files after so many days without a hub."""
    chosen = sensors(1, series=OFFLINE_SERIES, interval_s=1.0)
    series = list(enumerate(chosen[0].open()))
    settings, clock = EdgeSettings(device=DEVICE, commit_interval_s=60), ManualClock()
    manifest = make_manifest(series, model="bench", agent="bench", labels={})
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as directory:
        quality = ClockQuality.SYNCHRONISED
        recorder = Recorder(settings, clock=clock, executor=None, clock_quality=lambda: quality)
        storage = open_storage(settings, Path(directory), manifest, files=DiskFiles(), clock=clock)
        recorder.is_connected = lambda: False
        recorder.start(storage)
        numbers, good = tuple(number for number, _ in series), (0,) * OFFLINE_SERIES
        for _ in range(days * 86_400):
            clock.advance(1.0)
            recorder.record(Tick(clock.time_ns(), numbers, tuple(chosen[0].read(0)), good))  # type: ignore[arg-type]
            await recorder.work()
        await recorder.seal_all()
        account = storage.spool.account(epoch=storage.identity.epoch, produced=recorder.produced, time_ms=0)
        if account["dropped"] or account["thinned"] or account["produced"] != days * 86_400 * OFFLINE_SERIES:
            raise BenchmarkError(f"not everything is there: {json.dumps(account)[:300]}")
        storage.close()
        return _size(Path(directory))


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@contextmanager
def hub(data: Path) -> Iterator[tuple[int, ControlClient]]:
    """A hub as a process of its own."""
    port = free_port()
    data.mkdir(parents=True)
    with (data / "out.log").open("wb") as out:
        command = [sys.executable, "-m", "penstock", "hub", "run", "--data", str(data), "--mqtt-port", str(port)]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    control = ControlClient(data / "run" / "hub.sock", what="the hub")
    try:
        _until(lambda: control.get("/health"), "the hub to start")
        yield port, control
    finally:
        process.terminate()
        process.wait(30)


def _line(name: str, value: float, unit: str, peer_value: float | None, note: str) -> Line:
    return Line(name=name, value=value, unit=unit, peer=PEER if peer_value else None, peer_value=peer_value, note=note)


def _readings(control: ControlClient) -> int:
    return sum(int(each["readings"]) for each in control.get("/devices")["devices"])


def _written(pid: int) -> int:
    lines = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(lines["write_bytes"])


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmRSS"))


def _cpu_s(pid: int) -> float:
    return Server("agent", 0, _Process(pid), Path()).cpu_s()  # type: ignore[arg-type]


class _Process:
    def __init__(self, pid: int) -> None:
        self.pid = pid


def _print_slopes(samples: list[tuple[float, float, float]], what: str) -> None:
    later = samples[len(samples) // 5 :]  # the first fifth warms up
    hours = (later[-1][0] - later[0][0]) / 3600
    mean = sum(at for at, _, _ in later) / len(later)
    spread = sum((at - mean) ** 2 for at, _, _ in later) or 1.0
    rss = sum((at - mean) * rss for at, rss, _ in later) / spread * 3600
    half = len(later) // 2
    cpu = [(part[-1][2] - part[0][2]) / (part[-1][0] - part[0][0]) * 100 for part in (later[: half + 1], later[half:])]
    print(f"{what}, {hours:.2f} h: memory {rss:+.2f} MB an hour, processor {cpu[0]:.2f} % then {cpu[1]:.2f} %")


def _until(probe: object, what: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if probe():  # type: ignore[operator]
                return
        except PenstockError:
            pass
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited 30 s for {what}")
        time.sleep(0.02)
