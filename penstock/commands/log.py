"""penstock log verify | head | groups | dump | repair: offline work on an event log, the hub's or a spool's."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID

from penstock.commands.common import DataOption, JsonOption, console, count, emit, table
from penstock.surroundings import data_directory
from streams.errors import JunkError, MisuseError
from streams.files import DiskFiles
from streams.frames import read_header
from streams.log import offline
from streams.log.chain import Head
from streams.log.groups import lags
from streams.log.partition import Recovered
from streams.names import TELEMETRY
from streams.record import Record

PathArgument = Annotated[
    Path | None, typer.Argument(metavar="[PATH]", help="A log, a stream or a partition (default: DATA/log).")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Check, read and mend an event log on disk.", no_args_is_help=True)
    group.command("verify")(verify)
    group.command("head")(head)
    group.command("groups")(groups)
    group.command("dump")(dump)
    group.command("repair")(repair)
    app.add_typer(group, name="log")


def verify(
    path: PathArgument = None,
    data: DataOption = None,
    chain: Annotated[
        bool, typer.Option("--chain", help="Also hold every batch against the hash chain of its partition.")
    ] = False,
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--head", metavar="HEX@OFFSET", help="A head that was published: the log must still hold what it stood for."
        ),
    ] = None,
    heads_file: Annotated[
        Path | None,
        typer.Option(
            "--heads", metavar="FILE", help="The same for a file of lines as `penstock log head` prints them."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every checksum, every record, the order of offsets and the indexes; exit 1 if something is wrong.

    A log in use is checked up to what is durable.
    """
    files = DiskFiles()
    reports: list[offline.Report] = []
    partitions = offline.find_partitions(_chosen(path, data), files)
    published = _published(partitions, heads or [], heads_file)
    chain = chain or any(published.values())
    with Progress(console=console, transient=True, disable=as_json or not sys.stdout.isatty()) as progress:
        for partition in partitions:
            task = progress.add_task(f"{partition.parent.name}/{partition.name}", total=None)
            tell = functools.partial(_tell, progress, task)
            wanted = published[partition]
            reports.append(offline.verify(partition, files=files, progress=tell, chain=chain, published=wanted))
    if chain and not any(each.head for each in reports):
        raise MisuseError(f"no partition in {_chosen(path, data)} has a hash chain; keep one with hub.log.chain")
    answer = {"partitions": [{**_plain(each), "problems": each.problems} for each in reports]}
    emit(answer, as_json, lambda _: _show(reports))
    if any(each.problems for each in reports):
        raise typer.Exit(1)


def head(path: PathArgument = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Print the head of each hash chain: it stands for every batch so far. Keep it where nobody can change it.

    One line a partition, STREAM/PARTITION HEX@OFFSET: what `penstock log verify --heads FILE` takes.
    """
    files = DiskFiles()
    partitions = offline.find_partitions(_chosen(path, data), files)
    found = {_name(partition): offline.head(partition, files=files) for partition in partitions}
    heads = {name: str(each) for name, each in found.items() if each is not None}
    if not heads:
        raise MisuseError(f"no partition in {_chosen(path, data)} has a hash chain; keep one with hub.log.chain")
    emit(heads, as_json, lambda _: print("\n".join(f"{name} {each}" for name, each in heads.items())))


def groups(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show how far each consumer group has committed, and how far it is behind."""
    found = lags(data_directory(data) / "log", files=DiskFiles())
    columns: list[tuple[str, Any]] = [
        ("group", "left"),
        ("partition", "left"),
        ("next offset", "right"),
        ("end", "right"),
        ("lag", "right"),
    ]
    rows = [
        (each.group, f"{each.stream}/{each.partition}", count(each.offset), count(each.end), count(each.lag))
        for each in found
    ]
    emit({"groups": [each._asdict() for each in found]}, as_json, lambda _: table("", columns, rows))


def _published(partitions: list[Path], heads: list[str], heads_file: Path | None) -> dict[Path, list[Head]]:
    """The published heads of each partition. MisuseError when one cannot be read, or it is not told which it is of."""
    found: dict[Path, list[Head]] = {partition: [] for partition in partitions}
    if heads and len(partitions) > 1:
        raise MisuseError(
            f"--head names a head of one partition, and there are {len(partitions)}; name its directory, or use --heads"
        )
    for text in heads:
        found[partitions[0]].append(Head.parse(text))
    names = {_name(partition): partition for partition in partitions}
    for number, line in enumerate(_lines(heads_file), 1):
        name, _, text = line.strip().partition(" ")
        if not name or name.startswith("#"):
            continue
        if name not in names:
            raise MisuseError(
                f"{heads_file}, line {number}: there is no partition {name!r:.100}; {', '.join(names)} are"
            )
        found[names[name]].append(Head.parse(text))
    return found


def _lines(path: Path | None) -> list[str]:
    try:
        return path.read_text().splitlines() if path else []
    except (OSError, UnicodeDecodeError) as error:
        raise MisuseError(f"cannot read the heads in {path}: {error}") from None


def _name(partition: Path) -> str:
    return f"{partition.parent.name}/{partition.name}"


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
    names = ("segments", "bytes", "batches", "records", "first_offset", "next_offset", "in_use", "chained_from")
    shown = {name: getattr(report, name) for name in names}
    head = None if report.head is None else str(report.head)
    confirmed = [str(each) for each in report.confirmed]
    return {"partition": str(report.directory), **shown, "head": head, "confirmed": confirmed}


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
        if each.head is not None:
            begin = f"chained from offset {each.chained_from} on, {len(each.confirmed)} published heads confirmed"
            console.print(f"{_name(each.directory)}: {begin}; now {each.head}", soft_wrap=True)
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
