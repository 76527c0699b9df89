"""penstock dashboards build | push"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from penstock.commands.common import ConfigOption
from penstock.configuration import configure
from streams.errors import MisuseError


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Grafana dashboards as code.", no_args_is_help=True)
    group.command("build")(build)
    group.command("push")(push)
    app.add_typer(group, name="dashboards")


def build(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("grafana"),
    config: ConfigOption = None,
) -> None:
    """Write provisioning files: data source, dashboards and how Grafana finds them."""
    from deploy.dashboards import build as build_dashboards

    try:
        paths = build_dashboards(out, configure(config).processors.store)
    except OSError as error:
        raise MisuseError(f"cannot write to --out {out}: {error.strerror}; name a directory of yours") from None
    for path in paths:
        print(path)


def push(
    url: Annotated[str, typer.Option(metavar="URL", help="Where Grafana is.")] = "http://127.0.0.1:3000",
    token: Annotated[str | None, typer.Option(help="Service account token (PENSTOCK_GRAFANA_TOKEN).")] = None,
    config: ConfigOption = None,
) -> None:
    """Send the data source and the dashboards to a running Grafana."""
    from deploy.dashboards import push as push_dashboards

    chosen = token or os.environ.get("PENSTOCK_GRAFANA_TOKEN")
    if not chosen:
        raise MisuseError(
            "Grafana needs a service account token: --token, or better the variable PENSTOCK_GRAFANA_TOKEN"
        )
    for name in push_dashboards(url, chosen, configure(config).processors.store):
        print(name)
