"""What the broker says of itself below $SYS/broker, under the names that mosquitto and its tools use."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

ROOT = "$SYS/broker"


def system_topics(
    counters: Mapping[str, int],
    *,
    uptime_s: int,
    clients_connected: int,
    sessions: int,
    subscriptions: int,
    retained: int,
    kept_bytes: int,
) -> dict[str, bytes]:
    """Topic to payload. Numbers are decimal."""
    numbers = {
        "clients/connected": clients_connected,
        "clients/disconnected": sessions - clients_connected,
        "clients/total": sessions,
        "messages/received": counters["messages_in"],
        "messages/sent": counters["messages_out"],
        "publish/messages/dropped": counters["queue_drops"],
        "bytes/received": counters["bytes_in"],
        "bytes/sent": counters["bytes_out"],
        "subscriptions/count": subscriptions,
        "retained messages/count": retained,
        "store/messages/bytes": kept_bytes,
    }
    found = {f"{ROOT}/{name}": b"%d" % number for name, number in numbers.items()}
    return {**found, f"{ROOT}/version": f"penstock {_version()}".encode(), f"{ROOT}/uptime": b"%d seconds" % uptime_s}


def _version() -> str:
    try:
        return version("penstock")
    except PackageNotFoundError:
        return "unknown"
