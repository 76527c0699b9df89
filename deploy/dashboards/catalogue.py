"""Every dashboard there is, by file name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from deploy.dashboards.anomalies import anomalies
from deploy.dashboards.device import device
from deploy.dashboards.fleet import fleet

DASHBOARDS: dict[str, Callable[[], dict[str, Any]]] = {"fleet": fleet, "device": device, "anomalies": anomalies}


def to_text(made: dict[str, Any]) -> str:
    """The same bytes for the same dashboard, so that a change shows as what it is."""
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
