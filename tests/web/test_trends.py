"""Trends: the key series of each device, in order, bounded, and only of devices that exist."""

from __future__ import annotations

from hub.web.pages.fleet import sparkline
from hub.web.trends import POINTS_MAX, Trends, key_metric
from tests.web.peers import device


def latest(time_ns: int, value: object, metric: str = "oil.pressure") -> dict[str, object]:
    return {"press-001": {metric: {"time_ns": time_ns, "value": value, "quality": 0, "unit": "bar"}}}


def test_the_key_series_is_the_first_that_is_measured() -> None:
    assert key_metric(device()) == "oil.pressure"
    assert key_metric(device(manifest=None)) is None
    counter = {"series": [{"id": 0, "name": "on", "type": "bool"}, {"id": 1, "name": "parts", "type": "int64"}]}
    assert key_metric(device(manifest=counter)) == "parts"


def test_new_readings_are_added_once_and_in_order() -> None:
    trends = Trends()
    assert trends.learn([device()], latest(10, 1.0)) == [("press-001", "oil.pressure")]
    assert trends.learn([device()], latest(10, 1.0)) == []
    trends.learn([device()], latest(9, 5.0))
    trends.learn([device()], latest(20, 2.0))
    assert trends.points("press-001") == [(10, 1.0), (20, 2.0)]


def test_the_past_goes_before_what_was_learnt() -> None:
    trends = Trends()
    trends.learn([device()], latest(30, 3.0))
    trends.recall("press-001", "oil.pressure", [10, 20, 30, 40], [1.0, None, 9.0, 9.0])
    assert trends.points("press-001") == [(10, 1.0), (30, 3.0)]


def test_no_more_than_the_bound_is_kept_and_a_device_that_is_gone_is_forgotten() -> None:
    trends = Trends()
    for time_ns in range(POINTS_MAX + 50):
        trends.learn([device()], latest(time_ns, 1.0))
    assert len(trends.points("press-001")) == POINTS_MAX
    trends.learn([], {})
    assert trends.points("press-001") == []


def test_words_and_missing_readings_are_not_points() -> None:
    trends = Trends()
    trends.learn([device()], latest(1, "pressing"))
    trends.learn([device()], {})
    trends.learn([device()], latest(2, None))
    assert trends.points("press-001") == []


def test_a_sparkline_of_a_flat_series_is_a_line_in_the_middle() -> None:
    assert sparkline([(1, 1.0)]) is None
    drawn = sparkline([(1, 5.0), (2, 5.0)], height=28)
    assert drawn is not None and 'points="0.0,14.0 120.0,14.0"' in drawn
