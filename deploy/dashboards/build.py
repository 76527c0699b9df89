"""Provisioning files: what Grafana reads at its start to have the data source and the dashboards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.dashboards.catalogue import DASHBOARDS, to_text
from deploy.dashboards.source import Source, Store

FOLDER = "Penstock"
FOLDER_UID = "penstock"
MOUNTED_AT = "/etc/grafana/provisioning"
TOKEN_VARIABLE = "PENSTOCK_INFLUX_TOKEN"
RESCAN_EVERY_S = 30


def build(out: Path, store: Store, *, mounted_at: str = MOUNTED_AT) -> list[Path]:
    """Write `out`/datasources and `out`/dashboards; returns the files. `mounted_at` is where Grafana will see `out`.

    The token is not written: Grafana takes it from its own environment, from PENSTOCK_INFLUX_TOKEN.
    """
    source = Source(url=store.influx_url, bucket=store.influx_bucket, token=f"${TOKEN_VARIABLE}")
    files = {
        Path("datasources/penstock.yaml"): _yaml({"apiVersion": 1, "datasources": [_provisioned(source)]}),
        Path("dashboards/penstock.yaml"): _yaml({"apiVersion": 1, "providers": [_provider(mounted_at)]}),
    }
    files |= {Path(f"dashboards/penstock/{name}.json"): to_text(make()) for name, make in DASHBOARDS.items()}
    for path, text in files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text, "utf-8")
    return [out / path for path in files]


def _provisioned(source: Source) -> dict[str, Any]:
    """Editable, so that a person may try another address; the file wins again at the next start."""
    return {**source.to_json(), "editable": True, "orgId": 1}


def _provider(mounted_at: str) -> dict[str, Any]:
    """`allowUiUpdates`: a change made in Grafana can be saved; it stays until the file itself changes."""
    return {
        "name": "penstock",
        "orgId": 1,
        "folder": FOLDER,
        "folderUid": FOLDER_UID,
        "type": "file",
        "disableDeletion": False,
        "allowUiUpdates": True,
        "updateIntervalSeconds": RESCAN_EVERY_S,
        "options": {"path": f"{mounted_at}/dashboards/penstock", "foldersFromFilesStructure": False},
    }


def _yaml(value: dict[str, Any]) -> str:
    """JSON is YAML too, so it needs no package of its own."""
    return "# made by: penstock dashboards build\n" + json.dumps(value, indent=2, ensure_ascii=False) + "\n"
