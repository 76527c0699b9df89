"""Settings of the hub as the client of a broker that stands in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streams.settings import SettingsError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """A broker of somebody else (mosquitto, EMQX) that devices publish to; the hub reads from it."""

    host: str = setting("", "Host name or address of the broker; empty: there is none, devices come to hub.mqtt.")
    port: int = setting(1883, "Its TCP port.", minimum=1, maximum=65_535)
    username: str = setting("", "MQTT user name; empty sends none.")
    password: str = setting("", "MQTT password; empty sends none.", secret=True)
    client_id: str = setting(
        "penstock-hub", "Client id; each hub that shares the work needs its own, always the same one."
    )
    share: str = setting("penstock", "Name of the shared subscription; hubs of the same name share the messages.")
    tls: bool = setting(False, "Speak TLS with the broker.")
    ca: Path | None = setting(None, "PEM file with the authority of the broker's certificate; none: the system's own.")
    certificate: Path | None = setting(None, "PEM file with a certificate for the hub, where the broker asks for one.")
    key: Path | None = setting(None, "PEM file with the key of that certificate.")
    session_expiry_s: int = setting(
        604_800, "How long the broker keeps messages while the hub is away.", minimum=1, maximum=0xFFFFFFFE
    )
    receive_maximum: int = setting(
        1000, "Messages that the broker may send ahead of their acknowledgement.", minimum=1, maximum=65_535
    )
    keepalive_s: int = setting(15, "Silence after which the connection is checked.", minimum=1, maximum=65_535)
    connect_timeout_s: float = setting(10.0, "How long one attempt to connect may take.", minimum=0.1)
    retry_s_max: float = setting(10.0, "Longest pause between attempts to connect; the first is a tenth.", minimum=0.1)
    sending_max: int = setting(
        1000, "Messages to devices that the broker has not acknowledged; more are refused.", minimum=1, maximum=65_000
    )
    committed_interval_s: float = setting(
        1.0, "How often a device that has sent something is told how far it is on disk.", minimum=0.01
    )

    def __post_init__(self) -> None:
        if not self.share or any(sign in self.share for sign in "/+#"):
            raise SettingsError(f"hub.broker.share {self.share!r} must be a name without /, + and #")
        if self.key is not None and self.certificate is None:
            raise SettingsError("hub.broker.key is set, but no hub.broker.certificate: name its PEM file")
