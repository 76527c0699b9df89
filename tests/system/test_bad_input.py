"""Bad input to the real processes: it is refused or kept aside by name, and the next good thing goes through."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from streams.control import ControlClient
from streams.names import topic
from tests.system.stack import Stack, running, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with running(tmp_path / "data", {"fleet.devices": 2}, "--no-edge") as each:
        each.wait_until_storing(2)
        yield each


def stored(stack: Stack) -> int:
    return int(stack.processors.get("/health")["readings"])


def test_garbage_on_the_mqtt_port_hurts_nobody_else(stack: Stack) -> None:
    before = stored(stack)
    for junk in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        os.urandom(4096),
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x10\xff\xff\xff\xff\x7f",
    ):
        with socket.create_connection(("127.0.0.1", stack.mqtt_port), 5) as client:
            client.sendall(junk)
            client.settimeout(20)
            try:
                while client.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    idle = [socket.create_connection(("127.0.0.1", stack.mqtt_port), 5) for _ in range(50)]
    wait_for("readings to go on", lambda: stored(stack) > before + 20)
    for each in idle:
        each.close()
    assert "refused" in stack.hub.get("/metrics") or "malformed" in stack.hub.get("/metrics")
    assert stack.ledger()["totals"]["lost"] == 0


def test_an_undecodable_frame_is_kept_aside_and_the_next_one_goes_through(stack: Stack) -> None:
    device = "broken-1"
    junk = b"this is not a frame" + bytes(range(256))
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device)
    client.connect("127.0.0.1", stack.mqtt_port)
    client.loop_start()
    try:
        client.publish(topic(device, "frames"), junk, qos=1).wait_for_publish(10)
    finally:
        client.disconnect()
        client.loop_stop()
    found = wait_for("the record in quarantine", lambda: stack.processors.get("/quarantine")["records"])
    assert found[0]["device"] == device
    assert bytes.fromhex(found[0]["bytes_hex"]) == junk
    assert found[0]["reason"]
    before = stored(stack)
    wait_for("readings to go on", lambda: stored(stack) > before)
    listing = stack.penstock("quarantine", "list")
    assert device in listing.stdout
    shown = stack.penstock("quarantine", "show", str(found[0]["offset"]))
    assert "this is not a fr" in shown.stdout
    # kept once, also after the processors were killed
    stack.kill("processors")
    wait_for("the processors to be back", lambda: stored(stack) > 0)
    assert len(stack.processors.get("/quarantine")["records"]) == 1


def test_an_unknown_device_is_named(stack: Stack) -> None:
    done = stack.penstock("command", "send", "no-such-device", "identify")
    assert done.returncode == 2
    assert "no-such-device" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_registered_devices_are_let_in_when_asked_so(tmp_path: Path) -> None:
    settings = {"hub.devices.admission": "registered", "hub.devices.registered": "known-1"}
    with running(tmp_path / "data", settings, "--no-edge", "--no-fleet") as stack:
        wait_for("the hub", lambda: stack.hub.get("/health")["status"])
        for device, let_in in (("known-1", True), ("stranger-1", False)):
            codes: list[bool] = []
            client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device)
            client.on_connect = lambda _c, _u, _f, reason, _p, codes=codes: codes.append(not reason.is_failure)
            client.connect("127.0.0.1", stack.mqtt_port)
            client.loop_start()
            wait_for(f"an answer for {device}", lambda codes=codes: codes, timeout_s=10)
            client.disconnect()
            client.loop_stop()
            assert codes[0] is let_in, device
        refused = stack.hub.get("/devices")["refused"]
        assert [each["device"] for each in refused] == ["stranger-1"]


def test_a_full_disk_stops_acknowledgements_loudly_and_goes_on_when_space_returns(tmp_path: Path) -> None:
    """Hub and store on a small file system of their own; the agents' spools elsewhere hold what is not acknowledged."""
    if os.geteuid() != 0:
        pytest.fail("this test mounts a small tmpfs in a namespace of its own: run it as root")
    data = tmp_path / "data"
    data.mkdir()
    small = Stack(data, {})
    mqtt_port, fleet_data = small.mqtt_port, tmp_path / "fleet"
    run = f"{sys.executable} -m penstock hub run --data {data} --mqtt-port {mqtt_port} --log-segment-bytes 1048576"
    hub = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o size=24m tmpfs {data} && exec {run}"],
        stdout=(tmp_path / "hub.out").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    fleet = None
    inside = Path(f"/proc/{hub.pid}/root{data}")
    try:
        wait_for("the hub's port", lambda: not _refused(mqtt_port), timeout_s=30)
        fleet = subprocess.Popen(
            [sys.executable, "-m", "penstock", "simulate", "--data", str(fleet_data), "--hub-port", str(mqtt_port),
             "--devices", "5", "--interval-s", "0.2"],
            stdout=(tmp_path / "fleet.out").open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        said = tmp_path / "hub.out"
        wait_for("telemetry on disk", lambda: telemetry_bytes(inside) > 0, timeout_s=30)
        fill(inside / "filler")
        wait_for(
            "the hub to say that the disk is full", lambda: "disk" in said.read_text() or "space" in said.read_text()
        )
        assert hub.poll() is None, "the hub goes on running"
        control = ControlClient(inside / "run" / "hub.sock", what="the hub")
        wait_for(  # what fits into the last page may still go through, and then the hub is well for a moment
            "the hub's health to name the full disk",
            lambda: any("space" in problem for problem in control.get("/health")["problems"]),
        )
        before = {each["device"]: each["received"][-1][1] for each in control.get("/ledger")["accounts"]}
        assert len(before) == 5
        (inside / "filler").unlink()
        wait_for("every device to deliver again", lambda: all_beyond(control, before), timeout_s=60)
        fleet.terminate()
        assert fleet.wait(30) == 0
        copy = tmp_path / "copy"
        shutil.copytree(inside, copy, ignore=shutil.ignore_patterns("*.sock", "run"))
        hub.terminate()
        assert hub.wait(30) == 0
        with running(copy, {}, "--no-edge", "--no-fleet") as after:
            wait_for("the log to be processed", lambda: after.ledger()["totals"]["in_flight"]["logged"] == 0)
            totals = after.ledger()["totals"]
            assert totals["lost"] == 0, totals
            assert totals["stored"] == totals["produced"], totals
            assert totals["stored"] > 0
    finally:
        for process in (hub, fleet):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def fill(path: Path) -> None:
    """Write until the file system is full."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 512, 64, 1):
            try:
                while True:
                    if file.write(b"x" * size) < size:
                        break
            except OSError:
                continue


def all_beyond(control: ControlClient, before: dict[str, int]) -> bool:
    """Whether the hub has received more of every device, and all of them are connected."""
    accounts = control.get("/ledger")["accounts"]
    connected = [each for each in control.get("/devices")["devices"] if each["connected"]]
    beyond = [each for each in accounts if each["received"][-1][1] > before[each["device"]]]
    return len(connected) == len(beyond) == len(before)


def telemetry_bytes(data: Path) -> int:
    return sum(path.stat().st_size for path in (data / "log" / "telemetry").rglob("*.log"))


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False
