"""Every kind of store by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from processors.settings import StoreSettings
from processors.stores.store import Store
from streams.errors import TryLaterError


def _duckdb(directory: Path, settings: StoreSettings) -> Store:
    from processors.stores.duckdb_store import DuckDBStore

    return DuckDBStore(directory, settings)


def _influx(directory: Path, settings: StoreSettings) -> Store:
    from processors.stores.influx_store import InfluxStore

    return InfluxStore(directory, settings)


def _check_influx(settings: StoreSettings) -> None:
    from processors.stores.influx_server import InfluxServer

    server = InfluxServer(settings)
    try:
        server.check()
    finally:
        server.close()


STORES: dict[str, Callable[[Path, StoreSettings], Store]] = {"duckdb": _duckdb, "influx": _influx}


def open_store(directory: Path, settings: StoreSettings) -> Store:
    """Open the store that the settings name, with its state in `directory`."""
    return STORES[settings.kind](directory, settings)


def check_store(settings: StoreSettings) -> str | None:
    """Before anything is started: MisuseError says what a person has to set right. A sentence says what is away now."""
    try:
        if settings.kind == "influx":
            _check_influx(settings)
    except TryLaterError as error:
        return str(error)
    return None
