"""penstock quarantine list | show"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from penstock.commands.common import DataOption, JsonOption, console, emit, processors_client, table, when
from streams.errors import MisuseError


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="What could not be decoded, kept with its reason and bytes.", no_args_is_help=True)
    group.command("list")(list_records)
    group.command("show")(show)
    app.add_typer(group, name="quarantine")


def list_records(
    data: DataOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
) -> None:
    """List what is in quarantine, newest first."""
    answer = processors_client(data).get("/quarantine", limit=limit)
    columns = [("offset", "right"), ("time", "left"), ("device", "left"), ("bytes", "right"), ("reason", "left")]
    rows = [
        (each["offset"], when(each["time_ms"]), each["device"], len(each["bytes_hex"]) // 2, each["reason"])
        for each in answer["records"]
    ]
    emit(answer, as_json, lambda _: table("", columns, rows) if rows else console.print("nothing is in quarantine"))


def show(offset: int, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one record with its bytes."""
    records = processors_client(data).get("/quarantine", limit=10_000)["records"]
    found: list[dict[str, Any]] = [each for each in records if each["offset"] == offset]
    if not found:
        raise MisuseError(f"there is no quarantine record at offset {offset}; see `penstock quarantine list`")

    def text(_: Any) -> None:
        record = found[0]
        console.print(f"device {record['device']}, {when(record['time_ms'])}: {record['reason']}", markup=False)
        console.print(f"from {record['source']}", markup=False)
        data_bytes = bytes.fromhex(record["bytes_hex"])
        for at in range(0, len(data_bytes), 16):
            row = data_bytes[at : at + 16]
            letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            print(f"{at:08x}  {row.hex(' '):47}  {letters}")

    emit(found[0], as_json, text)
