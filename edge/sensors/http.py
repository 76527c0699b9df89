"""What a device says over HTTP: one GET a tick, read as JSON, pairs, a pattern or a value."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge.sensors.lines import TextOptions, TextReader
from edge.sensors.sensor import Given, SensorContext, SensorFailedError, Series
from streams.settings import setting

BODY_BYTES_MAX = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions(TextOptions):
    """Where to ask, and how to read the answer."""

    url: str = setting(doc="What to get: http:// or https://.")
    headers: Mapping[str, str] = dataclasses.field(
        default_factory=dict, metadata={"doc": "Headers to send; no secrets, those have files."}
    )
    username: str = setting("", "Name for basic authentication.")
    password_file: str = setting("", "File with the password for it.")
    token_file: str = setting("", "File with a bearer token.")
    ca_file: str = setting("", "Certificates to trust, PEM; empty: the system's.")

    def __post_init__(self) -> None:
        TextOptions.__post_init__(self)
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url {self.url!r} must begin with http:// or https://")
        if "@" in self.url.split("/")[2]:
            raise ValueError("url has a name or password in it: use username and password_file")
        if bool(self.username) != bool(self.password_file) or (self.username and self.token_file):
            raise ValueError("name username and password_file, or token_file alone, or none of them")


class HttpSensor:
    """Asks at each tick, on a connection of its own; the whole answer must come within the time limit."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(HttpOptions)
        self._reader = TextReader(self._options)
        self.name = context.name
        self.interval_s = context.interval_s
        self.timeout_s = context.timeout_s
        self._opener: Any = None
        self._shown = self._options.url.partition("?")[0]  # a query may hold a key

    def open(self) -> Sequence[Series]:
        import ssl
        import urllib.request

        trust = ssl.create_default_context(cafile=self._options.ca_file or None)
        # a device stands in the plant: no proxy
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        return [each.declare(self.interval_s) for each in self._options.series]

    def read(self, time_ns: int) -> Sequence[Given]:
        return self._reader.read_all(self._get().decode("utf-8", "replace"))

    def close(self) -> None:
        self._opener = None

    def _get(self) -> bytes:
        import http.client
        import urllib.request

        limit_s = self.timeout_s * 0.9
        deadline = time.monotonic() + limit_s
        request = urllib.request.Request(self._options.url, headers=dict(self._options.headers))
        if authorization := self._authorization():
            request.add_unredirected_header("Authorization", authorization)
        body = b""
        try:
            with self._opener.open(request, timeout=limit_s) as answer:
                while more := answer.read1(65536):
                    body += more
                    if len(body) > BODY_BYTES_MAX:
                        raise SensorFailedError(f"{self._shown} answered more than {BODY_BYTES_MAX} bytes")
                    if time.monotonic() > deadline:
                        raise SensorFailedError(f"{self._shown} did not end its answer within {limit_s:.3g} s")
        except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
            raise SensorFailedError(f"{self._shown}: {error}") from None
        return body

    def _authorization(self) -> str:
        """The header, from files that may change at any time."""
        if self._options.token_file:
            return f"Bearer {_secret(self._options.token_file)}"
        if self._options.username:
            pair = f"{self._options.username}:{_secret(self._options.password_file)}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        return ""


def _secret(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise SensorFailedError(f"{path} cannot be read: {error.strerror}") from None
