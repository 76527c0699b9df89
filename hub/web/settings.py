"""Settings of the web process."""

from __future__ import annotations

from dataclasses import dataclass

from streams.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Where the page and the HTTP API are served, and to whom."""

    host: str = setting(
        "127.0.0.1",
        "Address to listen on; there is no log-in, so whoever reaches it may see everything and send commands.",
    )
    port: int = setting(
        8080, "TCP port of the page and the HTTP API; 0 lets the system choose.", minimum=0, maximum=65535
    )
    names: tuple[str, ...] = setting(
        (), "Host names under which browsers may ask, beside localhost and plain addresses (against DNS rebinding)."
    )
    body_bytes_max: int = setting(
        65536, "The largest request body that the HTTP API takes, in bytes.", minimum=1024, maximum=16 * 1024 * 1024
    )
