"""penstock twin get | set"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from penstock.commands.common import DataOption, JsonOption, called, console, emit, hub_client, when
from streams.errors import MisuseError
from streams.names import check_device


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Settings of devices: desired, and as they report them.", no_args_is_help=True)
    group.command("get")(get)
    group.command("set")(set_desired)
    app.add_typer(group, name="twin")


def get(device: str, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what a device is wanted to have set, what it has, and how the last change went."""
    answer = hub_client(data).get(f"/devices/{check_device(device)}/twin")
    emit(answer, as_json, lambda _: _show(answer))


def set_desired(
    device: str,
    settings: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE...", help="Settings without `edge.`; JSON or text, null: as local."),
    ],
    data: DataOption = None,
    as_json: JsonOption = False,
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", help="Only if this version is desired now.")
    ] = None,
    wait_s: Annotated[float, typer.Option("--wait-s", metavar="S", help="How long to wait for the outcome.")] = 60.0,
) -> None:
    """Change the desired settings of a device and wait for the outcome; exit 0 if they are applied, 1 if not (yet)."""
    if not 0 <= wait_s < 1e9:
        raise MisuseError(f"--wait-s must be a number of seconds, not {wait_s}")
    client, route = hub_client(data), f"/devices/{check_device(device)}/twin"
    answer = client.request("PATCH", route, body={"settings": _patch(settings), "version": version})
    if wait_s > 0:
        answer = client.get(route, wait_s=min(wait_s, 600.0))
    emit(answer, as_json, lambda _: _show(answer))
    if not answer["settled"]:
        if not as_json:
            again = called("twin", "get", device, data=data)
            console.print(
                f"the device has not said what became of it; look again with: {again}", soft_wrap=True, markup=False
            )
        raise typer.Exit(1)
    if answer["reported"]["outcome"] != "applied":
        raise typer.Exit(1)


def _show(answer: dict[str, Any]) -> None:
    desired, reported = answer["desired"], answer["reported"]
    console.print(f"desired: version {desired['version']}, {when(desired['time_ms'])}", style="bold", markup=False)
    console.print_json(data=desired["settings"])
    if reported is None:
        console.print("reported: nothing yet", style="bold")
        return
    head = f"reported: version {reported['version']} {reported['outcome']}, {when(reported['time_ms'])}"
    console.print(head, style="bold", markup=False)
    if reported["error"]:
        console.print(f"  error: {reported['error']}", markup=False, soft_wrap=True)
    console.print_json(data=reported["settings"])


def _patch(pairs: list[str]) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        path = name.split(".")
        if not equals or not all(path):
            raise MisuseError(f"{pair!r} is not a setting; write NAME=VALUE, for example frame_age_s=10")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        table = patch
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise MisuseError(f"{name}: {part} is given a value of its own already")
        table[path[-1]] = value
    return patch
