"""Settings of the MQTT gateway."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from streams.settings import SettingsError, section, setting

IDENTITIES = ("client_id", "username", "certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """MQTT over TLS."""

    port: int | None = setting(
        None, "TCP port for MQTT over TLS, usually 8883; 0 takes a free one; none when it is left out.",
        minimum=0, maximum=65_535,
    )  # fmt: skip
    certificate: Path | None = setting(
        None, "PEM file with the server's certificate, and those of the authorities between it and the root."
    )
    key: Path | None = setting(None, "PEM file with the key of that certificate; left out, it is in the same file.")
    client_certificates: str = setting(
        "none", "Whether clients show a certificate of their own.", choices=("none", "optional", "required")
    )
    client_ca: Path | None = setting(None, "PEM file with the authorities that client certificates must come from.")
    version_min: str = setting("1.2", "The oldest TLS version that is spoken.", choices=("1.2", "1.3"))

    def __post_init__(self) -> None:
        if self.port is not None and self.certificate is None:
            raise SettingsError("hub.mqtt.tls.port is set, but no hub.mqtt.tls.certificate: name its PEM file")
        if self.client_certificates != "none" and self.client_ca is None:
            raise SettingsError(
                f"hub.mqtt.tls.client_certificates is {self.client_certificates}, but there is no "
                "hub.mqtt.tls.client_ca: name the PEM file of the authority that signs them"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings:
    """MQTT over WebSocket, for web pages and for networks that let nothing else through."""

    port: int | None = setting(
        None, "TCP port for MQTT over WebSocket; 0 takes a free one; none when it is left out.",
        minimum=0, maximum=65_535,
    )  # fmt: skip
    path: str = setting("/mqtt", "Path that clients ask for.")
    tls: bool = setting(False, "Speak it over TLS (wss), with the certificate of hub.mqtt.tls.")
    origins: tuple[str, ...] = setting(
        (), "Web pages whose scripts may connect, as https://host[:port]; those of this very address always may."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRule:
    """What one user may do beside the topics of its own device."""

    user: str = setting("*", "The user name, or the name in the certificate; * is everybody.")
    publish: tuple[str, ...] = setting((), "Topic filters that it may publish to; %c is its client id, %u its name.")
    subscribe: tuple[str, ...] = setting((), "Topic filters that it may subscribe to, or to a part of.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Where the gateway listens, whom it lets in, and what it grants a client. Every limit is enforced and counted."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(1883, "TCP port to listen on; 0 takes a free one.", minimum=0, maximum=65_535)
    plain: bool = setting(True, "Listen on that port, without TLS.")
    identity: str = setting(
        "client_id",
        "What says which device a client is, and so which topics are its own: its client id, which is believed; or its "
        "user name or the name in its certificate, which the client id must then be.",
        choices=IDENTITIES,
    )
    rules: tuple[TopicRule, ...] = setting(
        (), "What users may do beside the topics of their device; without rules, all but the topics of devices."
    )
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
        1000, "Messages of QoS 1 and 2 that an MQTT 5 client may have unacknowledged.", minimum=1, maximum=65_535
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
    sys_interval_s: float = setting(
        10.0, "How often the topics below $SYS/broker are published; 0: never.", minimum=0.0, maximum=3600.0
    )
    tls: TlsSettings = section(TlsSettings, "MQTT over TLS.")
    websocket: WebSocketSettings = section(WebSocketSettings, "MQTT over WebSocket.")

    def __post_init__(self) -> None:
        for number, user in enumerate(self.users, 1):
            name, _, password = user.partition(":")
            if not name or not password:
                raise SettingsError(f"hub.mqtt.users: entry {number} must be name:password")
        if not self.plain and self.tls.port is None and self.websocket.port is None:
            raise SettingsError(
                "hub.mqtt.plain is false, and neither hub.mqtt.tls.port nor hub.mqtt.websocket.port is set"
            )
        if self.websocket.tls and self.tls.certificate is None:
            raise SettingsError("hub.mqtt.websocket.tls is set, but no hub.mqtt.tls.certificate: name its PEM file")
        open_ports = self.plain or (self.websocket.port is not None and not self.websocket.tls)
        if self.identity == "certificate" and (open_ports or self.tls.client_certificates != "required"):
            raise SettingsError(
                "hub.mqtt.identity is certificate: every client must show one. Set hub.mqtt.plain = false, "
                'hub.mqtt.tls.client_certificates = "required", and hub.mqtt.websocket.tls = true if there is one'
            )
        if self.identity == "username" and not self.users:
            raise SettingsError("hub.mqtt.identity is username, but hub.mqtt.users names none")
        certified = not open_ports and self.tls.client_certificates == "required"
        anybody = self.allow_anonymous and not self.users and not self.anonymous_anywhere and not certified
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
