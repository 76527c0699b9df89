"""Every question of every dashboard, asked of a real InfluxDB as Grafana's built-in data source asks it."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.dashboards.catalogue import DASHBOARDS
from tests.servers import Server, influxdb

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

DATABASE = "penstock"
DEVICES = ("press-001", "pump-001")
METRICS = ("force.peak", "oil.pressure")
SECONDS = 300


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with influxdb() as running:
        _post(f"{running.url}/query", {"q": f"CREATE DATABASE {DATABASE}"})
        _write(running, _lines(time.time_ns() // 10**9 - SECONDS))
        yield running


def questions() -> list[Any]:
    found = []
    for name, make in DASHBOARDS.items():
        made = make()
        for panel in made["panels"]:
            for target in panel["targets"]:
                found.append(pytest.param(target["query"], id=f"{name}: {panel['title']} {target['refId']}"))
        for annotation in made["annotations"]["list"]:
            found.append(pytest.param(annotation["target"]["query"], id=f"{name}: annotation {annotation['name']}"))
    return found


@pytest.mark.parametrize("query", questions())
def test_a_question_is_answered_with_data(server: Server, query: str) -> None:
    series = ask(server, interpolated(query, metric="oil.pressure"))
    assert series, query
    values = [row[1:] for each in series for row in each["values"]]
    assert any(value is not None for row in values for value in row), query


@pytest.mark.parametrize("query", questions())
def test_a_question_is_answered_for_all_series_at_once(server: Server, query: str) -> None:
    assert ask(server, interpolated(query, metric="(force\\.peak|oil\\.pressure)"))


def test_the_variables_offer_what_is_stored(server: Server) -> None:
    offered = {}
    for variable in DASHBOARDS["device"]()["templating"]["list"]:
        series = ask(server, interpolated(variable["query"], metric="x"))
        offered[variable["name"]] = sorted(row[1] for each in series for row in each["values"])
    assert offered == {"device": sorted(DEVICES), "metric": sorted(METRICS)}


def test_the_figures_are_right(server: Server) -> None:
    fleet = {panel["title"]: panel["targets"][0]["query"] for panel in DASHBOARDS["fleet"]()["panels"]}
    assert figure(server, fleet["Devices that sent"]) == len(DEVICES)
    assert figure(server, fleet["Readings stored"]) == len(DEVICES) * len(METRICS) * SECONDS
    assert figure(server, fleet["Alarms opened"]) == 2
    assert figure(server, fleet["Alarms open"]) == 1
    rates = [row[1] for each in ask(server, interpolated(fleet["Readings per second"])) for row in each["values"]]
    assert max(rates) == pytest.approx(len(METRICS))


def figure(server: Server, query: str) -> Any:
    (series,) = ask(server, interpolated(query))
    return series["values"][0][1]


def interpolated(query: str, *, device: str = "press-001", metric: str = "oil.pressure") -> str:
    """As the data source does: the chosen range, the bucket, the variables."""
    now_ms = time.time_ns() // 1_000_000
    query = query.replace("$timeFilter", f"time >= {now_ms - 900_000}ms and time <= {now_ms + 60_000}ms")
    query = query.replace("$__interval_ms", "10000").replace("$__interval", "10s")
    query = query.replace("$device", device).replace("$metric", metric)
    assert not re.search(r"\$\w", query), f"a variable is left in: {query}"
    return query


def ask(server: Server, query: str) -> list[dict[str, Any]]:
    """The series of the one answer."""
    answer = _post(f"{server.url}/query?db={DATABASE}&epoch=ms", {"q": query})
    (result,) = json.loads(answer)["results"]
    assert "error" not in result, f"{query}: {result}"
    found: list[dict[str, Any]] = result.get("series", [])
    return found


def _lines(start_s: int) -> str:
    rows = []
    for device in DEVICES:
        for metric_index, metric in enumerate(METRICS):
            for second in range(SECONDS):
                fields = f"value={100 + second % 7},quality=0i,epoch=1i,sequence={second * 2 + metric_index}i"
                rows.append(f"reading,device={device},metric={metric} {fields} {(start_s + second) * 10**9}")
    for state, offset in (("open", 200), ("closed", 100)):
        fields = f'state="{state}",strength=7.5,message="oil.pressure is 20 bar above what is usual"'
        rows.append(f"alarm,device=press-001,metric=oil.pressure,detector=level {fields} {(start_s + offset) * 10**9}")
    return "\n".join(rows)


def _write(server: Server, lines: str) -> None:
    url = f"{server.url}/api/v2/write?bucket={DATABASE}&precision=ns"
    request = urllib.request.Request(url, data=lines.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 204


def _post(url: str, form: dict[str, str]) -> bytes:
    data = urllib.parse.urlencode(form).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data, method="POST"), timeout=30) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{form}: {error.read().decode('utf-8', 'replace')}") from None
