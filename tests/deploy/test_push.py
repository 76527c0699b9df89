"""Pushing to a Grafana that speaks the documented API: complete, repeatable, and plain about what went wrong."""

from __future__ import annotations

import builtins
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.dashboards import push
from deploy.dashboards.catalogue import DASHBOARDS
from streams.errors import MisuseError, PenstockError, TryLaterError
from tests.deploy.grafana import TOKEN, Grafana, grafana


@dataclass(frozen=True)
class StoreSettings:
    influx_url: str = "http://influxdb:8086"
    influx_bucket: str = "penstock"
    influx_token: str = "influx-token"


@pytest.fixture
def server() -> Iterator[Grafana]:
    with grafana() as running:
        yield running


def test_everything_is_there_and_a_second_push_changes_nothing(server: Grafana) -> None:
    said = push(server.url, TOKEN, StoreSettings())
    assert set(server.dashboards) == {make()["uid"] for make in DASHBOARDS.values()}
    assert set(server.folders) == set(server.sources) == {"penstock"}
    assert server.sources["penstock"]["secureJsonData"] == {"httpHeaderValue1": "Token influx-token"}
    assert all(body["folderUid"] == "penstock" and body["overwrite"] for body in server.dashboards.values())
    assert f"dashboard Fleet: {server.url}/d/penstock-fleet/x" in said
    assert not any("influx-token" in line for line in said)
    before = (dict(server.sources), dict(server.folders), dict(server.dashboards))
    assert push(server.url, TOKEN, StoreSettings()) == said
    assert (server.sources, server.folders, server.dashboards) == before


def test_a_changed_store_updates_the_source(server: Grafana) -> None:
    push(server.url, TOKEN, StoreSettings())
    push(server.url, TOKEN, StoreSettings(influx_url="http://other:8086"))
    assert server.sources["penstock"]["url"] == "http://other:8086"


def test_a_path_below_the_address_is_kept(server: Grafana) -> None:
    with pytest.raises(PenstockError):
        push(f"{server.url}/grafana", TOKEN, StoreSettings())
    assert server.calls[0][1].startswith("/grafana/api/")


@pytest.mark.parametrize(
    ("change", "token", "kind", "says"),
    [
        ({}, "wrong", MisuseError, "does not know the token"),
        ({"role": "Viewer"}, TOKEN, MisuseError, "role Admin"),
        ({"broken": True}, TOKEN, PenstockError, "database is locked"),
    ],
)
def test_what_grafana_refuses_is_said_with_its_address(
    server: Grafana, change: dict[str, Any], token: str, kind: type[PenstockError], says: str
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(kind, match=says) as caught:
        push(server.url, token, StoreSettings())
    assert server.url in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_nobody_there_is_said_with_the_remedy() -> None:
    with socket.socket() as held:  # bound and not listening: nobody answers, and nobody else gets the port
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(TryLaterError, match="--url") as caught:
            push(url, TOKEN, StoreSettings())
    assert url in str(caught.value)


def test_what_is_no_address_is_misuse() -> None:
    with pytest.raises(MisuseError, match=r"http://127\.0\.0\.1:3000"):
        push("localhost:3000", TOKEN, StoreSettings())


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("grafana_client"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MisuseError, match=r"penstock\[grafana\]"):
        push("http://127.0.0.1:1", TOKEN, StoreSettings())
