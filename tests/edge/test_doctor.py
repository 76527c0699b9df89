"""What the doctor finds: in trees made for it, on this disk, and at a real gateway or none."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from edge.doctor import Finding, examine
from edge.settings import EdgeSettings, LinkSettings, SensorSettings
from streams.files import DirectoryLock
from streams.frames import ClockQuality
from tests.edge.broker import broker
from tests.system.stack import free_port

NOW_S = 1_790_000_000.0
NOBODY = 65534


def settings(port: int, **more: object) -> EdgeSettings:
    fast = LinkSettings(connect_timeout_s=2.0, password=str(more.pop("password", "")))
    chosen = {"device": "press-7", "sensors": (SensorSettings(kind="load"),), "spool_bytes_max": 65536, **more}
    return EdgeSettings(hub_port=port, link=fast, **chosen)  # type: ignore[arg-type]


def found(
    state: Path,
    sys: Path,
    *,
    chosen: EdgeSettings | None = None,
    now_s: float = NOW_S,
    quality: ClockQuality = ClockQuality.SYNCHRONISED,
    file: Path | None = None,
) -> dict[str, Finding]:
    findings = examine(
        chosen or settings(free_port()),
        state,
        settings_file=file,
        sys=sys,
        now_s=lambda: now_s,
        clock_quality=lambda: quality,
    )
    return {each.check: each for each in findings}


def put(root: Path, name: str, content: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


def card(sys: Path, place: Path, *, name: str = "mmcblk0", sectors: int = 1000, **device: str) -> None:
    """A card with one partition, on which `place` lies."""
    there = place.stat().st_dev
    put(sys, f"block/{name}/stat", f"1 0 8 0 1 0 {sectors} 0 0 0 0")
    put(sys, f"block/{name}/{name}p1/partition", "1")
    for key, value in device.items():
        put(sys, f"block/{name}/device/{key}", value)
    (sys / "dev" / "block").mkdir(parents=True)
    (sys / "dev" / "block" / f"{os.major(there)}:{os.minor(there)}").symlink_to(sys / "block" / name / f"{name}p1")


@pytest.mark.parametrize(
    ("now_s", "quality", "verdict"),
    [
        (NOW_S, ClockQuality.SYNCHRONISED, "good"),
        (NOW_S, ClockQuality.UNKNOWN, "good"),
        (NOW_S, ClockQuality.UNSYNCHRONISED, "doubt"),
        (100.0, ClockQuality.SYNCHRONISED, "wrong"),
    ],
)
def test_the_clock(tmp_path: Path, now_s: float, quality: ClockQuality, verdict: str) -> None:
    finding = found(tmp_path, tmp_path, now_s=now_s, quality=quality)["clock"]
    assert (finding.verdict, "set-ntp" in finding.remedy) == (verdict, verdict != "good")


@pytest.mark.parametrize(
    ("device", "verdict"),
    [
        ({}, "good"),
        ({"life_time": "0x01 0x02", "pre_eol_info": "0x01"}, "good"),
        ({"life_time": "0x09 0x02"}, "doubt"),
        ({"life_time": "0x0b 0x02"}, "wrong"),
        ({"life_time": "0x01 0x01", "pre_eol_info": "3"}, "wrong"),
    ],
)
def test_the_life_of_a_card(tmp_path: Path, device: dict[str, str], verdict: str) -> None:
    card(tmp_path / "sys", tmp_path, **device)
    assert found(tmp_path, tmp_path / "sys")["wear"].verdict == verdict


def test_a_card_that_much_is_written_to(tmp_path: Path) -> None:
    card(tmp_path / "sys", tmp_path, sectors=10**13)
    finding = found(tmp_path, tmp_path / "sys")["wear"]
    assert (finding.verdict, "iotop" in finding.remedy) == ("doubt", True)


@pytest.mark.parametrize(
    ("bits", "verdict"), [("0x0", "good"), ("0x1", "wrong"), ("10000", "doubt"), ("40000", "doubt")]
)
def test_the_power_of_a_raspberry_pi(tmp_path: Path, bits: str, verdict: str) -> None:
    put(tmp_path, "devices/platform/soc/soc:firmware/get_throttled", bits)
    assert found(tmp_path, tmp_path)["power"].verdict == verdict
    assert "power" not in found(tmp_path, tmp_path / "another")


def test_a_disk_that_the_spool_may_fill(tmp_path: Path) -> None:
    assert found(tmp_path, tmp_path)["disk"].verdict == "good"
    finding = found(tmp_path, tmp_path, chosen=settings(free_port(), spool_bytes_max=1 << 60))["disk"]
    assert (finding.verdict, "edge.spool_bytes_max" in finding.remedy) == ("doubt", True)


def test_a_state_that_may_not_be_written(tmp_path: Path) -> None:
    assert found(tmp_path / "new", tmp_path)["permissions"].verdict == "good"
    with tempfile.TemporaryDirectory() as state:
        Path(state).chmod(0o555)
        before = os.geteuid()
        if before == 0:
            os.seteuid(NOBODY)
        try:
            finding = found(Path(state, "edge"), Path(state, "sys"))["permissions"]
        finally:
            os.seteuid(before)
    assert (finding.verdict, state in finding.detail, "chown" in finding.remedy) == ("wrong", True, True)


def test_a_password_that_everybody_reads(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text("")
    chosen = settings(free_port(), password="hush")
    file.chmod(0o644)
    assert found(tmp_path, tmp_path, chosen=chosen, file=file)["settings"].verdict == "doubt"
    file.chmod(0o640)
    assert found(tmp_path, tmp_path, chosen=chosen, file=file)["settings"].verdict == "good"


def test_nobody_at_the_other_end(tmp_path: Path) -> None:
    finding = found(tmp_path, tmp_path)["link"]
    assert (finding.verdict, "refused" in finding.detail, "firewall" in finding.remedy) == ("wrong", True, True)
    unknown = EdgeSettings(hub_host="no-such-host.invalid", sensors=(SensorSettings(kind="load"),))
    finding = found(tmp_path, tmp_path, chosen=unknown)["link"]
    assert (finding.verdict, "name server" in finding.remedy) == ("wrong", True)


async def test_a_gateway_that_lets_it_in(tmp_path: Path) -> None:
    async with broker() as peer:
        finding = (await asyncio.to_thread(found, tmp_path, tmp_path, chosen=settings(peer.port)))["link"]
        assert (finding.verdict, "lets press-7 in" in finding.detail) == ("good", True)
        assert peer.published == []  # a visit: it leaves without a word, and without a will


async def test_a_running_agent_keeps_its_connection(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "edge", owner="an agent")
    try:
        async with broker() as peer:
            finding = (await asyncio.to_thread(found, tmp_path / "edge", tmp_path, chosen=settings(peer.port)))["link"]
        assert (finding.verdict, "the agent is running" in finding.detail) == ("good", True)
    finally:
        lock.release()


def test_a_sensor_that_cannot_be(tmp_path: Path) -> None:
    chosen = settings(free_port(), sensors=(SensorSettings(kind="lod"),))
    finding = found(tmp_path, tmp_path, chosen=chosen)["sensors"]
    assert (finding.verdict, "lod" in finding.detail) == ("wrong", True)
