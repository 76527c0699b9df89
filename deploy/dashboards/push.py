"""Sending the data source and the dashboards to a running Grafana, through its HTTP API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from deploy.dashboards.build import FOLDER, FOLDER_UID
from deploy.dashboards.catalogue import DASHBOARDS
from deploy.dashboards.source import NAME, UID, Source, Store
from streams.errors import MisuseError, PenstockError, TryLaterError

TIMEOUT_S = 10.0


def push(url: str, token: str, store: Store) -> list[str]:
    """Make or update the data source, the folder and every dashboard; returns what was sent, in words.

    May be repeated: everything has an id of its own. Needs the package grafana-client, from the extra `grafana`.
    MisuseError: the token, its role, or what Grafana refuses. TryLaterError: Grafana does not answer.
    """
    grafana = _client(url, token)
    with _explained(url):
        _upsert_source(grafana, Source(url=store.influx_url, bucket=store.influx_bucket, token=store.influx_token))
        _ensure_folder(grafana)
        pushed = [_push_dashboard(grafana, url, make()) for make in DASHBOARDS.values()]
    return [f"data source {NAME}: {store.influx_url}, {store.influx_bucket}", f"folder {FOLDER}", *pushed]


def _client(url: str, token: str) -> Any:
    try:
        from grafana_client.api import GrafanaApi
        from grafana_client.client import TokenAuth
    except ImportError:
        raise MisuseError(
            "pushing dashboards needs the package grafana-client: pip install 'penstock[grafana]'"
        ) from None
    try:
        valid = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        valid = False
    if not valid:
        raise MisuseError(f"{url} is not the address of a Grafana; write it as http://127.0.0.1:3000")
    credential = TokenAuth(token)  # type: ignore[no-untyped-call]
    return GrafanaApi.from_url(url.rstrip("/") + "/", credential=credential, timeout=TIMEOUT_S)


def _upsert_source(grafana: Any, source: Source) -> None:
    if _found(lambda: grafana.datasource.get_datasource_by_uid(UID)):
        grafana.datasource.update_datasource_by_uid(UID, source.to_json())
    else:
        grafana.datasource.create_datasource(source.to_json())


def _ensure_folder(grafana: Any) -> None:
    if not _found(lambda: grafana.folder.get_folder(FOLDER_UID)):
        grafana.folder.create_folder(FOLDER, uid=FOLDER_UID)


def _push_dashboard(grafana: Any, url: str, dashboard: dict[str, Any]) -> str:
    answer = grafana.dashboard.update_dashboard(
        {"dashboard": dashboard, "folderUid": FOLDER_UID, "message": "penstock dashboards push", "overwrite": True}
    )
    return f"dashboard {dashboard['title']}: {url.rstrip('/')}{answer.get('url', '/d/' + dashboard['uid'])}"


def _found(ask: Callable[[], Any]) -> bool:
    from grafana_client.client import GrafanaClientError

    try:
        ask()
    except GrafanaClientError as error:
        if error.status_code == 404:
            return False
        raise
    return True


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Errors of the client and the network as our own, with the address and the remedy."""
    import niquests
    from grafana_client.client import GrafanaClientError, GrafanaException

    try:
        yield
    except GrafanaClientError as error:
        if error.status_code == 401:
            raise MisuseError(
                f"Grafana at {url} does not know the token; make one under Administration, Service accounts"
            ) from None
        if error.status_code == 403:
            raise MisuseError(
                f"Grafana at {url} does not let this token do that; give its service account the role Admin "
                "(data sources need it)"
            ) from None
        raise MisuseError(f"Grafana at {url} refused: {error.message}") from None
    except GrafanaException as error:
        raise PenstockError(f"Grafana at {url} failed: {error.message}; see its log") from None
    except niquests.exceptions.RequestException as error:
        raise TryLaterError(
            f"no Grafana answers at {url} ({type(error).__name__}); start it, or name another with --url",
            retry_after_s=5.0,
        ) from None
