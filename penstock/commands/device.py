"""penstock device list | show"""

from __future__ import annotations

from typing import Any

import typer

from penstock.commands.common import DataOption, JsonOption, console, count, emit, hub_client, table, when
from streams.errors import JunkError, MisuseError
from streams.names import check_device


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Devices that the hub knows.", no_args_is_help=True)
    group.command("list")(list_devices)
    group.command("show")(show)
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
