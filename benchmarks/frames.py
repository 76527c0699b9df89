"""Frames: bytes a reading, decode and encode speed, beside JSON, Sparkplug B and Arrow IPC on the same readings.

The readings are those of `readings`: 20 sensors a device, 100 readings each in a frame (n100) or 1000. `tick`: all
sensors of a device sampled at one jittered time; `own`: each at its own. Nothing is declared to the encoder (no
resolutions); every reading that any of the codecs gives back is compared with what was encoded. Bytes and microseconds
are those of one reading. One core: nothing here uses threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.frame_peers import ARROW_ZSTD, JSON, JSON_ZLIB, PEERS, SPARKPLUG_ZLIB, Peer
from benchmarks.line import Line
from benchmarks.readings import Sensor, device
from streams.frames import Block, ClockQuality, Column, Frame, Hints, Kind, encode
from streams.frames.decode_compiled import decode_many
from streams.frames.encode_numpy import encode as encode_numpy

PEER_FRAMES = 20
"""Frames that the slower codecs are measured with."""
PLAIN_FRAMES = 50
RUNS = 25
PEER_RUNS = 5


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


def readings_of(frames: Sequence[Frame]) -> int:
    return sum(frame.count for frame in frames)


def seconds(work: Callable[[], object], runs: int = RUNS) -> float:
    """The fastest of a few runs: the machine's other work only ever adds."""
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def encoded(frames: Sequence[Frame], encoder: Callable[..., bytes]) -> list[bytes]:
    """Every frame as bytes, with hints, as an agent keeps them."""
    hints: Hints = {}
    return [encoder(frame, hints=hints) for frame in frames]


def check(frames: Sequence[Frame], series: Any, times_ns: Any, values: Any) -> None:
    """Every reading came back, bit for bit; a figure for a codec that loses something is no figure."""
    columns = [(block.times_ns, column) for frame in frames for block in frame.blocks for column in block.columns]
    assert np.array_equal(series, np.repeat([column.series for _, column in columns], len(columns[0][0])))
    assert np.array_equal(times_ns, np.concatenate([times for times, _ in columns]))
    wanted = np.concatenate([column.values for _, column in columns])
    assert np.array_equal(np.asarray(values).view(np.int64), wanted.view(np.int64))


def check_ours(frames: Sequence[Frame], data: Sequence[bytes]) -> None:
    decoded = decode_many(data)
    assert not decoded.errors
    check(frames, decoded.series, decoded.time_ns, decoded.value)


def run() -> Iterator[Line]:
    """The figures of the frame codec."""
    for clock in ("tick", "own"):
        yield from _sizes_and_decoding(clock)
    yield _encoding_plain("tick")
    yield _encoding_plain("own")
    yield _encoding_numpy()


def _sizes_and_decoding(clock: str) -> Iterator[Line]:
    sensors = device(clock)
    frames = cut(sensors, clock, 100, arrays=False)
    readings = readings_of(frames)
    data = encoded(frames, encode)
    check_ours(frames, data)
    names = [sensor.name for sensor in sensors]
    theirs = {peer.name: [peer.encode(frame, names) for frame in frames[:PEER_FRAMES]] for peer in PEERS}
    few = readings_of(frames[:PEER_FRAMES])
    sizes = {name: sum(map(len, items)) / few for name, items in theirs.items()}
    yield Line(
        name=f"frames/bytes/{clock}/n100", value=sum(map(len, data)) / readings, unit="bytes",
        peer=ARROW_ZSTD.name, peer_value=sizes[ARROW_ZSTD.name],
        note=beside(sizes, JSON, JSON_ZLIB, SPARKPLUG_ZLIB),
    )  # fmt: skip
    speeds = {
        peer.name: few / seconds(lambda peer=peer: peer.decode(theirs[peer.name], names), PEER_RUNS) / 1e6
        for peer in PEERS
    }
    for peer in PEERS:
        check(frames[:PEER_FRAMES], *peer.decode(theirs[peer.name], names))
    yield Line(
        name=f"frames/decode/{clock}/n100", value=readings / seconds(lambda: decode_many(data)), unit="readings/s",
        peer=ARROW_ZSTD.name, peer_value=speeds[ARROW_ZSTD.name] * 1e6,
        note=f"million/s: {beside(speeds, JSON, JSON_ZLIB, SPARKPLUG_ZLIB)}",
    )  # fmt: skip


def _encoding_plain(clock: str) -> Line:
    sensors = device(clock)
    frames = cut(sensors, clock, 100, arrays=False)[:PLAIN_FRAMES]
    spent = seconds(lambda: encoded(frames, encode), 15)
    some, names = frames[:PEER_FRAMES], [sensor.name for sensor in sensors]
    others = {peer.name: _spent_us(peer, some, names) for peer in (JSON, JSON_ZLIB, SPARKPLUG_ZLIB)}
    return Line(
        name=f"frames/encode/python/{clock}/n100", value=spent / readings_of(frames) * 1e6, unit="us",
        peer=JSON_ZLIB.name, peer_value=others[JSON_ZLIB.name],
        note=f"standard library alone; {beside(others, JSON, SPARKPLUG_ZLIB)}",
    )  # fmt: skip


def _encoding_numpy() -> Line:
    sensors = device("tick")
    frames = cut(sensors, "tick", 1000, arrays=True)
    data = encoded(frames, encode_numpy)
    assert data == encoded(cut(sensors, "tick", 1000, arrays=False), encode), "plain Python makes the same bytes"
    check_ours(frames, data)
    spent = seconds(lambda: encoded(frames, encode_numpy), 15)
    others = {peer.name: _spent_us(peer, frames, []) for peer in (ARROW_ZSTD,)}
    return Line(
        name="frames/encode/numpy/tick/n1000", value=spent / readings_of(frames) * 1e6, unit="us",
        peer=ARROW_ZSTD.name, peer_value=others[ARROW_ZSTD.name],
        note=f"the same bytes as plain Python, {sum(map(len, data)) / readings_of(frames):.3f} B/reading",
    )  # fmt: skip


def _spent_us(peer: Peer, frames: Sequence[Frame], names: Sequence[str]) -> float:
    return seconds(lambda: [peer.encode(frame, names) for frame in frames], PEER_RUNS) / readings_of(frames) * 1e6


def beside(figures: dict[str, float], *peers: Peer) -> str:
    """The other peers of a line."""
    return ", ".join(f"{peer.name} {figures[peer.name]:.3g}" for peer in peers)
