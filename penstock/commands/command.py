"""penstock command send | list | show | cancel"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from hub.keys import check_key
from penstock.commands.common import DataOption, JsonOption, called, console, emit, hub_client, table, when
from streams.control import ControlClient
from streams.errors import MisuseError

ENDED = ("succeeded", "failed", "rejected", "expired", "cancelled")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Commands to devices.", no_args_is_help=True)
    group.command("send")(send)
    group.command("list")(list_commands)
    group.command("show")(show)
    group.command("cancel")(cancel)
    app.add_typer(group, name="command")


def send(
    device: str,
    name: str,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Arguments; JSON or text.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
    key: Annotated[str | None, typer.Option(help="Sent twice with the same key, it runs once.")] = None,
    deadline_s: Annotated[
        float, typer.Option("--deadline-s", metavar="S", help="It never runs later than this.")
    ] = 60.0,
    wait_s: Annotated[float, typer.Option("--wait-s", metavar="S", help="How long to wait for the result.")] = 30.0,
) -> None:
    """Send a command and wait for its result; exit 0 if it succeeded, 1 if not (yet)."""
    for option, seconds in (("--wait-s", wait_s), ("--deadline-s", deadline_s)):
        if not 0 <= seconds < 1e9:
            raise MisuseError(f"{option} must be a number of seconds, not {seconds}")
    client = hub_client(data)
    body = {
        "device": device,
        "name": name,
        "arguments": _arguments(arguments or []),
        "deadline_s": deadline_s,
        "key": key,
    }
    sent = client.request("POST", "/commands", body=body)
    answer = client.get(f"/commands/{sent['key']}", wait_s=wait_s) if wait_s > 0 else sent
    emit(answer, as_json, lambda _: _show(answer))
    if answer["state"] not in ENDED:
        if not as_json:
            _say_what_it_waits_for(client, answer)
            console.print(
                f"look again with: {called('command', 'show', answer['key'], data=data)}", soft_wrap=True, markup=False
            )
        raise typer.Exit(1)
    if answer["state"] != "succeeded":
        raise typer.Exit(1)


def _say_what_it_waits_for(client: ControlClient, answer: dict[str, Any]) -> None:
    online = client.get(f"/devices/{answer['device']}")["connected"]
    where = (
        "it has not ended yet, and may run" if online else f"{answer['device']} is offline; it runs when it is back,"
    )
    console.print(f"{where} until {when(answer['deadline_ms'])}", soft_wrap=True, markup=False)


def list_commands(
    data: DataOption = None,
    as_json: JsonOption = False,
    device: Annotated[str | None, typer.Option(help="Only this device's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
) -> None:
    """List commands, newest first."""
    answer = hub_client(data).get("/commands", device=device, limit=limit)
    columns = [("created", "left"), ("device", "left"), ("command", "left"), ("state", "left"), ("key", "left")]
    rows = [(when(c["created_ms"]), c["device"], c["name"], c["state"], c["key"]) for c in answer["commands"]]
    emit(answer, as_json, lambda _: table("", columns, rows))


def show(key: str, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one command with its history."""
    answer = hub_client(data).get(f"/commands/{check_key(key)}")
    emit(answer, as_json, lambda _: _show(answer))


def cancel(key: str, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Cancel a command that has not ended."""
    answer = hub_client(data).request("DELETE", f"/commands/{check_key(key)}")
    emit(answer, as_json, lambda _: _show(answer))


def _show(answer: dict[str, Any]) -> None:
    console.print(f"{answer['name']} on {answer['device']}: {answer['state']}", markup=False, style="bold")
    for step in answer["history"]:
        console.print(f"  {when(step['time_ms'])}  {step['state']}")
    if answer.get("error"):
        console.print(f"  error: {answer['error']}", markup=False)
    if answer.get("result") is not None:
        console.print_json(data=answer["result"])


def _arguments(pairs: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise MisuseError(f"{pair!r} is not an argument; write KEY=VALUE, for example pin=17")
        try:
            found[key] = json.loads(text)
        except json.JSONDecodeError:
            found[key] = text
    return found
