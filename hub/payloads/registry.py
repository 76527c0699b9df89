"""Formats by name, and which one a message is in: its content type says it (MQTT 5), or its topic."""

from __future__ import annotations

from hub.payloads.line_protocol import read_lines
from hub.payloads.plain_json import read_json
from hub.payloads.reading import Reader
from hub.payloads.senml import read_senml, read_senml_cbor, read_senml_json
from streams import names
from streams.errors import JunkError

READERS: dict[str, Reader] = {
    "json": read_json,
    "senml": read_senml,
    "senml+json": read_senml_json,
    "senml+cbor": read_senml_cbor,
    "lines": read_lines,
}

CHANNELS = {names.READINGS: "json", names.JSON: "json", names.SENML: "senml", names.LINES: "lines"}
"""The last level of a topic, and what it means without a content type."""

CONTENT_TYPES = {
    "application/json": "json",
    "application/senml+json": "senml+json",
    "application/senml+cbor": "senml+cbor",
    "application/vnd.influxdb.line-protocol": "lines",
    "text/vnd.influxdb.line-protocol": "lines",
}


def format_of(channel: str, content_type: str | None) -> str:
    """The format of a message. JunkError for a content type that nobody here reads.

    A content type decides on the channel `readings`; on the others it may only say more exactly what they are.
    """
    if content_type is None:
        return CHANNELS[channel]
    found = CONTENT_TYPES.get(content_type.split(";")[0].strip().lower())
    if found is not None and (channel == names.READINGS or found.startswith(CHANNELS[channel])):
        return found
    if channel != names.READINGS:
        return CHANNELS[channel]
    raise JunkError(f"the content type {content_type[:80]!r} is not read here; use one of {', '.join(CONTENT_TYPES)}")
