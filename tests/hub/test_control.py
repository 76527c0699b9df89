"""The control API as the other processes use it: over its socket, with the client that they use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hub.admission import Admission
from hub.control import ControlApi
from hub.events import dump
from hub.intake import Client
from hub.ledger import reconcile
from hub.settings import DeviceSettings
from streams import names
from streams.control import ControlClient, serving
from streams.errors import MisuseError, PenstockError, TryLaterError
from tests.hub.conftest import Parts, until
from tests.hub.records import MANIFEST, frame
from tests.hub.test_admission import Inner

Ask = Callable[..., Awaitable[Any]]


class Shown(Parts):
    """The parts, as the control API wants them."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        settings = DeviceSettings(admission="registered", registered=("press",))
        self.admission = Admission(Inner(), settings, self.registry, clock=self.clock, metrics=self.metrics)

    def health(self) -> dict[str, Any]:
        return {"status": "ok", "problems": []}

    def positions(self) -> list[dict[str, int]]:
        return [{"partition": 0, "offset": self.projections.position(names.TELEMETRY, 0)}]


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Shown]:
    made = Shown(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def ask(hub: Shown, tmp_path: Path) -> AsyncIterator[Ask]:
    """Ask the API: `await ask("GET", "/devices")`."""
    client = ControlClient(tmp_path / "hub.sock", what="the hub")

    async def request(method: str, route: str, body: Any = None, **query: Any) -> Any:
        return await asyncio.to_thread(client.request, method, route, body=body, query=query)

    async with serving(ControlApi(hub).application(), tmp_path / "hub.sock"):
        await until((tmp_path / "hub.sock").exists)
        yield request


async def test_devices_are_shown_with_what_was_received_of_them(hub: Shown, ask: Ask) -> None:
    press = await hub.meet("press")
    await hub.take(press, (names.MANIFEST, dump(MANIFEST)), (names.FRAMES, frame(7, 0, 5)))
    await hub.take(press, (names.FRAMES, frame(7, 0, 5)))
    await until(lambda: hub.registry.get("press").manifest)
    answer = await ask("GET", "/devices")
    assert answer["refused"] == []
    (device,) = answer["devices"]
    assert device == await ask("GET", "/devices/press")
    assert (device["device"], device["online"], device["frames"], device["readings"]) == ("press", True, 1, 5)
    assert device["manifest"] == MANIFEST and device["address"] == "127.0.0.1:9"


async def test_refused_devices_are_shown(hub: Shown, ask: Ask) -> None:
    hub.admission.admit(Client("lathe", None, "10.0.0.1:1", 4), None)
    (refused,) = (await ask("GET", "/devices"))["refused"]
    assert (refused["device"], refused["address"], refused["count"]) == ("lathe", "10.0.0.1:1", 1)


async def test_an_unknown_device_is_not_found_and_the_nearest_is_named(hub: Shown, ask: Ask) -> None:
    await hub.meet("press")
    with pytest.raises(MisuseError, match="did you mean press"):
        await ask("GET", "/devices/pres")


async def test_a_command_is_made_listed_waited_for_and_cancelled(hub: Shown, ask: Ask) -> None:
    press = await hub.meet("press")
    body = {"device": "press", "name": "go", "arguments": {"n": 1}, "deadline_s": 5, "key": "k1"}
    made = await ask("POST", "/commands", body)
    assert made["state"] == "queued" and made["deadline_ms"] - made["created_ms"] == 5000
    assert await ask("POST", "/commands", body) == made, "asked twice"
    other = await ask("POST", "/commands", {"device": "press", "name": "stop"})
    assert other["deadline_ms"] - other["created_ms"] == 60_000
    listed = (await ask("GET", "/commands"))["commands"]
    assert [each["key"] for each in listed] == [other["key"], "k1"]
    assert [each["key"] for each in (await ask("GET", "/commands", limit=1))["commands"]] == [other["key"]]
    assert (await ask("GET", "/commands", device="lathe"))["commands"] == []
    assert (await ask("DELETE", f"/commands/{other['key']}"))["state"] == "cancelled"
    waiting = asyncio.create_task(ask("GET", "/commands/k1", wait_s=30))
    await asyncio.sleep(0)
    await hub.take(press, (names.RESULTS, b'{"key": "k1", "step": 1, "state": "succeeded", "result": [1, "\\ud800"]}'))
    assert (await waiting)["state"] == "succeeded"
    with pytest.raises(MisuseError, match="has ended already"):
        await ask("DELETE", "/commands/k1")
    assert (await ask("GET", "/commands/k1"))["history"][-1]["state"] == "succeeded"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"device": "lathe", "name": "go"}, "no device 'lathe'"),
        ({"device": "press"}, "name must be text"),
        ({"name": "go"}, "device must be text"),
        ({"device": "press", "name": "go", "arguments": [1]}, "arguments must be an object"),
        ({"device": "press", "name": "go", "deadline_s": -1}, "deadline_s"),
        ({"device": "press", "name": "go", "deadline_s": "1"}, "deadline_s must be a number"),
        ({"device": "press", "name": "go", "key": "a b"}, "cannot be the key"),
        ({"device": "press", "name": "go", "arguments": {"x": "y" * 300_000}}, "takes at most"),
        ([], "must be one JSON object"),
        ({"device": "press", "name": "go", "arguments": {"x": float("nan")}}, "not JSON"),
    ],
)
async def test_a_bad_command_is_refused_with_a_sentence(hub: Shown, ask: Ask, body: Any, fault: str) -> None:
    await hub.meet("press")
    with pytest.raises(MisuseError, match=fault):
        await ask("POST", "/commands", body)


async def test_too_many_open_commands_are_to_be_tried_later(hub: Shown, ask: Ask) -> None:
    await hub.meet("press")
    for _ in range(3):
        await ask("POST", "/commands", {"device": "press", "name": "go"})
    with pytest.raises(TryLaterError, match="open already"):
        await ask("POST", "/commands", {"device": "press", "name": "go"})


async def test_the_ledger_is_what_reconcile_takes(hub: Shown, ask: Ask) -> None:
    press = await hub.meet("press")
    await hub.take(press, (names.FRAMES, frame(7, 0, 5)))
    await hub.take(press, (names.ACCOUNT, b'{"epoch": 7, "produced": 9, "time_ms": 3, "held": [[5, 9]]}'))
    answer = await ask("GET", "/ledger")
    assert answer["partitions"] == [{"partition": 0, "offset": 1}]
    ledger = reconcile(answer, None)
    assert (ledger.totals.produced, ledger.totals.logged, ledger.totals.held) == (9, 5, 4) and ledger.balanced


@pytest.mark.parametrize(
    ("route", "query"),
    [("/commands", {"limit": "x"}), ("/commands", {"limit": -1}), ("/commands/k", {"wait_s": 1e9})],
)
async def test_a_bad_question_is_refused(ask: Ask, route: str, query: dict[str, Any]) -> None:
    with pytest.raises(MisuseError, match="must be a number from 0 to"):
        await ask("GET", route, **query)


async def test_what_is_not_there_is_said(ask: Ask) -> None:
    with pytest.raises(MisuseError, match="there is no GET /nothing here"):
        await ask("GET", "/nothing")
    with pytest.raises(PenstockError, match="there is no PUT /devices here"):
        await ask("PUT", "/devices")


async def test_a_defect_is_an_answer_too(
    hub: Shown, ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hub, "health", lambda: 1 / 0)
    with pytest.raises(PenstockError, match="its log says why"):
        await ask("GET", "/health")
    assert "ZeroDivisionError" in caplog.text


async def test_metrics_are_prometheus_text(hub: Shown, ask: Ask) -> None:
    press = await hub.meet("press")
    await hub.take(press, (names.FRAMES, frame(7, 0, 5)))
    assert 'penstock_hub_messages_total{channel="frames"} 1\n' in await ask("GET", "/metrics")


def test_what_is_written_is_plain_ascii_json() -> None:
    assert json.loads(dump({"a": "\ud800 ü"})) == {"a": "\ud800 ü"} and dump("ü").isascii()
