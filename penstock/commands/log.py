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
from streams.log.partition import Recovered
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
    """Check every checksum, every record, the order of offsets and the indexes; exit 1 if something is wrong.

    A log in use is checked up to what is durable.
    """
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
    start: Annotated[int, typer.Option("--start", metavar="OFFSET", min=0, help="First offset.")] = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="So many records of each partition.")
    ] = None,
) -> None:
    """Print records, one JSON object a line; what is damaged is passed over."""
    files = DiskFiles()
    for partition in offline.find_partitions(_chosen(path, data), files):
        stream, name = partition.parent.name, partition.name
        place = {"stream": stream, "partition": int(name) if name.isdigit() else name}
        for number, record in enumerate(offline.dump(partition, files=files, start=start)):
            if limit is not None and number >= limit:
                break
            print(json.dumps(place | _record(stream, record)))


def repair(path: PathArgument = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Cut torn tails (kept in .cut files) and rebuild indexes; not while the log is in use.

    Damage in the middle stays, named, and takes nothing else with it; exit 1 if there is any.
    """
    files = DiskFiles()
    found = [(each, offline.repair(each, files=files)) for each in offline.find_partitions(_chosen(path, data), files)]
    answer = {"partitions": [_repaired(partition, recovered) for partition, recovered in found]}
    emit(answer, as_json, lambda _: _show_repaired(found))
    if any(recovered.damaged for _, recovered in found):
        raise typer.Exit(1)


def _repaired(partition: Path, recovered: Recovered) -> dict[str, Any]:
    cut_files = [str(path) for path in recovered.cut_files]
    return {
        "partition": str(partition),
        "checked_bytes": recovered.checked_bytes,
        "cut_bytes": recovered.cut_bytes,
        "cut_files": cut_files,
        "damaged": recovered.damaged,
    }


def _show_repaired(found: list[tuple[Path, Recovered]]) -> None:
    for partition, recovered in found:
        console.print(f"{partition.parent.name}/{partition.name}: checked {count(recovered.checked_bytes)} bytes")
        for path in recovered.cut_files:
            console.print(
                f"  cut a torn tail, {count(recovered.cut_bytes)} bytes; it is kept in {path}", soft_wrap=True
            )
        for sentence in recovered.damaged:
            console.print(f"  [red]✗[/red] {sentence}", soft_wrap=True)


def _chosen(path: Path | None, data: Path | None) -> Path:
    return path or data_directory(data) / "log"


def _plain(report: offline.Report) -> dict[str, Any]:
    names = ("segments", "bytes", "batches", "records", "first_offset", "next_offset", "in_use")
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
        if each.in_use:
            console.print(f"{each.directory} is in use by {each.in_use}: checked up to what is durable", soft_wrap=True)
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
