"""Settings of the MQTT gateway."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from streams.settings import SettingsError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Where the gateway listens, whom it lets in, and what it grants a client. Every limit is enforced and counted."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(1883, "TCP port to listen on; 0 takes a free one.", minimum=0, maximum=65_535)
    users: tuple[str, ...] = setting(
        (), "Who may connect, each as name:password; when there are none, allow_anonymous decides.", secret=True
    )
    allow_anonymous: bool = setting(
        True, "Let everybody in while there are no users; only on a loopback address, unless anonymous_anywhere is set."
    )
    anonymous_anywhere: bool = setting(
        False, "Let everybody in, without users, on an address that other machines can reach."
    )
    connections_max: int = setting(
        10_000, "Connections at the same time; more are refused.", minimum=1, maximum=1_000_000
    )
    half_open_max: int = setting(
        5_000, "Connections that have not said CONNECT; of more, the oldest is closed.", minimum=1, maximum=1_000_000
    )
    client_messages_per_s_max: int = setting(
        0, "Messages a second that one client may send; who sends more is read from more slowly. 0: any.", minimum=0
    )
    packet_bytes_max: int = setting(1 << 20, "Largest packet that a client may send.", minimum=1024, maximum=64 << 20)
    connect_timeout_s: float = setting(10.0, "A connection that has not said CONNECT by then is closed.", minimum=0.1)
    send_timeout_s: float = setting(
        30.0, "A client that takes nothing of what it is sent for so long is disconnected.", minimum=0.1
    )
    keepalive_s_max: int = setting(
        1200,
        "Longest keep-alive; a client that asks for more or for none is told this one (MQTT 5).",
        minimum=1,
        maximum=65_535,
    )
    receive_maximum: int = setting(
        64, "Messages of QoS 1 and 2 that an MQTT 5 client may have unacknowledged.", minimum=1, maximum=65_535
    )
    topic_alias_maximum: int = setting(16, "Topic aliases that an MQTT 5 client may set.", minimum=0, maximum=65_535)
    inflight_max: int = setting(
        64,
        "Messages of QoS 1 and 2 on their way to one client; the rest waits in its session.",
        minimum=1,
        maximum=65_535,
    )
    session_queue_messages_max: int = setting(
        1000, "Messages that wait for one client; further ones are dropped.", minimum=1
    )
    session_queue_bytes_max: int = setting(
        8 << 20, "Bytes of messages that are kept for one client; further ones are dropped.", minimum=1024
    )
    queues_bytes_max: int = setting(
        256 << 20, "Bytes of messages that are kept for all clients together.", minimum=1024
    )
    session_expiry_s_max: int = setting(86_400, "How long the session of an absent client is kept.", minimum=0)
    sessions_max: int = setting(
        100_000, "Sessions that are kept, of absent clients too; the longest absent one makes room.", minimum=1
    )
    subscriptions_max: int = setting(1000, "Subscriptions of one client.", minimum=1)
    retained_messages_max: int = setting(100_000, "Retained messages that are kept.", minimum=0)
    retained_bytes_max: int = setting(64 << 20, "Bytes of retained messages that are kept.", minimum=0)
    undurable_bytes_max: int = setting(
        32 << 20, "While more than this waits for the disk, nothing is read from clients.", minimum=1 << 16
    )

    def __post_init__(self) -> None:
        for number, user in enumerate(self.users, 1):
            name, _, password = user.partition(":")
            if not name or not password:
                raise SettingsError(f"hub.mqtt.users: entry {number} must be name:password")
        anybody = self.allow_anonymous and not self.users and not self.anonymous_anywhere
        if anybody and not _is_loopback(self.host):
            raise SettingsError(
                f"hub.mqtt.host {self.host!r} can be reached from other machines, and everybody would be let in; "
                "name hub.mqtt.users, or listen on 127.0.0.1, "
                "or set hub.mqtt.anonymous_anywhere = true if the network is yours alone"
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
