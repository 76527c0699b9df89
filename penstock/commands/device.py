"""penstock device list | show | diagnostics"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.keys import check_key
from penstock.commands.common import DataOption, JsonOption, console, count, emit, hub_client, table, when
from streams.errors import JunkError, MisuseError
from streams.names import check_device


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Devices that the hub knows.", no_args_is_help=True)
    group.command("list")(list_devices)
    group.command("show")(show)
    group.command("diagnostics")(diagnostics)
    app.add_typer(group, name="device")


def list_devices(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List every device, with when it was last heard."""
    answer = hub_client(data).get("/devices")

    def text(_: Any) -> None:
        columns = [
            ("device", "left"),
            ("state", "left"),
            ("last seen", "left"),
            ("readings", "right"),
            ("series", "right"),
        ]
        rows = [
            (
                each["device"],
                "online" if each["online"] else "offline",
                when(each["last_seen_ms"]),
                count(each["readings"]),
                len(each["manifest"]["series"]) if each["manifest"] else "-",
            )
            for each in answer["devices"]
        ]
        table("", columns, rows)
        for each in answer.get("refused", []):
            console.print(
                f"refused: {each['device']} from {each['address']}, {each['count']} times; add it to "
                "hub.devices.registered to let it in",
                markup=False,
            )

    emit(answer, as_json, text)


def show(device: str, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one device and its series."""
    try:
        check_device(device)
    except JunkError as error:
        raise MisuseError(str(error)) from None
    answer = hub_client(data).get(f"/devices/{device}")

    def text(_: Any) -> None:
        shown = ("device", "online", "agent", "address", "epoch", "boot", "frames", "readings")
        table("", [("", "left"), ("", "left")], [(key, answer[key]) for key in shown])
        if answer["manifest"]:
            columns = [("series", "left"), ("unit", "left"), ("type", "left"), ("each", "right")]
            rows = [
                (
                    each["name"],
                    each.get("unit"),
                    each["type"],
                    f"{each['interval_s']} s" if each.get("interval_s") else "",
                )
                for each in answer["manifest"]["series"]
            ]
            table("", columns, rows)

    emit(answer, as_json, text)


def diagnostics(
    device: str,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="The file to write (default: DEVICE-KEY.tar.gz)."),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="One that was collected before.")] = None,
    data: DataOption = None,
    wait_s: Annotated[float, typer.Option("--wait-s", metavar="S", help="How long to wait for the device.")] = 120.0,
) -> None:
    """Have a device collect what is needed to see what ails it, and write the archive; exit 1 if it does not come."""
    client = hub_client(data)
    check_device(device)
    if key is None:
        body = {"device": device, "name": "collect_diagnostics", "arguments": {}, "deadline_s": max(wait_s, 60.0)}
        sent = client.request("POST", "/commands", body=body)
        ended = client.get(f"/commands/{sent['key']}", wait_s=min(wait_s, 600.0))
        if ended["state"] != "succeeded":
            print(f"{device}: {ended['state']}{': ' + ended['error'] if ended.get('error') else ''}", file=sys.stderr)
            raise typer.Exit(1)
        key = str(sent["key"])
    found = client.get(f"/devices/{device}/uploads/{check_key(key)}")
    path = output or Path(f"{device}-{key}.tar.gz")
    try:
        path.write_bytes(base64.b64decode(found["base64"]))
    except OSError as error:
        raise MisuseError(f"cannot write {path}: {error.strerror}; name another file with --output") from None
    print(f"{path}: {found['size']:,} bytes")
