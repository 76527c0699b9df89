"""The newest value of every series."""

from __future__ import annotations

import json

import numpy as np

from processors.latest import Last, Latest
from processors.manifests import SeriesInfo
from processors.rows import Rows, no_rows
from processors.series import SeriesTable
from streams.frames import KIND_CODES, Kind

TABLE = SeriesTable([(0, SeriesInfo("d", "a", unit="bar")), (1, SeriesInfo("e", "state"))])


def rows(*readings: tuple[int, int, int, float]) -> Rows:
    """(series, sequence, time, value) of epoch 1."""
    count = len(readings)
    series, sequence, time_ns, value = zip(*readings)
    return Rows(
        np.array(series, np.int32), np.zeros(count, np.uint8), np.array(time_ns, np.int64), np.array(value),
        np.zeros(count, np.int64), np.full(count, -1, np.int32), np.zeros(count, np.uint8), np.ones(count, np.int64),
        np.array(sequence, np.int64), np.zeros(count, np.int32), np.zeros(count, np.int64),
    )  # fmt: skip


def test_the_newest_of_each_series_is_kept() -> None:
    latest = Latest()
    latest.take(rows((0, 5, 50, 5.0), (1, 6, 60, 6.0), (0, 7, 70, 7.0)))
    latest.take(no_rows())
    latest.take(rows((0, 6, 55, 99.0)))  # late
    answer = latest.to_json(TABLE)["devices"]
    assert answer["d"]["a"] == {"time_ns": 70, "value": 7.0, "quality": "good", "unit": "bar"}
    assert answer["e"]["state"]["value"] == 6.0
    assert list(latest.to_json(TABLE, "e")["devices"]) == ["e"]
    assert latest.to_json(TABLE, "nobody") == {"devices": {}}
    assert (latest.time_ns(0), latest.time_ns(None), latest.time_ns(7)) == (70, 0, 0)


def test_a_clock_that_was_ahead_once_hides_nothing() -> None:
    latest = Latest()
    latest.take(rows((0, 1, 1 << 62, 1.0)))
    latest.take(rows((0, 2, 20, 2.0)))
    assert latest.to_json(TABLE)["devices"]["d"]["a"]["value"] == 2.0
    latest.take(rows((0, 3, 1 << 61, 3.0), (0, 4, 40, 4.0)))
    assert latest.to_json(TABLE)["devices"]["d"]["a"]["value"] == 4.0


def test_a_new_epoch_is_newer_though_its_numbers_begin_anew() -> None:
    latest = Latest()
    latest.take(rows((0, 1000, 10, 1.0)))
    second = rows((0, 0, 20, 2.0))
    second.epoch[:] = 2
    latest.take(second)
    latest.take(rows((0, 1001, 30, 3.0)))
    assert latest.to_json(TABLE)["devices"]["d"]["a"]["value"] == 2.0


def test_what_comes_now_replaces_what_the_store_remembers() -> None:
    latest = Latest([(0, Last(1 << 62, 9.0, 0)), (1, Last(5, "on", 2))])
    assert latest.to_json(TABLE)["devices"]["e"]["state"] == {
        "time_ns": 5,
        "value": "on",
        "quality": "bad",
        "unit": None,
    }
    latest.take(rows((0, 3, 30, 3.0)))
    assert latest.to_json(TABLE)["devices"]["d"]["a"]["value"] == 3.0


def test_values_that_json_cannot_say_and_words() -> None:
    latest = Latest()
    mixed = rows((0, 1, 1, float("nan")), (1, 2, 2, float("nan")))
    mixed.text[1], mixed.texts, mixed.kind[1] = 0, ["running"], KIND_CODES[Kind.TEXT]
    latest.take(mixed)
    answer = json.loads(json.dumps(latest.to_json(TABLE), allow_nan=False))["devices"]
    assert (answer["d"]["a"]["value"], answer["e"]["state"]["value"]) == (None, "running")
