"""The whole product with InfluxDB: processors and server killed while a fleet sends; every dashboard on what came."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.dashboards.catalogue import DASHBOARDS
from tests.servers import Server, free_port, influxdb
from tests.system.stack import Stack, running, wait_for
from tests.system.test_dashboards import DATABASE, ask, interpolated, questions
from tests.system.test_kill_anything import compare_with_truth, processed

pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]

SEED = 20261127
DEVICES = 8
INTERVAL_S = 0.1
KILLING_S = 40.0
VICTIMS = ("processors", "processors", "influxd", "influxd", "hub", "fleet")


class Database:
    """An InfluxDB that is killed and started again on the same port and directory."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self._home, self._port = home, free_port()
        self._stack = contextlib.ExitStack()
        self.server: Server
        self.start()

    def start(self) -> None:
        self.server = self._stack.enter_context(influxdb(port=self._port, home=self._home))

    def kill(self) -> None:
        self.server.process.kill()
        self._stack.close()

    stop = kill


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "influxdb")
    yield made
    made.stop()


def test_nothing_is_lost_when_processors_and_influxdb_are_killed(tmp_path: Path, database: Database) -> None:
    settings = {
        "processors.store.kind": "influx", "processors.store.influx_url": database.server.url,
        "processors.store.influx_bucket": DATABASE, "processors.store.influx_batch_rows": 100,
        "fleet.devices": DEVICES, "fleet.interval_s": INTERVAL_S, "fleet.seed": SEED, "fleet.fault_every_s": 4,
        "edge.health_interval_s": 5,
    }  # fmt: skip
    with running(tmp_path / "data", settings) as stack:
        stack.wait_until_storing(DEVICES)
        kills = kill_for_a_while(stack, database, random.Random(SEED))
        assert {name for name, _ in kills} >= {"processors", "influxd"}, kills
        wait_for("everybody to be back", lambda: settled(stack), timeout_s=120)
        wait_for("an alarm", lambda: stack.processors.get("/alarms")["alarms"], timeout_s=120)
        check_dashboards(stack, database.server)
        assert stack.stop() == 0, stack.said()
        stack.start("--no-fleet", "--no-edge")
        ledger = wait_for("the log to be processed", lambda: processed(stack), timeout_s=60)
        check_ledger(ledger)
        check_counts(stack, database.server, ledger)
        compare_with_truth(stack, kills)
        check_alarms(stack, database.server)
        assert stack.processors.get("/health")["problems"] == []
        assert stack.stop() == 0


def kill_for_a_while(stack: Stack, database: Database, dice: random.Random) -> list[tuple[str, float]]:
    """Kill something every one to four seconds; (name, wall time) of each kill.

    InfluxDB stays away for a moment, and in it the processors may be killed with what they could not write.
    """
    kills: list[tuple[str, float]] = []
    deadline = time.monotonic() + KILLING_S
    while time.monotonic() < deadline:
        time.sleep(dice.uniform(1.0, 4.0))
        name = dice.choice(VICTIMS)
        if name == "influxd":
            database.kill()
            kills.append((name, time.time()))
            time.sleep(dice.uniform(0.0, 2.0))
            if dice.random() < 0.5 and stack.kill("processors"):
                kills.append(("processors", time.time()))
            database.start()
        elif stack.kill(name):
            kills.append((name, time.time()))
    print(f"seed {SEED}: {len(kills)} kills: {', '.join(name for name, _ in kills)}")
    return kills


def settled(stack: Stack) -> bool:
    devices = [each for each in stack.hub.get("/devices")["devices"] if each["connected"]]
    lag = sum(each["lag"] for each in stack.processors.get("/health")["partitions"])
    return len(devices) >= DEVICES + 1 and lag < 100


def check_ledger(ledger: dict[str, Any]) -> None:
    totals = ledger["totals"]
    print(totals)
    assert totals["lost"] == 0, ledger
    assert totals["duplicate_rows"] == 0
    assert totals["produced"] == totals["stored"], "a clean stop hands on what is held, and nothing was refused"
    assert totals["stored"] > DEVICES * KILLING_S / INTERVAL_S
    assert ledger["balanced"]


def check_counts(stack: Stack, server: Server, ledger: dict[str, Any]) -> None:
    """InfluxDB has as many points as readings were produced: by the store's word and by its own."""
    rows = {each["device"]: each["rows"] for each in stack.processors.get("/ledger")["accounts"]}
    points = ask(server, 'SELECT COUNT("sequence") FROM "reading" GROUP BY "device"')
    counted = {series["tags"]["device"]: series["values"][0][1] for series in points}
    produced = {each["device"]: each["produced"] for each in ledger["accounts"]}
    assert counted == rows == produced


def check_alarms(stack: Stack, server: Server) -> None:
    """Each alarm is one point, and it says what the store says."""
    alarms = stack.processors.get("/alarms", limit=10_000)["alarms"]
    columns = ("id", "state", "strength", "message")
    points = ask(server, f'SELECT {", ".join(columns)} FROM "alarm"')
    found = sorted(tuple(row[1:]) for series in points for row in series["values"])
    assert found == sorted(tuple(each[name] for name in columns) for each in alarms)
    assert found


def check_dashboards(stack: Stack, server: Server) -> None:
    """Every panel has data, from what the pipeline wrote."""
    offered: dict[str, list[str]] = {}
    alarm = stack.processors.get("/alarms")["alarms"][0]
    for variable in DASHBOARDS["device"]()["templating"]["list"]:
        series = ask(server, interpolated(variable["query"], device=alarm["device"], metric="x"))
        offered[variable["name"]] = [row[1] for each in series for row in each["values"]]
    assert set(stack.processors.get("/latest")["devices"]) == set(offered["device"])
    assert alarm["metric"] in offered["metric"]
    wait_for("an open alarm in InfluxDB", lambda: ask(server, "SELECT state FROM alarm WHERE state = 'open'"))
    for question in questions():
        (query,) = question.values
        found = ask(server, interpolated(query, device=alarm["device"], metric=alarm["metric"].replace(".", "\\.")))
        values = [value for each in found for row in each["values"] for value in row[1:]]
        assert any(value is not None for value in values), f"{question.id}: {query}"
