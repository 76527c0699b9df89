"""Settings of the web process."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from streams.settings import SettingsError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Where the page and the HTTP API are served, and to whom."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(
        8080, "TCP port of the page and the HTTP API; 0 lets the system choose.", minimum=0, maximum=65535
    )
    anonymous_anywhere: bool = setting(
        False,
        "Serve an address that other machines can reach, where anybody may see everything and send commands.",
    )
    names: tuple[str, ...] = setting(
        (), "Host names under which browsers may ask, beside localhost and plain addresses (against DNS rebinding)."
    )
    body_bytes_max: int = setting(
        65536, "The largest request body that the HTTP API takes, in bytes.", minimum=1024, maximum=16 * 1024 * 1024
    )
    connections_max: int = setting(
        500,
        "Connections at the same time; who comes beyond them is told to try again. A page takes one, and up to six "
        "for a moment while it opens.",
        minimum=16,
        maximum=100_000,
    )

    def __post_init__(self) -> None:
        if not self.anonymous_anywhere and not _is_loopback(self.host):
            raise SettingsError(
                f"web.host {self.host!r} can be reached from other machines, and there is no log-in yet; listen on "
                "127.0.0.1, or set web.anonymous_anywhere = true if the network is yours alone"
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
