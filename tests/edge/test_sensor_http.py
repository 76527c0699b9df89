from __future__ import annotations

import base64
import contextlib
import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from edge.inspection import check
from edge.sensors.contract import SensorContract
from edge.sensors.http import BODY_BYTES_MAX, HttpSensor
from edge.sensors.sensor import Bad, SensorFailedError
from streams.errors import JunkError, MisuseError
from tests.edge.opened import make, read
from tests.edge.samples import sample

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]
T = [{"name": "t"}]


def say(body: bytes, status: int = 200) -> Answer:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


@contextlib.contextmanager
def device(answer: Answer, *, certificate: trustme.LeafCert | None = None) -> Iterator[str]:
    """A device's web server; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class TestContract(SensorContract):
    constructor = HttpSensor

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        with device(say(b'{"t": 1.5}')) as self.url:
            yield

    def options(self) -> Mapping[str, Any]:
        return {"url": self.url, "series": T}


def test_members_of_the_answer() -> None:
    with device(say(b'{"StatusSNS": {"ENERGY": {"Power": 42}}}')) as url:
        series = [{"name": "power", "field": "StatusSNS.ENERGY.Power"}, {"name": "x"}]
        assert read(make("http", url=url, series=series)) == [42.0, Bad("nothing was said of x")]


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (say(b"gone", 404), SensorFailedError, "HTTP Error 404"),
        (say(b"<html>"), JunkError, "it is not JSON"),
        (say(b" " * (BODY_BYTES_MAX + 1)), SensorFailedError, f"more than {BODY_BYTES_MAX} bytes"),
        (lambda request: request.wfile.write(b"nonsense\r\n\r\n"), SensorFailedError, "nonsense"),
    ],
)
def test_other_answers_are_failures_that_say_why(answer: Answer, error: type[Exception], said: str) -> None:
    with device(answer) as url, pytest.raises(error, match=said):
        read(make("http", url=url, series=T))


def test_an_answer_that_trickles_is_cut_off_at_the_time_limit() -> None:
    ended = threading.Event()

    def trickle(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not ended.wait(0.02):
            request.wfile.write(b" ")

    started = time.monotonic()
    with device(trickle) as url, pytest.raises(SensorFailedError, match=r"did not end its answer within 0\.45 s"):
        try:
            read(make("http", url=url, series=T, timeout_s=0.5))
        finally:
            ended.set()
    assert time.monotonic() - started < 30


def test_secrets_come_from_files_and_go_to_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    seen: list[str | None] = []

    def note(request: http.server.BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Authorization"])
        say(b'{"t": 1}')(request)

    with device(note) as url:

        def elsewhere(request: http.server.BaseHTTPRequestHandler) -> None:
            seen.append(request.headers["Authorization"])
            request.send_response(302)
            request.send_header("Location", url)
            request.end_headers()

        with device(elsewhere) as first:
            secret = str(tmp_path / "secret")
            read(make("http", url=first, token_file=secret, series=T))
            read(make("http", url=url, username="me", password_file=secret, series=T))
    assert seen == ["Bearer s3cret", None, f"Basic {base64.b64encode(b'me:s3cret').decode()}"]


def test_https_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with device(say(b'{"t": 1}'), certificate=authority.issue_cert("localhost")) as url:
        assert read(make("http", url=url, ca_file=str(tmp_path / "ca.pem"), series=T)) == [1.0]
        with pytest.raises(SensorFailedError, match="CERTIFICATE_VERIFY_FAILED"):
            read(make("http", url=url, series=T))


def test_a_key_in_the_query_is_not_shown() -> None:
    with device(say(b"no", 403)) as url, pytest.raises(SensorFailedError) as caught:
        read(make("http", url=f"{url}/a?key=s3cret", series=T))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "file:///etc/passwd"}, "must begin with http"),
        ({"url": "http://me:pw@host/"}, "use username and password_file"),
        ({"url": "http://host/", "username": "me"}, "name username and password_file"),
    ],
)
def test_options_that_cannot_be_are_misuse(options: dict[str, str], said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        make("http", series=T, **options)


def test_the_sample_is_in_order(tmp_path: Path) -> None:
    with device(say(b'{"StatusSNS": {"ENERGY": {"Power": 42, "Total": 12.5}}}')) as url:
        assert check(sample("http", tmp_path, ("http://192.168.1.30", url))) == []
