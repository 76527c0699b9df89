"""Real processes, killed at random moments for a minute: every reading is accounted for, and equals the truth."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from simulators.truth import read_truth
from tests.system.stack import Stack, running, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]

SEED = 20261123
DEVICES = 20
KILLING_S = 60.0
VICTIMS = ("hub", "hub", "processors", "processors", "fleet", "fleet", "edge", "web")
INTERVAL_S = 0.5


def test_nothing_is_lost_when_anything_is_killed(tmp_path: Path) -> None:
    settings = {"fleet.devices": DEVICES, "fleet.interval_s": INTERVAL_S, "fleet.seed": SEED, "fleet.truth": "true"}
    with running(tmp_path / "data", settings) as stack:
        stack.wait_until_storing(DEVICES)
        kills = kill_for_a_while(stack, random.Random(SEED))
        assert sum(name == "fleet" for name, _ in kills) >= 2, kills
        wait_for("every process to be up again", lambda: settled(stack), timeout_s=120)
        assert stack.stop() == 0, stack.said()
        stack.start("--no-fleet", "--no-edge")
        ledger = wait_for("the log to be processed", lambda: processed(stack), timeout_s=60)
        check_ledger(ledger)
        compare_with_truth(stack, kills)
        assert stack.stop() == 0


def kill_for_a_while(stack: Stack, dice: random.Random) -> list[tuple[str, float]]:
    """Kill a process every one to four seconds; returns (name, wall time) of each kill."""
    kills: list[tuple[str, float]] = []
    deadline = time.monotonic() + KILLING_S
    while time.monotonic() < deadline:
        time.sleep(dice.uniform(1.0, 4.0))
        name = dice.choice(VICTIMS)
        if stack.kill(name):
            kills.append((name, time.time()))
    print(f"seed {SEED}: {len(kills)} kills: {', '.join(name for name, _ in kills)}")
    return kills


def settled(stack: Stack) -> bool:
    """Everybody is back, the devices are connected and the log is processed nearly to its end."""
    devices = [each for each in stack.hub.get("/devices")["devices"] if each["connected"]]
    lag = sum(each["lag"] for each in stack.processors.get("/health")["partitions"])
    return len(devices) >= DEVICES + 1 and lag < 100


def processed(stack: Stack) -> dict[str, Any] | None:
    ledger = stack.ledger()
    return ledger if ledger["totals"]["in_flight"]["logged"] == 0 else None


def check_ledger(ledger: dict[str, Any]) -> None:
    totals = ledger["totals"]
    print(totals)
    declared = totals["thinned"] + totals["dropped"] + totals["quarantined"]
    flying = totals["in_flight"]["held"] + totals["in_flight"]["logged"]
    assert totals["lost"] == 0, ledger
    assert totals["duplicate_rows"] == 0
    assert totals["produced"] == totals["stored"] + declared + flying
    assert totals["stored"] > DEVICES * KILLING_S
    assert declared == 0, "there was room for everything"
    assert flying == 0, "a clean stop hands on what is held"
    assert ledger["balanced"]


def compare_with_truth(stack: Stack, kills: list[tuple[str, float]]) -> None:
    """What is stored is what the simulators wrote down, value by value.

    The truth is written down before the agent has the reading, so a kill of the fleet may leave one tick in the truth
    that was never numbered: no more than that.
    """
    fleet_kills = [at for name, at in kills if name == "fleet"]
    compared = 0
    for path in sorted((stack.data / "fleet" / "truth").iterdir()):
        device = path.name.split(".csv")[0]
        truth = {(each.series, each.time_ns): each.value for each in read_truth(path)}
        stored = stored_readings(stack, device)
        assert len(stored) > 0
        for key, value in stored.items():
            assert key in truth, f"{device} {key} was never produced"
            assert same(truth[key], value), f"{device} {key}: produced {truth[key]!r}, stored {value!r}"
        unnumbered = {time_ns for _, time_ns in truth.keys() - stored.keys()}
        assert len(unnumbered) <= len(fleet_kills), f"{device}: ticks missing at {sorted(unnumbered)}"
        for time_ns in unnumbered:
            assert any(-INTERVAL_S <= at - time_ns / 1e9 <= 2 * INTERVAL_S + 1 for at in fleet_kills), (
                f"{device}: the tick at {time_ns} is missing, and nobody was killed then"
            )
        compared += len(stored)
    print(f"{compared:,} readings compared")


def stored_readings(stack: Stack, device: str) -> dict[tuple[str, int], Any]:
    """Every stored reading of a device but the agent's own health: (metric, time) to value."""
    answer = stack.processors.get("/readings", device=device, start_ns=0, end_ns=1 << 62, limit=10_000_000)
    found: dict[tuple[str, int], Any] = {}
    for metric, time_ns, value, text in zip(answer["metric"], answer["time_ns"], answer["value"], answer["text"]):
        if metric.startswith("agent."):
            continue
        assert (metric, time_ns) not in found, f"{device} {metric} at {time_ns} is stored twice"
        found[metric, time_ns] = text if text is not None else value
    return found


def same(produced: Any, stored: Any) -> bool:
    if isinstance(produced, str):
        return bool(produced == stored)
    return float(produced) == float(stored)
