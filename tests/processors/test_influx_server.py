"""What InfluxDB says, as an error that says what to do. Its words are those of 1.8.10 and 2.7.12; a small HTTP server
says them, because the real ones cannot be made to on purpose."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from processors.settings import StoreSettings
from processors.stores.influx_server import InfluxServer, Refused, check, identifier, literal
from streams.errors import MisuseError, PenstockError, TryLaterError

TOKEN = "very-secret-token"
LINE = b"reading,device=a,metric=b value=1,quality=0i 1\n"


class Answering:
    """A server that gives the answers in turn, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], str]] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        answering = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answering.asked.append((self.command, self.path, dict(self.headers), body))
                status, headers, said = answering.answers.pop(0)
                if status == 0:  # nothing at all
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(said.encode())), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.encode())

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def says(self, status: int, said: str = "", **headers: str) -> None:
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, said))


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


@pytest.fixture
def server(answering: Answering) -> Iterator[InfluxServer]:
    made = InfluxServer(settings(answering.url))
    yield made
    made.close()


def settings(url: str, **more: Any) -> StoreSettings:
    return StoreSettings(
        **{"influx_url": url, "influx_token": TOKEN, "influx_org": "works", "influx_bucket": "plant", **more}
    )


def test_lines_are_sent_compressed_with_the_token_in_the_header_alone(
    answering: Answering, server: InfluxServer
) -> None:
    answering.says(204)
    server.write(LINE)
    ((method, path, headers, body),) = answering.asked
    assert (method, path) == ("POST", "/api/v2/write?org=works&bucket=plant&precision=ns")
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == LINE
    assert headers["Authorization"] == f"Token {TOKEN}"
    assert TOKEN not in f"{server} {server!r}"


PARTIAL = '{"error":"partial write: points beyond retention policy dropped=3"}'
CONFLICT = (
    '{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: '
    'input field \\"value\\" on measurement \\"reading\\" is type string, already exists as type float dropped=1"}'
)
OUTSIDE = (
    '{"code":"unprocessable entity","message":"failure writing points to database: partial write: dropped 2 points '
    'outside retention policy of duration 1h0m0s - oldest point ..."}'
)
UNPARSED = '{"error":"partial write: unable to parse \'reading value=zz 5\': invalid boolean dropped=0"}'


@pytest.mark.parametrize(
    ("status", "said", "dropped"),
    [
        (400, PARTIAL, 3),
        (422, CONFLICT, 1),
        (422, OUTSIDE, 2),
        (400, UNPARSED, None),
        (413, "Request Entity Too Large", None),
    ],
)
def test_lines_that_are_refused(
    answering: Answering, server: InfluxServer, status: int, said: str, dropped: int | None
) -> None:
    answering.says(status, said)
    with pytest.raises(Refused) as found:
        server.write(LINE)
    assert found.value.dropped == dropped
    assert "{" not in str(found.value), "the sentence, not its wrapping"


@pytest.mark.parametrize(
    ("status", "said", "headers", "wait_s"),
    [
        (429, '{"code":"too many requests","message":"slow down"}', {"Retry_After": "7"}, 7),
        (429, "slow down", {"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1),
        (429, "slow down", {"Retry_After": "86400"}, 60),
        (503, '{"code":"unavailable","message":"overloaded"}', {}, 1),
        (500, '{"error":"timeout"}', {}, 1),
        (400, "Client sent an HTTP request to an HTTPS server.", {}, 1),
        (400, '{"error":"unexpected EOF"}', {}, 1),
        (302, "", {"Location": "http://127.0.0.1:1/"}, 1),
    ],
)
def test_a_server_that_cannot_now(
    answering: Answering, server: InfluxServer, status: int, said: str, headers: dict[str, str], wait_s: float
) -> None:
    """A 400 that does not speak of lines is not taken as a word on them: nothing would ever be stored again."""
    answering.says(status, said, **headers)
    with pytest.raises(TryLaterError) as found:
        server.write(LINE)
    assert found.value.retry_after_s == wait_s
    assert str(status) in str(found.value)
    assert answering.url in str(found.value)


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (401, '{"code":"unauthorized","message":"unauthorized access"}', "processors.store.influx_token"),
        (403, '{"error":"\\"u\\" user is not authorized to write to database \\"plant\\""}', "give it both rights"),
        (404, "404 page not found", "processors.store.influx_url"),
        (
            404,
            '{"code":"not found","message":"organization name \\"works\\" not found"}',
            "processors.store.influx_org",
        ),
    ],
)
def test_what_a_person_has_to_set_right(
    answering: Answering, server: InfluxServer, status: int, said: str, remedy: str
) -> None:
    answering.says(status, said)
    with pytest.raises(TryLaterError, match=remedy) as found:
        server.write(LINE)
    assert TOKEN not in str(found.value)
    answering.says(status, said)
    with pytest.raises(MisuseError, match=remedy):
        check(settings(answering.url))


def test_a_missing_bucket_of_version_2_is_named_with_the_command_that_makes_it(
    answering: Answering, server: InfluxServer
) -> None:
    answering.says(404, '{"code":"not found","message":"bucket \\"plant\\" not found"}')
    answering.says(204, X_Influxdb_Version="v2.7.12")
    with pytest.raises(TryLaterError, match="influx bucket create --org works --name plant"):
        server.write(LINE)


def test_a_missing_database_of_version_1_is_made(answering: Answering, server: InfluxServer) -> None:
    answering.says(404, '{"error":"database not found: \\"plant\\""}')
    answering.says(204, X_Influxdb_Version="1.8.10")
    answering.says(200, '{"results":[{"statement_id":0}]}\n')
    answering.says(204)
    server.write(LINE)
    assert [path.partition("?")[0] for _, path, _, _ in answering.asked] == [
        "/api/v2/write", "/ping", "/query", "/api/v2/write",
    ]  # fmt: skip
    assert answering.asked[2][3] == b"q=CREATE+DATABASE+%22plant%22"


def test_a_database_that_may_not_be_made(answering: Answering, server: InfluxServer) -> None:
    answering.says(404, '{"error":"database not found: \\"plant\\""}')
    answering.says(204, X_Influxdb_Version="1.8.10")
    answering.says(403, '{"error":"error authorizing query: create database requires admin privilege"}')
    with pytest.raises(TryLaterError, match="requires admin privilege"):
        server.write(LINE)


@pytest.mark.parametrize(
    ("said", "forgets"),
    [
        ('{"buckets":[{"name":"plant","retentionRules":[{"type":"expire","everySeconds":3600}]}]}', True),
        ('{"buckets":[{"name":"plant","retentionRules":[]}]}', False),
        ("<html>", True),
    ],
)
def test_whether_a_bucket_of_version_2_has_a_retention(
    answering: Answering, server: InfluxServer, said: str, forgets: bool
) -> None:
    """Its InfluxQL says 0s of every bucket, so it is asked otherwise."""
    answering.says(204, X_Influxdb_Version="v2.7.12")
    answering.says(200, said)
    assert server.forgets() is forgets
    assert answering.asked[1][:2] == ("GET", "/api/v2/buckets?org=works&name=plant")


def test_answers_come_in_pieces(answering: Answering, server: InfluxServer) -> None:
    def piece(statement: int, values: list[list[Any]]) -> str:
        series = {"name": "reading", "columns": ["time", "value"], "values": values}
        return json.dumps({"results": [{"statement_id": statement, "series": [series], "partial": True}]})

    answering.says(200, f"{piece(0, [[1, 2.5]])}\n{piece(0, [[2, 3]])}\n{piece(1, [[3, None]])}\n")
    found = [(statement, series["values"]) for statement, series in server.ask("SELECT a; SELECT b")]
    assert found == [(0, [[1, 2.5]]), (0, [[2, 3]]), (1, [[3, None]])]
    assert answering.asked[0][1] == "/query?db=plant&epoch=ns&chunked=true"


def test_the_sign_of_zero_survives_json(answering: Answering, server: InfluxServer) -> None:
    answering.says(200, '{"results":[{"statement_id":0,"series":[{"values":[[1,-0]]}]}]}\n')
    ((_, series),) = server.ask("SELECT a")
    assert str(series["values"][0][1]) == "-0.0"


def test_an_answer_with_an_error_in_it(answering: Answering, server: InfluxServer) -> None:
    answering.says(200, '{"results":[{"statement_id":0,"error":"shard is closed"}]}\n')
    with pytest.raises(TryLaterError, match="shard is closed"):
        list(server.ask("SELECT a"))
    answering.says(200, '{"results":[{"statement_id":0,"error":"database not found: plant"}]}\n')
    assert list(server.ask("SELECT a")) == []


@pytest.mark.parametrize("said", ["", '{"results":[{"statement_id":0,"series":', "<html>welcome</html>"])
def test_an_answer_that_breaks_off(answering: Answering, server: InfluxServer, said: str) -> None:
    answering.says(200, said, Content_Length=str(len(said) + 10), Connection="close")
    with pytest.raises(TryLaterError, match="does not answer"):
        list(server.ask("SELECT a"))


def test_a_connection_that_is_cut(answering: Answering, server: InfluxServer) -> None:
    answering.says(0)
    with pytest.raises(TryLaterError, match="does not answer"):
        server.write(LINE)
    answering.says(204)
    server.write(LINE)


def test_nobody_listens() -> None:
    with pytest.raises(TryLaterError, match=r"InfluxDB at http://127.0.0.1:1 does not answer \(.*refused"):
        InfluxServer(settings("http://127.0.0.1:1")).write(LINE)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"influx_url": "127.0.0.1:8086"}, "http://127.0.0.1:8086"),
        ({"influx_url": "ftp://127.0.0.1"}, "http://127.0.0.1:8086"),
        ({"influx_url": "http://me:pa55word@127.0.0.1:8086"}, "influx_token"),
        ({"influx_url": "http://127.0.0.1:8086?db=x"}, "http://127.0.0.1:8086"),
        ({"influx_bucket": ""}, "influx_bucket"),
    ],
)
def test_settings_that_cannot_be_used(wrong: dict[str, str], remedy: str) -> None:
    with pytest.raises(MisuseError, match=remedy) as found:
        InfluxServer(settings(**{"url": wrong.get("influx_url", "http://127.0.0.1:8086"), **wrong}))
    assert "pa55word" not in str(found.value)


def test_quoting() -> None:
    assert literal("a'b\\c\nd") == r"'a\'b\\c\nd'"
    assert identifier('a"b\\c\nd') == r'"a\"b\\c\nd"'


def test_every_error_is_one_of_ours(answering: Answering, server: InfluxServer) -> None:
    for status in (*range(300, 309), *range(400, 432), *range(500, 512)):
        if status == 404:
            continue
        answering.says(status, "no")
        with pytest.raises(PenstockError):
            server.write(LINE)


def test_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        server = InfluxServer(settings(url, influx_timeout_s=0.2))
        with pytest.raises(TryLaterError, match=r"does not answer \(nothing within 0.2 s\)"):
            server.write(LINE)
        server.close()
