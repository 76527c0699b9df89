"""The HTTP API: what the peers say is passed on, what is wrong is a sentence, and OpenAPI tells all of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.web import schema
from hub.web.api import PREFIX, application
from hub.web.backend import Backend
from streams.metrics import Metrics
from tests.web.peers import NOW_NS, Hub, Processors, account, command, device, running, stored


@contextlib.asynccontextmanager
async def api(data: Path, hub: Hub | None, processors: Processors | None) -> AsyncIterator[httpx.AsyncClient]:
    async with running(data, hub, processors), Backend.of(data) as backend:
        transport = httpx.ASGITransport(app=application(backend, Metrics()))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1{PREFIX}") as client:
            yield client


async def test_answers_are_passed_on_in_the_shapes_that_are_documented(tmp_path: Path) -> None:
    hub = Hub(commands={"01J": command()}, accounts=[account(10, [[0, 10]])])
    span = {"start_ns": NOW_NS - 60 * 10**9, "end_ns": NOW_NS}
    shapes: list[tuple[str, dict[str, Any], type[schema.Shape]]] = [
        ("/devices", {}, schema.Devices),
        ("/devices/press-001", {}, schema.DeviceDetail),
        ("/series", {"device": "press-001", "metric": "oil.pressure", **span}, schema.Series),
        ("/alarms", {"state": "open", "device": "press-001"}, schema.Alarms),
        ("/commands", {"limit": 5}, schema.Commands),
        ("/commands/01J", {}, schema.Command),
        ("/ledger", {}, schema.Ledger),
        ("/health", {}, schema.Health),
    ]
    async with api(tmp_path, hub, Processors(accounts=[stored([[0, 4]])])) as client:
        for path, query, shape in shapes:
            answer = await client.get(path, params=query)
            assert answer.status_code == 200, answer.text
            shape.model_validate(answer.json())


async def test_a_device_comes_with_its_latest_readings(tmp_path: Path) -> None:
    async with api(tmp_path, Hub(), Processors()) as client:
        answer = (await client.get("/devices/press-001")).json()
    assert answer["readings"] == 1000 and answer["latest"]["oil.pressure"]["value"] == 201.0


async def test_the_question_reaches_the_peer_as_it_was_asked(tmp_path: Path) -> None:
    processors = Processors()
    query = {"device": "press-001", "metric": "oil.pressure", "start_ns": "1", "end_ns": "2", "points": "50"}
    async with api(tmp_path, None, processors) as client:
        await client.get("/series", params=query)
        await client.get("/alarms", params={"state": "closed", "limit": 7})
    assert processors.asked == [query, {"state": "closed", "limit": "7"}]


async def test_a_command_is_sent_once_seen_and_cancelled(tmp_path: Path) -> None:
    body = {"device": "press-001", "name": "identify", "key": "mine"}
    async with api(tmp_path, Hub(), None) as client:
        first, second = await client.post("/commands", json=body), await client.post("/commands", json=body)
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json()
        assert (await client.get("/commands/mine", params={"wait_s": 0.1})).json()["state"] == "queued"
        assert (await client.delete("/commands/mine")).json()["state"] == "cancelled"
        assert (await client.delete("/commands/mine")).status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/devices/pres-001", None, 404, "the nearest is press-001"),
        ("GET", "/devices/a%3Fb%23c", None, 404, "there is no device a?b#c"),
        ("GET", "/commands/none", None, 404, "there is no command none"),
        ("POST", "/commands", {"device": "nobody", "name": "identify"}, 404, "there is no device nobody"),
        ("POST", "/commands", {"device": "press-001"}, 400, "name: field required"),
        ("POST", "/commands", {"device": "press-001", "name": "x", "urgent": 1}, 400, "urgent"),
        ("POST", "/commands", {"device": "press-001", "name": "x", "deadline_s": -1}, 400, "deadline_s"),
        ("POST", "/commands", [], 400, "the body"),
        ("GET", "/alarms?state=loud", None, 400, "state: input should be 'open', 'closed' or 'all', not 'loud'"),
        ("GET", "/series?device=x", None, 400, "metric: field required"),
        ("GET", "/nothing", None, 404, "openapi.json"),
        ("PUT", "/devices", None, 404, "openapi.json"),
    ],
)
async def test_what_is_wrong_is_said_in_a_sentence(
    tmp_path: Path, method: str, path: str, body: Any, status: int, says: str
) -> None:
    async with api(tmp_path, Hub(), Processors()) as client:
        answer = await client.request(method, path, json=body)
    assert (answer.status_code, set(answer.json())) == (status, {"error"}), answer.text
    assert says in answer.json()["error"]


async def test_a_peer_that_is_away_is_503_and_health_says_which(tmp_path: Path) -> None:
    async with api(tmp_path, None, Processors()) as client:
        answer = await client.get("/devices")
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        assert "the hub is away" in answer.json()["error"]
        health = (await client.get("/health")).json()
    assert (health["status"], health["hub"]["status"], health["processors"]["status"]) == ("degraded", "away", "ok")
    assert len(health["problems"]) == 1


async def test_a_peer_that_is_busy_says_when_to_ask_again(tmp_path: Path) -> None:
    async with api(tmp_path, Hub(busy=True), None) as client:
        answer = await client.get("/devices")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert answer.json() == {"error": "the disk is full"}


async def test_a_device_is_shown_without_the_processors(tmp_path: Path) -> None:
    async with api(tmp_path, Hub(), None) as client:
        answer = await client.get("/devices/press-001")
    assert answer.status_code == 200 and answer.json()["latest"] is None


async def test_the_ledger_is_made_of_both_sides(tmp_path: Path) -> None:
    hub = Hub(accounts=[account(100, [[0, 60], [70, 100]])])
    async with api(tmp_path, hub, Processors(accounts=[stored([[0, 60], [70, 90]])])) as client:
        ledger = (await client.get("/ledger")).json()
    assert ledger["totals"]["stored"] == 80 and ledger["balanced"] is False
    assert [60, 70] in ledger["accounts"][0]["lost_ranges"]
    assert ledger["processors_away"] is None


async def test_without_the_processors_what_was_received_is_in_flight(tmp_path: Path) -> None:
    async with api(tmp_path, Hub(accounts=[account(10, [[0, 10]])]), None) as client:
        ledger = (await client.get("/ledger")).json()
    assert ledger["totals"]["in_flight"] == {"held": 0, "logged": 10} and ledger["totals"]["lost"] == 0
    assert "the processors are away" in ledger["processors_away"]


async def test_metrics_of_all_processes_with_who_is_up(tmp_path: Path) -> None:
    async with api(tmp_path, Hub(), None) as client:
        text = (await client.get("/metrics")).text
        text = (await client.get("/metrics")).text
    assert "penstock_hub_frames_total 5" in text
    assert 'penstock_up{process="hub"} 1' in text and 'penstock_up{process="processors"} 0' in text


async def test_openapi_says_what_everything_is(tmp_path: Path) -> None:
    async with api(tmp_path, None, None) as client:
        described = (await client.get("/openapi.json")).json()
    assert described["info"]["description"].strip() and described["info"]["version"]
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) == 11
    for name, operation in operations:
        assert operation["summary"] and operation["description"] and operation["tags"], name
        assert "503" in operation["responses"], name
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{name}: {parameter['name']}"
        good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        assert "$ref" in str(good) or name.endswith("/metrics"), name


async def test_no_page_of_the_api_needs_the_internet(tmp_path: Path) -> None:
    async with api(tmp_path, None, None) as client:
        for path in ("http://127.0.0.1/docs", "http://127.0.0.1/redoc"):
            assert (await client.get(path)).status_code == 404


def test_the_shapes_take_what_the_peers_may_leave_empty() -> None:
    schema.Device.model_validate(device(manifest=None, manifest_id=None, address=None, agent=None))
