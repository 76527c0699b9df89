"""One settings file for every process: each table belongs to a room, all of them are checked by every process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.settings import EdgeSettings
from hub.settings import HubSettings
from hub.web.settings import WebSettings
from processors.settings import ProcessorsSettings
from simulators.settings import FleetSettings
from streams.settings import load, section


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Every setting there is."""

    hub: HubSettings = section(HubSettings, "The hub: MQTT gateway, event log, devices, commands.")
    processors: ProcessorsSettings = section(ProcessorsSettings, "Detection, alarms and the time-series store.")
    web: WebSettings = section(WebSettings, "The web page and the public HTTP API.")
    edge: EdgeSettings = section(EdgeSettings, "The edge agent of this machine.")
    fleet: FleetSettings = section(FleetSettings, "The simulated fleet.")


def configure(file: Path | None, flags: Mapping[str, str] | None = None) -> Configuration:
    """Defaults, then the file, then the environment, then flags. Raises SettingsError with the place and the remedy."""
    chosen = file or (Path(os.environ["PENSTOCK_CONFIG"]) if os.environ.get("PENSTOCK_CONFIG") else None)
    return load(Configuration, file=chosen, environment=os.environ, flags=flags)
