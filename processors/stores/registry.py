"""Every kind of store by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from processors.settings import StoreSettings
from processors.stores.store import Store


def _duckdb(directory: Path, settings: StoreSettings) -> Store:
    from processors.stores.duckdb_store import DuckDBStore

    return DuckDBStore(directory, settings)


def _influx(directory: Path, settings: StoreSettings) -> Store:
    from processors.stores.influx_store import InfluxStore

    return InfluxStore(directory, settings)


STORES: dict[str, Callable[[Path, StoreSettings], Store]] = {"duckdb": _duckdb, "influx": _influx}


def open_store(directory: Path, settings: StoreSettings) -> Store:
    """Open the store that the settings name, with its state in `directory`."""
    return STORES[settings.kind](directory, settings)


def check_store(settings: StoreSettings) -> str | None:
    """Before anything is started: MisuseError says what a person has to set right. A sentence says what is away now."""
    if settings.kind != "influx":
        return None
    from processors.stores.influx_server import check

    return check(settings)
