"""Frames: bytes a reading, decode and encode speed, beside JSON + zlib and Arrow IPC + zstd on the same readings.

20 sensors a device, quantised as real ones are: temperature (0.01 degC), humidity, pressure, power, counters, switches,
float32 vibration, a 12-bit converter, latitude, longitude. `tick`: all sampled at one jittered time; `own`: each alone.
Nothing is declared to the encoder (no resolutions); every decoded reading is compared with what was encoded.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.line import Line
from streams.frames import Block, ClockQuality, Column, Frame, Hints, Kind, encode
from streams.frames.decode_compiled import decode_many
from streams.frames.encode_numpy import encode as encode_numpy

START_NS = 1_790_000_000 * 10**9
MIX = (
    *("temperature",) * 5, *("humidity",) * 3, *("pressure",) * 2, *("power",) * 2, *("counter",) * 2, *("switch",) * 2,
    "vibration", "converter", "latitude", "longitude",
)  # fmt: skip
FRAMES = 40
DECODED_READINGS = 1_000_000
RUNS = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor's readings."""

    name: str
    times_ns: NDArray[np.int64]
    values: Floats


def sensor_values(kind: str, n: int, dice: np.random.Generator) -> Floats:
    """`n` readings at 1 Hz of a sensor of this kind."""
    day = 2 * np.pi * (np.arange(n) + dice.integers(0, 86400)) / 86400

    def walk(step: float) -> Floats:
        return np.cumsum(dice.normal(0, step, n))

    def noise(deviation: float) -> Floats:
        return dice.normal(0, deviation, n)

    switched = (np.cumsum(dice.random(n) < 0.002) % 2).astype(np.float64)
    match kind:
        case "temperature":
            return np.round(21 + 5 * np.sin(day) + walk(0.003) + noise(0.02), 2)
        case "humidity":
            return np.round(55 + 8 * np.sin(day) + noise(0.1), 1)
        case "pressure":
            return np.round(1013 + walk(0.002) + noise(0.03), 2)
        case "power":
            return np.round(40 + 1500 * switched + noise(2), 1)
        case "counter":
            return 123456 + np.cumsum(dice.poisson(3, n)).astype(np.float64)
        case "switch":
            return switched
        case "vibration":
            return noise(0.05).astype(np.float32).astype(np.float64)
        case "converter":
            return np.round(2000 + 300 * np.sin(day) + noise(3)) * 3.3 / 4096
        case "latitude":
            return np.round(48.1371 + walk(2e-6) + noise(3e-7), 7)
        case "longitude":  # NMEA minutes, 5 decimals, as degrees
            return 11 + np.round(34.5123 + walk(1e-4), 5) / 60
    raise ValueError(f"no sensor {kind!r}")


def device(clock: str, n: int, seed: int = 7) -> list[Sensor]:
    """20 sensors with `n` readings each; `clock` is tick or own."""
    dice = np.random.default_rng(seed)

    def times() -> NDArray[np.int64]:
        late_ms = np.round(dice.normal(0, 2, n) + dice.exponential(3, n)).astype(np.int64)
        return START_NS + (np.arange(n) * 1000 + late_ms) * 1_000_000

    shared = times()
    sensors = []
    for number, kind in enumerate(MIX):
        own = times() + int(dice.integers(0, 1000)) * 1_000_000
        chosen = shared if clock == "tick" else own
        sensors.append(Sensor(f"{kind}_{number:02d}", chosen, sensor_values(kind, n, dice)))
    return sensors


def cut(sensors: Sequence[Sensor], clock: str, n: int, *, arrays: bool) -> list[Frame]:
    """Frames of `n` readings a sensor, as lists or as numpy arrays."""
    frames: list[Frame] = []
    sequence = 0
    for at in range(0, len(sensors[0].values) - n + 1, n):
        rows = slice(at, at + n)
        values: list[Any] = [sensor.values[rows] if arrays else sensor.values[rows].tolist() for sensor in sensors]
        columns = [Column(number, Kind.FLOAT64, found) for number, found in enumerate(values)]
        times: list[Any] = [sensor.times_ns[rows] if arrays else sensor.times_ns[rows].tolist() for sensor in sensors]
        blocks = [Block(times[0], columns)] if clock == "tick" else [Block(t, [c]) for t, c in zip(times, columns)]
        frames.append(Frame(1_790_000_000, sequence, 0x12345678, ClockQuality.SYNCHRONISED, blocks))
        sequence += frames[-1].count
    return frames


def seconds(work: Callable[[], object]) -> float:
    """The fastest of a few runs: the machine's other work only ever adds."""
    best = float("inf")
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def encoded(frames: Sequence[Frame], encoder: Callable[..., bytes]) -> list[bytes]:
    """Every frame as bytes, with hints, as an agent keeps them."""
    hints: Hints = {}
    return [encoder(frame, hints=hints) for frame in frames]


def as_json(frame: Frame, names: Sequence[str]) -> bytes:
    """A frame as most devices send it: one object a reading, milliseconds, deflated."""
    readings = [
        {"n": names[column.series], "t": time_ns // 1_000_000, "v": value}
        for block in frame.blocks
        for column in block.columns
        for time_ns, value in zip(block.times_ns, column.values)
    ]
    return zlib.compress(json.dumps(readings, separators=(",", ":")).encode())


def from_json(data: bytes, numbers: dict[str, int]) -> tuple[NDArray[np.int32], NDArray[np.int64], Floats]:
    readings = json.loads(zlib.decompress(data))
    return (
        np.array([numbers[reading["n"]] for reading in readings], np.int32),
        np.array([reading["t"] for reading in readings], np.int64) * 1_000_000,
        np.array([reading["v"] for reading in readings], np.float64),
    )


def as_arrow(frame: Frame) -> bytes:
    """A frame as an Arrow stream, zstd: one row a reading, which is much smaller there than one column a series."""
    pairs = [(block.times_ns, column) for block in frame.blocks for column in block.columns]
    batch = pa.record_batch(
        {
            "series": np.repeat(np.array([column.series for _, column in pairs], np.int32), len(pairs[0][0])),
            "time_ns": np.concatenate([times_ns for times_ns, _ in pairs]),
            "value": np.concatenate([column.values for _, column in pairs]),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def from_arrow(data: Sequence[bytes]) -> list[NDArray[np.generic]]:
    tables = [pa.ipc.open_stream(item).read_all() for item in data]
    return [np.concatenate([table[name].to_numpy() for table in tables]) for name in ("series", "time_ns", "value")]


def check(frames: Sequence[Frame], data: Sequence[bytes]) -> None:
    """Every reading came back, bit for bit; a figure for a codec that loses something is no figure."""
    decoded = decode_many(data)
    times = [block.times_ns for frame in frames for block in frame.blocks for _ in block.columns]
    values = [column.values for frame in frames for block in frame.blocks for column in block.columns]
    assert not decoded.errors
    assert np.array_equal(decoded.time_ns, np.concatenate(times))
    assert np.array_equal(decoded.value.view(np.int64), np.concatenate(values).view(np.int64))


def run() -> Iterator[Line]:
    """The figures of the frame codec."""
    for clock in ("tick", "own"):
        sensors = device(clock, 100 * FRAMES)
        yield from _sizes_and_decoding(clock, sensors)
    yield _encoding_plain(device("tick", 100 * FRAMES))
    yield _encoding_numpy(device("tick", 1000 * 8))


def _sizes_and_decoding(clock: str, sensors: Sequence[Sensor]) -> Iterator[Line]:
    names = [sensor.name for sensor in sensors]
    numbers = {name: number for number, name in enumerate(names)}
    frames = cut(sensors, clock, 100, arrays=False)
    readings = sum(frame.count for frame in frames)
    data = encoded(frames, encode)
    check(frames, data)
    json_data, arrow_data = [as_json(frame, names) for frame in frames], [as_arrow(frame) for frame in frames]
    note = f"Arrow IPC + zstd {sum(map(len, arrow_data)) / readings:.2f}; nothing declared"
    yield Line(
        name=f"frames/bytes/{clock}/n100", value=sum(map(len, data)) / readings, unit="B/reading",
        peer="JSON + zlib", peer_value=sum(map(len, json_data)) / readings, note=note,
    )  # fmt: skip
    repeats = max(1, DECODED_READINGS // readings)
    many = data * repeats
    decode_many(data[:1])
    speed = repeats * readings / seconds(lambda: decode_many(many))
    json_speed = readings / seconds(lambda: [from_json(item, numbers) for item in json_data])
    arrow_speed = readings / seconds(lambda: from_arrow(arrow_data))
    yield Line(
        name=f"frames/decode/{clock}/n100", value=speed, unit="readings/s",
        peer="Arrow IPC + zstd", peer_value=arrow_speed, note=f"JSON + zlib {json_speed / 1e6:.1f} M/s; one core",
    )  # fmt: skip


def _encoding_plain(sensors: Sequence[Sensor]) -> Line:
    names = [sensor.name for sensor in sensors]
    frames = cut(sensors, "tick", 100, arrays=False)
    readings = sum(frame.count for frame in frames)
    spent = seconds(lambda: encoded(frames, encode))
    json_spent = seconds(lambda: [as_json(frame, names) for frame in frames])
    return Line(
        name="frames/encode/python/tick/n100", value=spent / readings * 1e6, unit="us/reading",
        peer="JSON + zlib", peer_value=json_spent / readings * 1e6, note="standard library alone",
    )  # fmt: skip


def _encoding_numpy(sensors: Sequence[Sensor]) -> Line:
    frames = cut(sensors, "tick", 1000, arrays=True)
    readings = sum(frame.count for frame in frames)
    check(frames, encoded(frames, encode_numpy))
    spent = seconds(lambda: encoded(frames, encode_numpy))
    arrow_spent = seconds(lambda: [as_arrow(frame) for frame in frames])
    return Line(
        name="frames/encode/numpy/tick/n1000", value=spent / readings * 1e6, unit="us/reading",
        peer="Arrow IPC + zstd", peer_value=arrow_spent / readings * 1e6, note="the same bytes as plain Python",
    )  # fmt: skip
