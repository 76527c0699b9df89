from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.metrics import Metrics

_LINE = re.compile(r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[a-z]+="((?:[^"\\\n]|\\\\|\\"|\\n)*)"\})? \S+$')


def test_counters_and_gauges_are_shown_as_prometheus_reads_them() -> None:
    metrics = Metrics()
    metrics.counter("b_total", "All b.", device="x", channel="frames").increment(3)
    metrics.counter("b_total", "All b.", device="a", channel="frames").increment()
    metrics.gauge("a_bytes", "How many\nbytes.").set(1.5)
    assert metrics.render() == (
        "# HELP a_bytes How many\\nbytes.\n"
        "# TYPE a_bytes gauge\n"
        "a_bytes 1.5\n"
        "# HELP b_total All b.\n"
        "# TYPE b_total counter\n"
        'b_total{channel="frames",device="a"} 1\n'
        'b_total{channel="frames",device="x"} 3\n'
    )


def test_no_metrics_are_an_empty_page() -> None:
    assert Metrics().render() == ""


def test_the_same_name_and_labels_are_the_same_counter() -> None:
    metrics = Metrics()
    metrics.counter("x_total", "X.", a="1", b="2").increment()
    metrics.counter("x_total", "X.", b="2", a="1").increment()
    assert metrics.counter("x_total", "X.", a="1", b="2").value == 2


def test_a_gauge_that_follows_is_asked_each_time() -> None:
    metrics = Metrics()
    queue: list[int] = []
    metrics.gauge("queue", "Length.").follow(lambda: len(queue))
    queue.append(1)
    assert "queue 1\n" in metrics.render()
    queue.append(2)
    assert "queue 2\n" in metrics.render()


def test_a_counter_shows_what_another_has_counted() -> None:
    metrics = Metrics()
    counts = {"in": 3}
    metrics.counter("in_total", "In.").follow(lambda: counts["in"])
    counts["in"] += 1
    assert metrics.render().endswith("in_total 4\n")


@pytest.mark.parametrize(
    ("value", "text"), [(float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (-3, "-3")]
)
def test_special_numbers_have_prometheus_names(value: float, text: str) -> None:
    metrics = Metrics()
    metrics.gauge("g", "G.").set(value)
    assert metrics.render().endswith(f"g {text}\n")


def test_a_counter_never_goes_down() -> None:
    with pytest.raises(ValueError, match="cannot go down"):
        Metrics().counter("x_total", "X.").increment(-1)


def test_a_name_has_one_kind() -> None:
    metrics = Metrics()
    metrics.counter("x", "X.")
    with pytest.raises(ValueError, match="x is a counter already"):
        metrics.gauge("x", "X.")


@pytest.mark.parametrize("name", ["", "1x", "a-b", "a b", "ä"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a metric name"):
        Metrics().counter(name, "X.")


def test_a_bad_label_is_refused() -> None:
    with pytest.raises(ValueError, match="not a label"):
        Metrics().counter("x_total", "X.", **{"a-b": "1"})


def test_counting_from_several_threads_loses_nothing() -> None:
    counter = Metrics().counter("x_total", "X.")
    threads = [threading.Thread(target=lambda: [counter.increment() for _ in range(5000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 20000


@given(st.text())
def test_any_label_value_stays_on_its_line_and_in_its_quotes(value: str) -> None:
    metrics = Metrics()
    metrics.gauge("g", "G.", label=value).set(1)
    lines = metrics.render().split("\n")
    assert len(lines) == 4
    match = _LINE.match(lines[2])
    assert match
    unescaped = re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), match[2])
    assert unescaped == value
