"""penstock log verify | dump | repair: offline work on an event log, the hub's or a spool's."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID

from penstock.commands.common import DataOption, JsonOption, console, count, data_directory, emit, table
from streams.errors import JunkError
from streams.files import DiskFiles
from streams.frames import read_header
from streams.log import offline
from streams.names import TELEMETRY
from streams.record import Record

PathArgument = Annotated[
    Path | None, typer.Argument(metavar="[PATH]", help="A log, a stream or a partition (default: DATA/log).")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Check, read and mend an event log on disk.", no_args_is_help=True)
    group.command("verify")(verify)
    group.command("dump")(dump)
    group.command("repair")(repair)
    app.add_typer(group, name="log")


def verify(path: PathArgument = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check every checksum, every record and the order of offsets; exit 1 if something is wrong."""
    files = DiskFiles()
    reports = []
    with Progress(console=console, transient=True, disable=as_json or not sys.stdout.isatty()) as progress:
        for partition in offline.find_partitions(_chosen(path, data), files):
            task = progress.add_task(f"{partition.parent.name}/{partition.name}", total=None)
            tell = functools.partial(_tell, progress, task)
            reports.append(offline.verify(partition, files=files, progress=tell))
    answer = {"partitions": [{**_plain(each), "problems": each.problems} for each in reports]}
    emit(answer, as_json, lambda _: _show(reports))
    if any(each.problems for each in reports):
        raise typer.Exit(1)


def _tell(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)


def dump(
    path: PathArgument = None,
    data: DataOption = None,
    start: Annotated[int, typer.Option("--start", metavar="OFFSET", help="First offset.")] = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="So many records of each partition.")
    ] = None,
) -> None:
    """Print records, one JSON object a line; what is damaged is passed over."""
    files = DiskFiles()
    for partition in offline.find_partitions(_chosen(path, data), files):
        for number, record in enumerate(offline.dump(partition, files=files, start=start)):
            if limit is not None and number >= limit:
                break
            stream = partition.parent.name
            print(json.dumps({"stream": stream, "partition": int(partition.name), **_record(stream, record)}))


def repair(path: PathArgument = None, data: DataOption = None) -> None:
    """Cut torn tails (kept in .cut files) and rebuild indexes; not while the log is in use."""
    files = DiskFiles()
    for partition in offline.find_partitions(_chosen(path, data), files):
        console.print(f"{partition.parent.name}/{partition.name}: {'; '.join(offline.repair(partition, files=files))}")


def _chosen(path: Path | None, data: Path | None) -> Path:
    return path or data_directory(data) / "log"


def _plain(report: offline.Report) -> dict[str, Any]:
    names = ("segments", "bytes", "batches", "records", "first_offset", "next_offset")
    return {"partition": str(report.directory), **{name: getattr(report, name) for name in names}}


def _show(reports: list[offline.Report]) -> None:
    columns = [
        ("partition", "left"),
        ("segments", "right"),
        ("bytes", "right"),
        ("records", "right"),
        ("offsets", "right"),
    ]
    rows = [
        (
            f"{each.directory.parent.name}/{each.directory.name}",
            each.segments,
            count(each.bytes),
            count(each.records),
            f"{each.first_offset or 0} to {each.next_offset}",
        )
        for each in reports
    ]
    table("", columns, rows)
    for each in reports:
        for problem in each.problems:
            console.print(f"[red]✗[/red] {problem}", soft_wrap=True)


def _record(stream: str, record: Record) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "offset": record.offset,
        "time_ms": record.timestamp_ms,
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "headers": {name: value.decode("utf-8", "replace") for name, value in record.headers},
    }
    value = record.value or b""
    if stream == TELEMETRY:
        try:
            return {**shown, "bytes": len(value), "frame": read_header(value)._asdict()}
        except JunkError as error:
            return {**shown, "bytes": len(value), "frame": None, "error": str(error)}
    try:
        return {**shown, "value": value.decode()}
    except UnicodeDecodeError:
        return {**shown, "value_hex": value.hex()}
