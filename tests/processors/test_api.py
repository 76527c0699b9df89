"""The query API, asked as the hub's web process and the command line ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import processors.api
from processors.api import Api
from processors.settings import ProcessorsSettings
from streams.control import ControlClient, serving
from streams.errors import DiskError, MisuseError, TryLaterError
from streams.files import DiskFiles
from streams.frames import Kind
from streams.names import TELEMETRY
from tests.processors.world import NOW_NS, SECOND_NS, Log, Processors, block, frame, manifest, simple

PAYLOAD = manifest({"name": "level", "unit": "bar", "maximum": 10.0}, {"name": "state", "type": "text"})

LEVEL = {"device": "d", "metric": "level"}


class World:
    """Processors with a little of everything, and a client of their API."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.log = Log(data)
        self.log.manifest("d", PAYLOAD)
        self.log.telemetry("d", simple(0, [1.0, 2.0, 3.0, 50.0], payload=PAYLOAD))
        self.log.telemetry("d", frame(4, block(1, ["on"], kind=Kind.TEXT, quality=b"\x01"), payload=PAYLOAD))
        self.log.telemetry("d", b"junk")
        self.log.telemetry("e", simple(0, [1.0], payload=b"not here"))
        self.processors = Processors(data, settings=ProcessorsSettings(stall_s=30.0))
        self.processors.drain()
        each = self.processors
        self.api = Api(
            each.settings, each.engine, each.store, each.consumer, data / "log", files=DiskFiles(), clock=each.clock
        )
        transport = httpx.ASGITransport(app=self.api.application(), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://processors")

    async def get(self, route: str, status: int = 200, **query: Any) -> Any:
        answer = await self.client.get(route, params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def close(self) -> None:
        await self.client.aclose()
        self.processors.close()
        self.log.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.close()


async def test_health(world: World) -> None:
    assert await world.get("/health") == {
        "status": "ok",
        "problems": [],
        "store": "duckdb",
        "partitions": [{"partition": 0, "offset": 4, "end": 4, "lag": 0}],
        "readings": 5,
        "readings_per_s": 0.0,
        "chunks": world.processors.consumer.chunks,
    }


async def test_health_tells_of_frames_that_wait_for_their_manifest(world: World) -> None:
    world.processors.clock.advance(31.0)
    answer = await world.get("/health")
    assert answer["status"] == "degraded"
    (said,) = answer["problems"]
    assert said.startswith("1 frames of e wait for their manifest ")
    assert "since 31 s" in said


async def test_health_tells_of_a_log_that_waits(world: World) -> None:
    world.log.telemetry("d", simple(5, [5.0], payload=PAYLOAD))
    assert (await world.get("/health"))["status"] == "ok"
    world.processors.clock.advance(29.0)
    assert (await world.get("/health"))["status"] == "ok"
    world.processors.clock.advance(2.0)
    answer = await world.get("/health")
    assert answer["status"] == "degraded"
    assert "1 records wait and none was stored for 31 s" in answer["problems"]


async def test_latest(world: World) -> None:
    answer = await world.get("/latest")
    assert answer == {
        "devices": {
            "d": {
                "level": {"time_ns": NOW_NS + 3 * SECOND_NS, "value": 50.0, "quality": "good", "unit": "bar"},
                "state": {"time_ns": NOW_NS, "value": "on", "quality": "uncertain", "unit": None},
            }
        }
    }
    assert await world.get("/latest", device="d") == answer
    assert await world.get("/latest", device="e") == {"devices": {}}, "it has sent nothing yet that is stored"


async def test_series(world: World) -> None:
    span = {"start_ns": NOW_NS, "end_ns": NOW_NS + 4 * SECOND_NS}
    answer = await world.get("/series", device="d", metric="level", points=2, **span)
    assert answer == {
        "device": "d",
        "metric": "level",
        "unit": "bar",
        "bucket_ns": 2 * SECOND_NS,
        "time_ns": [NOW_NS, NOW_NS + 2 * SECOND_NS],
        "mean": [1.5, 26.5],
        "min": [1.0, 3.0],
        "max": [2.0, 50.0],
        "count": [2, 2],
        "bad_ns": [],
    }
    nothing = await world.get("/series", device="d", metric="level", start_ns=0, end_ns=1)
    assert (nothing["time_ns"], nothing["bucket_ns"]) == ([], 1)


async def test_the_last_hour_of_a_series_is_asked_for_by_default(world: World) -> None:
    assert sum((await world.get("/series", device="d", metric="level"))["count"]) == 0, "now is not after now"
    world.processors.clock.advance(3600.0)
    assert sum((await world.get("/series", device="d", metric="level"))["count"]) == 4
    world.processors.clock.advance(3.0)
    assert sum((await world.get("/series", device="d", metric="level"))["count"]) == 1


async def test_alarms(world: World) -> None:
    (alarm,) = (await world.get("/alarms"))["alarms"]
    assert (alarm["id"], alarm["state"]) == ("d/level/level/1/3", "open")
    assert alarm["message"] == "level of d is above its limit: 50 bar, at most 10"
    for query, count in (
        ({"state": "open"}, 1), ({"state": "closed"}, 0), ({"state": "all"}, 1),
        ({"device": "d"}, 1), ({"device": "e"}, 0), ({"limit": 1}, 1),
    ):  # fmt: skip
        assert len((await world.get("/alarms", **query))["alarms"]) == count


async def test_ledger(world: World) -> None:
    answer = await world.get("/ledger")
    assert answer["partitions"] == [{"partition": 0, "offset": 4}]
    assert answer["undecodable"] == 1
    by_device = {each["device"]: each for each in answer["accounts"]}
    assert by_device["d"] == {
        "device": "d", "epoch": 1, "stored": [[0, 5]], "quarantined": [], "parked": [], "rows": 5, "duplicate_rows": 0,
    }  # fmt: skip
    assert by_device["e"]["parked"] == [[0, 1]]


async def test_readings(world: World) -> None:
    answer = await world.get("/readings", device="d")
    assert answer["metric"] == ["level"] * 4 + ["state"]
    assert answer["sequence"] == list(range(5))
    assert answer["value"] == [1.0, 2.0, 3.0, 50.0, None]
    assert answer["text"] == [None] * 4 + ["on"]
    assert answer["quality"] == [0, 0, 0, 0, 1]
    part = await world.get("/readings", device="d", start_ns=NOW_NS + SECOND_NS, end_ns=NOW_NS + 3 * SECOND_NS)
    assert part["sequence"] == [1, 2]
    assert (await world.get("/readings", device="d", limit=2))["sequence"] == [0, 1]


async def test_quarantine(world: World) -> None:
    answer = await world.get("/quarantine")
    assert answer["left_out"] == 0
    (record,) = answer["records"]
    assert (record["device"], record["bytes_hex"]) == ("d", b"junk".hex())
    assert record["source"] == {"stream": TELEMETRY, "partition": 0, "offset": 2}
    assert (await world.get("/quarantine", offset=0))["records"] == [record]
    assert await world.get("/quarantine", status=404, offset=1) == {
        "error": "there is no record at offset 1 in quarantine; see `penstock quarantine list`"
    }


async def test_a_listing_of_the_quarantine_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors.api, "QUARANTINE_BYTES_MAX", 5000)
    world.log.telemetry("d", *[b"%04d" % at + bytes(1000) for at in range(20)])
    world.processors.drain()
    answer = await world.get("/quarantine", limit=15)
    assert [bytes.fromhex(each["bytes_hex"])[:4] for each in answer["records"]] == [b"0019", b"0018", b"0017", b"0016"]
    assert answer["left_out"] == 11
    assert len((await world.get("/quarantine", limit=2))["records"]) == 2


async def test_metrics(world: World) -> None:
    answer = await world.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    for line in (
        "penstock_processors_readings_total 5",
        "penstock_processors_lag 0",
        "penstock_processors_parked_frames 1",
        "penstock_processors_passed_over_records_total 0",
    ):
        assert line in lines
    assert any(line.startswith("penstock_processors_chunks_total ") for line in lines)


@pytest.mark.parametrize(
    ("route", "query", "sentence"),
    [
        ("/series", {"metric": "level"}, "the parameter device is missing"),
        ("/series", {"device": "d"}, "the parameter metric is missing"),
        ("/series", {**LEVEL, "points": "many"}, "points must be a whole number, not 'many'"),
        ("/series", {**LEVEL, "points": 0}, "points must be from 1 to 10000, not 0"),
        ("/series", {**LEVEL, "points": 10_001}, "points must be from 1 to 10000, not 10001"),
        ("/series", {**LEVEL, "start_ns": 5, "end_ns": 5}, "start_ns 5 must be before end_ns 5"),
        ("/series", {**LEVEL, "end_ns": 10**30}, "end_ns must be from "),
        ("/series", {**LEVEL, "start_ns": "1e9"}, "start_ns must be a whole number, not '1e9'"),
        ("/series", {**LEVEL, "start_ns": "9" * 5000}, "start_ns must be a whole number, not '999"),
        ("/alarms", {"state": "loud"}, "state must be open, closed or all, not 'loud'"),
        ("/alarms", {"limit": -1}, "limit must be from 1 to 10000, not -1"),
        ("/alarms", {"limit": ""}, "limit must be a whole number, not ''"),
        ("/readings", {}, "the parameter device is missing"),
        ("/readings", {"device": "d", "limit": 0}, "limit must be from 1 to 10000000, not 0"),
        ("/readings", {"device": "d", "start_ns": -(10**20)}, "start_ns must be from "),
        ("/quarantine", {"limit": 10_001}, "limit must be from 1 to 10000, not 10001"),
        ("/quarantine", {"offset": "x"}, "offset must be a whole number, not 'x'"),
    ],
)  # fmt: skip
async def test_a_bad_parameter_is_refused_by_name(
    world: World, route: str, query: dict[str, Any], sentence: str
) -> None:
    answer = await world.get(route, status=400, **query)
    assert list(answer) == ["error"]
    assert answer["error"].startswith(sentence)
    assert len(answer["error"]) < 200


async def test_the_widest_span_there_is(world: World) -> None:
    span = {"start_ns": -(1 << 62), "end_ns": 1 << 62}
    answer = await world.get("/series", device="d", metric="level", points=1, **span)
    assert answer["count"] == [4]
    assert len((await world.get("/readings", device="d", **span))["sequence"]) == 5


async def test_what_is_not_there_is_named(world: World) -> None:
    for query in ({"device": "d", "metric": "nothing"}, {"device": "nobody", "metric": "level"}):
        answer = await world.get("/series", status=404, **query)
        assert answer == {"error": f"there is no series {query['metric']} of {query['device']}"}
    assert await world.get("/readings", status=404, device="nobody") == {"error": "there is no device nobody"}
    assert (await world.client.get("/nothing")).status_code == 404


async def test_a_store_that_fails_to_answer_is_asked_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: Any) -> Any:
        raise DiskError("the store is gone")

    monkeypatch.setattr(world.processors.store, "alarms", fails)
    assert await world.get("/alarms", status=503) == {"error": "the store is gone"}


async def test_over_a_unix_socket_errors_come_back_as_our_own(world: World) -> None:
    path = world.data / "run" / "processors.sock"
    client = ControlClient(path, what="the processors")
    with pytest.raises(TryLaterError, match="cannot be reached"):
        await asyncio.to_thread(client.get, "/health")
    async with serving(world.api.application(), path):
        assert (await asyncio.to_thread(client.get, "/health"))["store"] == "duckdb"
        with pytest.raises(MisuseError, match="there is no device nobody"):
            await asyncio.to_thread(lambda: client.get("/readings", device="nobody"))
        with pytest.raises(MisuseError, match="limit must be a whole number"):
            await asyncio.to_thread(lambda: client.get("/alarms", limit="x"))


async def test_questions_are_answered_while_readings_are_stored(world: World) -> None:
    """From other threads, each answer of one moment: ranges and rows always agree."""
    done = asyncio.Event()

    def store() -> None:
        for at in range(60):
            world.log.telemetry("d", simple(5 + at * 50, [1.0] * 50, payload=PAYLOAD))
            world.processors.consumer.round(world.processors.stop)

    async def ask() -> int:
        asked = 0
        while not done.is_set():
            ledger = await world.get("/ledger")
            (account,) = [each for each in ledger["accounts"] if each["device"] == "d"]
            assert account["rows"] == sum(stop - start for start, stop in account["stored"])
            await world.get("/health")
            await world.get("/latest")
            asked += 1
        return asked

    asking = asyncio.create_task(ask())
    await asyncio.to_thread(store)
    done.set()
    assert await asking > 3
    assert (await world.get("/health"))["readings"] == 5 + 60 * 50
