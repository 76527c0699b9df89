"""An InfluxDB server as this store needs it: write lines, ask in InfluxQL, and errors that say what to do.

Through influxdb-client, which InfluxDB 1.8 and 2 both serve: lines to /api/v2/write, questions to /query. The token is
in none of the messages.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import urlsplit

from processors.settings import StoreSettings
from streams.errors import MisuseError, PenstockError, TryLaterError

CONNECT_S_MAX = 5.0
CHECK_S_MAX = 5.0
RETRY_S = 1.0
RETRY_S_MAX = 60.0
WRONG_S = 10.0  # a person is at it, perhaps
GZIP_LEVEL = 1
REASON_CHARS_MAX = 300

# What InfluxDB says when it speaks of lines, not of the request: then only the lines are at fault.
_ABOUT_LINES = re.compile(r"partial write|unable to parse|dropped=|max key size")
_OBJECT = re.compile(r"<[^>]*>: ")
_DROPPED = re.compile(r"dropped[= ](\d+)")


class Refused(PenstockError):
    """InfluxDB will never take some of these lines. `dropped` is how many, where it says so."""

    def __init__(self, reason: str, dropped: int | None = None) -> None:
        super().__init__(reason)
        self.dropped = dropped


class InfluxServer:
    """Safe for several threads. MisuseError at construction: the package or a setting."""

    def __init__(self, settings: StoreSettings) -> None:
        self.url = _checked(settings.influx_url)
        self.bucket = settings.influx_bucket
        self.org = settings.influx_org
        if not self.bucket:
            raise MisuseError("processors.store.influx_bucket is empty; name the bucket (version 1: the database)")
        try:
            from influxdb_client.client.influxdb_client import InfluxDBClient
        except ImportError:
            raise MisuseError(
                "the store InfluxDB needs the package influxdb-client: pip install 'penstock[influx]'"
            ) from None
        timeout_ms = round(1000 * settings.influx_timeout_s)
        self._timeout_s = settings.influx_timeout_s
        self._timeouts = (min(round(1000 * CONNECT_S_MAX), timeout_ms), timeout_ms)
        self._client: Any = InfluxDBClient(url=self.url, token=settings.influx_token, org=self.org, timeout=timeout_ms)

    def write(self, lines: bytes | memoryview) -> None:
        """Write lines, compressed; all are on its disk then. Refused: see there. TryLaterError: write them again."""
        packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
        body = packer.compress(lines) + packer.flush()
        try:
            self._post_lines(body)
        except _NoDatabase:
            self._create_database()
            self._post_lines(body)

    def ask(self, statements: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The answers piece by piece: the index of the statement, and a series with `columns`, `values`, `tags`.

        Whole floats come as int, as JSON has it. A database that is not there yet has no data.
        """
        database, _, policy = self.bucket.partition("/")
        parameters = {"db": database, "epoch": "ns", "chunked": "true", **({"rp": policy} if policy else {})}
        answer = self._call("/query", parameters, form={"q": statements})
        try:
            for line in answer:
                for result in json.loads(line, parse_int=_whole).get("results", ()):
                    if "error" in result:
                        if "database not found" in result["error"]:
                            return
                        raise TryLaterError(f"{self} could not answer: {result['error']}", retry_after_s=RETRY_S)
                    for series in result.get("series", ()):
                        yield result["statement_id"], series
        except (OSError, ValueError, _http_error()) as error:
            raise self._silent(error) from None
        finally:
            answer.release_conn()

    def forgets(self) -> bool:
        """Whether the bucket has a retention, so that points go away by themselves; also when that cannot be known."""
        database = self.bucket.partition("/")[0]
        if self._version().startswith("1."):
            policies = self.ask(f"SHOW RETENTION POLICIES ON {identifier(database)}")
            return any(row[1] != "0s" for _, series in policies for row in series["values"])
        try:
            answer = self._call("/api/v2/buckets", {"org": self.org, "name": self.bucket}, method="GET")
            return any(bucket["retentionRules"] for bucket in json.loads(answer.data)["buckets"])
        except (PenstockError, ValueError, KeyError, OSError, _http_error()):
            return True

    def close(self) -> None:
        self._client.close()

    def __str__(self) -> str:
        return f"InfluxDB at {self.url}"

    # -- inside ------------------------------------------------------------------------------------------------------

    def _post_lines(self, body: bytes) -> None:
        parameters = {"org": self.org, "bucket": self.bucket, "precision": "ns"}
        self._call("/api/v2/write", parameters, body=body).drain_conn()

    def _create_database(self) -> None:
        """Version 1 makes a database when it is asked to; version 2 wants its bucket made by a person."""
        if not self._version().startswith("1."):
            raise _Wrong(
                f"{self} has no bucket {self.bucket} in the organisation {self.org}, or the token may not see it; "
                f"make it: influx bucket create --org {self.org} --name {self.bucket}"
            )
        name = self.bucket.partition("/")[0]
        for _ in self.ask(f"CREATE DATABASE {identifier(name)}"):
            pass

    def _version(self) -> str:
        answer = self._call("/ping", {}, method="GET")
        answer.drain_conn()
        return str(answer.headers.get("X-Influxdb-Version", ""))

    def _call(
        self,
        path: str,
        parameters: dict[str, str],
        *,
        method: str = "POST",
        body: bytes | None = None,
        form: dict[str, str] | None = None,
    ) -> Any:
        from influxdb_client.rest import ApiException

        headers = {"Accept": "application/json"}
        if body is not None:
            headers |= {"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"}
        elif form is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            return self._client.api_client.call_api(
                path,
                method,
                query_params=list(parameters.items()),
                header_params=headers,
                body=body,
                post_params=form,
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=self._timeouts,
            )
        except ApiException as error:
            self._explain(error.status, _said(error), error.headers or {})
        except (OSError, _http_error()) as error:
            raise self._silent(error) from None

    def _explain(self, status: int | None, said: str, headers: Any) -> NoReturn:
        """The answer of the server as an error that says what to do."""
        if status in (400, 422) and _ABOUT_LINES.search(said):
            dropped = _DROPPED.search(said)
            raise Refused(said, int(dropped[1]) if dropped and int(dropped[1]) else None)
        if status == 413:
            raise Refused(f"too large for {self}: {said}")
        if status == 401:
            raise _Wrong(
                f"{self} does not know the token of processors.store.influx_token (version 1: USER:PASSWORD): {said}"
            )
        if status == 403:
            raise _Wrong(f"{self} does not let this token write and read {self.bucket}: {said}; give it both rights")
        if status == 404 and re.search("(database|bucket).*not found", said):
            raise _NoDatabase(said)
        if status == 404 and "organization" in said:
            raise _Wrong(f"{self} answers: {said}; set processors.store.influx_org")
        if status == 404:
            raise _Wrong(f"{self} answers 404: {said}; is processors.store.influx_url the address of an InfluxDB?")
        if not status:
            raise self._silent(said)
        raise TryLaterError(f"{self} answers {status}: {said}", retry_after_s=_retry_s(headers))

    def _silent(self, error: object) -> TryLaterError:
        reason = _OBJECT.sub("", " ".join(str(error).split())) or type(error).__name__
        if "timed out" in reason:
            reason = f"nothing within {self._timeout_s:g} s"
        return TryLaterError(f"{self} does not answer ({_short(reason)})", retry_after_s=RETRY_S)


def check(settings: StoreSettings) -> str | None:
    """Whether it can be written to; its database is made where that is possible.

    MisuseError says what a person has to set right. A sentence says that it is away just now.
    """
    server = InfluxServer(dataclasses.replace(settings, influx_timeout_s=min(CHECK_S_MAX, settings.influx_timeout_s)))
    try:
        server.write(b"")
    except _Wrong as error:
        raise MisuseError(str(error)) from None
    except TryLaterError as error:
        return str(error)
    except Refused:  # an empty write gets past everything but its lines
        pass
    finally:
        server.close()
    return None


class _Wrong(TryLaterError):
    """A person has to set something right, here or there; until then it is worth trying."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=WRONG_S)


class _NoDatabase(_Wrong):
    """The bucket is not there."""


def literal(text: str) -> str:
    """A string of InfluxQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def identifier(name: str) -> str:
    """A name of InfluxQL."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise MisuseError("processors.store.influx_url must not hold a password; put it into influx_token")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise MisuseError(
            f"processors.store.influx_url {url!r} is not the address of an InfluxDB; write it as http://127.0.0.1:8086"
        )
    return url.rstrip("/")


def _http_error() -> type[Exception]:
    """What urllib3, below influxdb-client, raises when a connection fails."""
    import urllib3.exceptions

    return urllib3.exceptions.HTTPError


def _said(error: Any) -> str:
    """The sentence in an error's body."""
    body = error.body
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or error.reason or "")
    try:
        found = json.loads(text)
        text = found.get("error") or found.get("message") or text
    except (ValueError, AttributeError):
        pass
    return _short(text.strip())


def _short(text: str) -> str:
    return text if len(text) <= REASON_CHARS_MAX else text[: REASON_CHARS_MAX - 3] + "..."


def _retry_s(headers: Any) -> float:
    try:
        return max(RETRY_S, min(RETRY_S_MAX, float(headers.get("Retry-After", RETRY_S))))
    except ValueError:
        return RETRY_S


def _whole(text: str) -> float:
    """JSON's -0 is a float; int would lose its sign."""
    return -0.0 if text == "-0" else int(text)
