"""The guard lets our own page and plain programs in, and nobody who borrows a browser."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.web.guard import HEADERS, Guard, Refusal, is_known_host, judge
from hub.web.settings import WebSettings
from streams.settings import SettingsError

JSON = {"content-type": "application/json", "content-length": "2"}


def verdict(kind: str = "http", method: str = "GET", path: str = "/api/v1/commands", **headers: str) -> Refusal | None:
    named = {"host": "127.0.0.1:8080", **{key.replace("_", "-"): value for key, value in headers.items()}}
    return judge(kind, method, path, named, names=("hub.example.org",), body_bytes_max=1000)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8080", "localhost:8080", "[::1]:8080", "192.168.1.5", "HUB.example.org:80", "a.localhost"],
)
def test_addresses_localhost_and_declared_names_are_known(host: str) -> None:
    assert verdict(host=host) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "", "x", "[::1", "evil@127.0.0.1.x"],
)
def test_any_other_name_is_refused_however_safe_the_method(host: str) -> None:
    refusal = verdict(host=host)
    assert refusal is not None and refusal.status == 403 and "web.names" in refusal.error
    assert verdict("websocket", host=host) is not None


@given(st.text())
def test_a_host_header_of_any_kind_is_judged_without_failing(host: str) -> None:
    assert is_known_host(host, ()) in (True, False)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null", "http://[", "file://"])
@pytest.mark.parametrize(("kind", "method"), [("http", "POST"), ("http", "DELETE"), ("websocket", "GET")])
def test_a_page_of_another_origin_can_change_nothing(kind: str, method: str, origin: str) -> None:
    headers = {"origin": origin, "content_type": "application/json", "content_length": "2"}
    refusal = verdict(kind, method, **headers)
    assert refusal is not None and refusal.status == 403


def test_a_browser_that_says_cross_site_without_an_origin_is_refused() -> None:
    refusal = verdict(method="POST", content_type="application/json", content_length="2", sec_fetch_site="cross-site")
    assert refusal is not None and refusal.status == 403


@pytest.mark.parametrize("origin", [{}, {"origin": "http://127.0.0.1:8080"}])
def test_our_own_page_and_programs_may(origin: dict[str, str]) -> None:
    assert verdict(method="POST", content_type="application/json; charset=utf-8", content_length="9", **origin) is None
    assert verdict(method="DELETE", **origin) is None
    assert verdict("websocket", path="/_nicegui_ws/socket.io/", **origin) is None


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_can_send_is_not_taken(kind: str) -> None:
    refusal = verdict(method="POST", content_type=kind, content_length="2")
    assert refusal is not None and refusal.status == 415


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": "1001"}, 413),
        ({"transfer_encoding": "chunked"}, 411),
        ({"content_length": "x"}, 411),
        ({"content_length": "-5"}, 411),
    ],
)
def test_a_body_without_an_end_or_too_large_is_not_read(headers: dict[str, str], status: int) -> None:
    refusal = verdict(method="POST", content_type="application/json", **headers)
    assert refusal is not None and refusal.status == status


async def test_an_answer_carries_the_policy_and_a_refusal_is_a_sentence() -> None:
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    guard = Guard(app, names=(), body_bytes_max=1000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=guard), base_url="http://127.0.0.1") as client:
        answer = await client.get("/here")
        assert answer.text == "ok" and HEADERS.items() <= dict(answer.headers).items()
        refused = await client.get("/there", headers={"host": "evil.example"})
        assert refused.status_code == 403 and "evil.example" in refused.json()["error"]
    assert reached == ["/here"]


async def test_a_websocket_is_closed_before_the_application_sees_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("reached")

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/",
        "headers": [(b"host", b"127.0.0.1"), (b"origin", b"http://evil.example")],
    }
    await Guard(app, names=(), body_bytes_max=10)(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert json.dumps(sent)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "hub.example.org"])
def test_an_address_for_others_must_be_asked_for(host: str) -> None:
    with pytest.raises(SettingsError, match="anonymous_anywhere"):
        WebSettings(host=host)
    assert WebSettings(host=host, anonymous_anywhere=True).host == host
