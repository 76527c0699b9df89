"""What the API asks of InfluxDB, in InfluxQL, which 1.8 and 2 both answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from processors.stores.influx_server import InfluxServer, identifier, literal
from processors.stores.line_protocol import READING
from streams.frames import Kind, Quality

_COLUMNS = ("metric", "value", "integer", "text", "time_ns", "quality", "epoch", "sequence")


def buckets(
    server: InfluxServer, device: str, metric: str, *, start_ns: int, end_ns: int, bucket_ns: int
) -> dict[str, list[Any]]:
    """Mean, minimum, maximum and count of a series, and where readings are bad; buckets begin at multiples of
    `bucket_ns`.
    """
    where = f"{_is('device', device)} AND {_is('metric', metric)} AND {_between(start_ns, end_ns)}"
    rest = f"GROUP BY time({bucket_ns}ns) fill(none)"
    wanted = "MEAN(value), MIN(value), MAX(value), COUNT(value)"
    names = ("time_ns", "mean", "min", "max", "count")
    found: dict[str, list[Any]] = {name: [] for name in (*names, "bad_ns")}
    means = f'SELECT {wanted} FROM "{READING}" WHERE {where} {rest}'
    bad = f'SELECT COUNT(quality) FROM "{READING}" WHERE {where} AND quality = {Quality.BAD.value} {rest}'
    for statement, series in server.ask(f"{means}; {bad}"):
        if statement == 1:
            found["bad_ns"] += [time_ns for time_ns, count in series["values"] if count]
            continue
        whole = [row for row in series["values"] if None not in row]  # a bucket that is written just now is not
        for name, column in zip(names, zip(*whole)):
            found[name] += column if name in ("time_ns", "count") else map(float, column)
    return found


def readings(
    server: InfluxServer, device: str, kinds: Mapping[str, str], *, start_ns: int, end_ns: int, limit: int
) -> dict[str, list[Any]]:
    """Readings of a device by their own time, in the order of their numbers. `kinds`: metric to kind."""
    select = f'SELECT {", ".join(map(identifier, _COLUMNS))} FROM "{READING}" WHERE {_is("device", device)}'
    at_their_time = f"{select} AND {_between(start_ns, end_ns)} LIMIT {limit}"
    elsewhere = f'{select} AND "time_ns" >= {start_ns} AND "time_ns" < {end_ns} LIMIT {limit}'
    rows: list[tuple[Any, ...]] = []
    for statement, series in server.ask(f"{at_their_time}; {elsewhere}"):
        for point_ns, metric, value, integer, text, time_ns, quality, epoch, sequence in series["values"]:
            if (time_ns is not None) == (statement == 1):
                shown = _value(value, integer, kinds.get(metric))
                rows.append((metric, point_ns if time_ns is None else time_ns, shown, text, quality, epoch, sequence))
    rows.sort(key=lambda row: (row[5], row[6]))
    names = ("metric", "time_ns", "value", "text", "quality", "epoch", "sequence")
    columns = zip(*rows[:limit]) if rows else ((),) * len(names)
    return {name: list(column) for name, column in zip(names, columns)}


def _value(value: float | None, integer: int | None, kind: str | None) -> float | int | None:
    if integer is not None or value is None:
        return integer
    return int(value) if kind == Kind.INT64 else float(value)


def _is(tag: str, value: str) -> str:
    return f"{identifier(tag)} = {literal(value)}"


def _between(start_ns: int, end_ns: int) -> str:
    least, most = np.iinfo(np.int64).min + 2, np.iinfo(np.int64).max - 1  # what InfluxDB takes as a time
    return f"time >= {max(start_ns, least)} AND time < {min(end_ns, most)}"
