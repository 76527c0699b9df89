"""What may keep an agent from its work: clock, disk, wear, power, link, permissions, sensors; and what helps."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pwd
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from paho.mqtt.enums import MQTTProtocolVersion

from edge.clock_quality import system_clock_quality
from edge.inspection import check, is_running
from edge.link import Link, LinkDownError, VersionRefusedError
from edge.sensors.sysfs import number, text
from edge.settings import EdgeSettings
from streams import names
from streams.frames import ClockQuality

Verdict = Literal["good", "doubt", "wrong"]

_FREE_SHARE_MIN = 0.05
_WRITTEN_GB_A_DAY_MAX = 20.0
_SECTOR_BYTES = 512
_LONG_AGO_S = 1_704_067_200
"""2024: no agent of ours ran before."""
_UNDERVOLTAGE, _THROTTLED, _EVER = 0x1, 0x4, 16
"""Bits of a Raspberry Pi's get_throttled, and how far those for "has happened" stand above those for "now"."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def examine(
    settings: EdgeSettings,
    state: Path,
    *,
    settings_file: Path | None = None,
    sys: Path = Path("/sys"),
    now_s: Callable[[], float] = time.time,
    clock_quality: Callable[[], ClockQuality] = system_clock_quality,
) -> Iterator[Finding]:
    """Look at everything, one after the other. Blocks: for sensors, and for a connection to the hub."""
    yield _clock(now_s(), clock_quality())
    place = _nearest(state)
    yield _disk(place, settings)
    yield from _wear(place, sys)
    yield from _power(sys)
    yield _permissions(state, place)
    if settings_file is not None:
        yield from _secrets(settings, settings_file)
    yield _link(settings, is_running(state))
    problems = check(settings)
    if not problems:
        yield Finding(check="sensors", verdict="good", detail="every sensor answers")
    for problem in problems:
        yield Finding(
            check="sensors", verdict="wrong", detail=problem, remedy="mend it, or take it out of the settings"
        )


def _clock(now_s: float, quality: ClockQuality) -> Finding:
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    remedy = "switch time synchronisation on: sudo timedatectl set-ntp true; without a network fit a real-time clock"
    if now_s < _LONG_AGO_S:
        return Finding(check="clock", verdict="wrong", detail=f"it says {shown}, which cannot be", remedy=remedy)
    if quality is ClockQuality.UNSYNCHRONISED:
        return Finding(check="clock", verdict="doubt", detail=f"{shown}, steered by nobody", remedy=remedy)
    known = "synchronised" if quality is ClockQuality.SYNCHRONISED else "the kernel does not say whether synchronised"
    return Finding(check="clock", verdict="good", detail=f"{shown}, {known}")


def _disk(place: Path, settings: EdgeSettings) -> Finding:
    usage = shutil.disk_usage(place)
    said = f"{usage.free / 1e9:.2f} GB free of {usage.total / 1e9:.2f} GB at {place}"
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        remedy = "it is mounted read-only: look for errors with `dmesg`, check the card, and mount it for writing"
        return Finding(check="disk", verdict="wrong", detail=said, remedy=remedy)
    if usage.free < settings.spool_bytes_max:
        remedy = (
            f"the spool may grow to {settings.spool_bytes_max / 1e9:.2f} GB (edge.spool_bytes_max); free some space, "
            "or allow less"
        )
        return Finding(check="disk", verdict="doubt", detail=said, remedy=remedy)
    if usage.free < _FREE_SHARE_MIN * usage.total:
        return Finding(check="disk", verdict="doubt", detail=said, remedy="a card lives longer when it is not full")
    return Finding(check="disk", verdict="good", detail=said)


def _wear(place: Path, sys: Path) -> Iterator[Finding]:
    """What the card or disk under `place` says of its life, and how much is written to it."""
    device = _block_device(place.stat().st_dev, sys)
    if device is None:
        yield Finding(check="wear", verdict="good", detail=f"{place} is on no block device of its own")
        return
    life = [int(word, 16) for word in (text(device / "device" / "life_time") or "").split()]
    used = max(life, default=0)
    written = _written_bytes(device)
    days = max(time.clock_gettime(time.CLOCK_BOOTTIME) / 86_400, 1 / 24)
    a_day = written / 1e9 / days
    said = f"{device.name}: {written / 1e9:.2f} GB written in {days:.2f} days"
    said += f", {10 * (used - 1)} to {10 * used} % of its life used" if 0 < used <= 10 else ""
    if used > 10 or number(device / "device" / "pre_eol_info") in (2, 3):
        yield Finding(check="wear", verdict="wrong", detail=f"{said}, near its end", remedy="replace it soon")
    elif used > 8:
        yield Finding(check="wear", verdict="doubt", detail=said, remedy="plan to replace it")
    elif device.name.startswith("mmcblk") and a_day > _WRITTEN_GB_A_DAY_MAX:
        remedy = "find who writes so much (`sudo iotop -ao`); a longer edge.commit_interval_s spares the card"
        yield Finding(check="wear", verdict="doubt", detail=said, remedy=remedy)
    else:
        yield Finding(check="wear", verdict="good", detail=said)


def _power(sys: Path) -> Iterator[Finding]:
    """A Raspberry Pi says whether its supply is too weak; others say nothing, and nothing is found."""
    found = next((sys / "devices" / "platform").glob("soc/*firmware/get_throttled"), None)
    if found is None:
        return
    bits = int(text(found) or "0", 16)
    remedy = "use the maker's power supply and a short cable"
    if bits & _UNDERVOLTAGE:
        yield Finding(check="power", verdict="wrong", detail="the voltage is too low now", remedy=remedy)
    elif bits & (_UNDERVOLTAGE << _EVER):
        yield Finding(check="power", verdict="doubt", detail="the voltage was too low since the start", remedy=remedy)
    elif bits & (_THROTTLED | _THROTTLED << _EVER):
        yield Finding(check="power", verdict="doubt", detail="it was slowed down by heat", remedy="give it some air")
    else:
        yield Finding(check="power", verdict="good", detail="enough voltage, not throttled")


def _permissions(state: Path, place: Path) -> Finding:
    who = pwd.getpwuid(os.geteuid()).pw_name if _has_name(os.geteuid()) else str(os.geteuid())
    paths = [state, *state.rglob("*")] if place == state else [place]
    closed = [path for path in paths if not _may_write(path)]
    if closed:
        detail = f"{who} may not write to {closed[0]}" + (f" and {len(closed) - 1} more" if len(closed) > 1 else "")
        remedy = f"run it as the user of the agent, or give it back: sudo chown -R {who} {place}"
        return Finding(check="permissions", verdict="wrong", detail=detail, remedy=remedy)
    foreign = [path for path in paths if path.stat().st_uid != os.geteuid()] if place == state else []
    if foreign and os.geteuid() == 0:
        owner = foreign[0].stat().st_uid
        detail = f"{state} belongs to user {owner}, you are root"
        return Finding(check="permissions", verdict="good", detail=detail)
    return Finding(check="permissions", verdict="good", detail=f"{who} may write to {place}")


def _secrets(settings: EdgeSettings, file: Path) -> Iterator[Finding]:
    try:
        mode = file.stat().st_mode
    except OSError:
        return
    if settings.link.password and mode & stat.S_IROTH:
        detail = f"{file} holds a password and everybody may read it"
        yield Finding(check="settings", verdict="doubt", detail=detail, remedy=f"sudo chmod o-rwx {file}")
    else:
        yield Finding(check="settings", verdict="good", detail=str(file))


def _link(settings: EdgeSettings, running: bool) -> Finding:
    where = f"{settings.hub_host}:{settings.hub_port}"
    try:
        begun = time.monotonic()
        with socket.create_connection((settings.hub_host, settings.hub_port), settings.link.connect_timeout_s):
            took_ms = (time.monotonic() - begun) * 1000
    except socket.gaierror as error:
        remedy = "check edge.hub_host and the name server, or use the hub's address"
        return Finding(check="link", verdict="wrong", detail=f"{where}: {error.strerror}", remedy=remedy)
    except OSError as error:
        remedy = "is the hub running, is hub.mqtt.host an address that others reach, is a firewall between?"
        return Finding(check="link", verdict="wrong", detail=f"{where}: {error.strerror or error}", remedy=remedy)
    said = f"{where} answers in {took_ms:.0f} ms"
    if running:  # a second connection under its name would take the agent's away
        return Finding(check="link", verdict="good", detail=f"{said}; the agent is running and logs what it finds")
    refusal = asyncio.run(_refusal(settings))
    if refusal is None:
        return Finding(check="link", verdict="good", detail=f"{said} and lets {settings.device_id} in")
    remedy = "check edge.device, edge.link.username and edge.link.password, and what the hub lets in (hub.devices)"
    return Finding(check="link", verdict="wrong", detail=f"{said}, but: {refusal}", remedy=remedy)


async def _refusal(settings: EdgeSettings) -> str | None:
    """Connect as the agent would, and leave as it would; says why that cannot be."""
    will = (names.topic(settings.device_id, names.STATE), b'{"online":false}')
    reason = ""
    for version in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
        link = Link(settings, version=int(version), will=will, on_message=lambda message: None)
        try:
            await link.connect()
        except VersionRefusedError as error:
            reason = str(error)
            link.abort("MQTT version refused")
        except LinkDownError as error:
            link.abort("not connected")
            return str(error)
        else:
            link.close()
            return None
    return reason


def _nearest(path: Path) -> Path:
    """The path, or the part of it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def _block_device(number_of: int, sys: Path) -> Path | None:
    entry = sys / "dev" / "block" / f"{os.major(number_of)}:{os.minor(number_of)}"
    if not entry.exists():
        return None
    device = entry.resolve()
    return device.parent if (device / "partition").exists() else device


def _written_bytes(device: Path) -> int:
    """Since the start (Documentation/block/stat: the seventh number counts sectors written)."""
    fields = (text(device / "stat") or "").split()
    return int(fields[6]) * _SECTOR_BYTES if len(fields) > 6 else 0


def _may_write(path: Path) -> bool:
    wanted = os.W_OK | os.X_OK if path.is_dir() else os.W_OK
    return os.access(path, wanted, effective_ids=True)


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True
