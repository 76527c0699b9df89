"""Bytes that are no MQTT."""

from __future__ import annotations

from streams.errors import JunkError


class MalformedPacket(JunkError):
    """The peer sent what no packet may look like. `reason` is the MQTT 5 reason code to close with."""

    def __init__(self, message: str, *, reason: int = 0x81) -> None:
        super().__init__(message)
        self.reason = reason
