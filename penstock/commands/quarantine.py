"""penstock quarantine list | show"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from penstock.commands.common import DataOption, JsonOption, console, count, emit, processors_client, table, when


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

    def text(_: Any) -> None:
        if not rows:
            console.print("nothing is in quarantine")
            return
        table("", columns, rows)
        if answer["left_out"]:
            console.print(f"{count(answer['left_out'])} older ones are left out: together they are too large")

    emit(answer, as_json, text)


def show(
    offset: Annotated[int, typer.Argument(min=0, help="Its offset in the list.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one record with its bytes."""
    (record,) = processors_client(data).get("/quarantine", offset=offset)["records"]

    def text(_: Any) -> None:
        device = f"device {record['device']}, " if record["device"] else ""
        source = record["source"]
        console.print(f"{device}{when(record['time_ms'])}: {record['reason']}", markup=False)
        console.print(
            f"from {source['stream']}, partition {source['partition']}, offset {source['offset']}", markup=False
        )
        data_bytes = bytes.fromhex(record["bytes_hex"])
        for at in range(0, len(data_bytes), 16):
            row = data_bytes[at : at + 16]
            letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            print(f"{at:08x}  {row.hex(' '):47}  {letters}")

    emit(record, as_json, text)
