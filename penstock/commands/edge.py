"""penstock edge run | check | read | spool | doctor

Read by argparse and printed by hand: on a small device there is paho-mqtt beside Python, and nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edge.doctor import examine
from edge.inspection import check as check_agent
from edge.inspection import read_once, spool_status
from edge.settings import EdgeSettings
from penstock import flags
from penstock.configuration import configuration_file, configure
from penstock.parent import stop_with_parent
from penstock.surroundings import data_directory, run_logging

HELP = "The edge agent: reads sensors, stores and forwards."
STATE_DIRECTORY = "edge"


def main(arguments: Sequence[str]) -> int:
    """Run `penstock edge` with what stands behind it; returns the exit status."""
    made = parser()
    chosen = made.parse_args(arguments)
    if chosen.run is None:
        made.print_help()
        return 2
    status: int = chosen.run(chosen)
    return status


def parser() -> argparse.ArgumentParser:
    """Every subcommand with its options."""
    made = argparse.ArgumentParser(prog="penstock edge", description=HELP, allow_abbrev=False)
    made.set_defaults(run=None)
    commands = made.add_subparsers(title="commands", metavar="COMMAND")
    running = _add(commands, run, config=True, data=True)
    settings = running.add_argument_group("settings")
    for leaf in flags.flag_settings("edge", EdgeSettings):
        text = flags.help_text(leaf).replace("%", "%%")
        settings.add_argument(flags.flag(leaf), dest=leaf.name, metavar=flags.placeholder(leaf), help=text)
    _add(commands, check, config=True, as_json=True)
    _add(commands, read, config=True, as_json=True)
    spooled = _add(commands, spool, data=True, as_json=True)
    spooled.add_argument("--state", type=Path, metavar="DIR", help="The agent's state directory.")
    _add(commands, doctor, config=True, data=True, as_json=True)
    return made


def run(chosen: argparse.Namespace) -> int:
    """Run the agent until a signal stops it."""
    given = {name: value for name, value in vars(chosen).items() if name.startswith("edge.") and value is not None}
    settings = configure(chosen.config, given).edge
    from edge.process import run as run_agent

    stop_with_parent()
    run_logging("edge")
    return run_agent(settings, data_directory(chosen.data) / STATE_DIRECTORY)


def check(chosen: argparse.Namespace) -> int:
    """Check the settings and every sensor, and say what is wrong; exit 1 if something is."""
    problems = check_agent(configure(chosen.config).edge)
    if chosen.json:
        _print_json({"problems": problems})
    else:
        print("\n".join(problems) or "settings and sensors are in order")
    return 1 if problems else 0


def read(chosen: argparse.Namespace) -> int:
    """Read every sensor once and print what it says."""
    readings = [dict(each) for each in read_once(configure(chosen.config).edge)]
    if chosen.json:
        _print_json({"readings": readings})
    else:
        rows = [(r["metric"], _number(r["value"]), r.get("unit") or "", r.get("quality") or "") for r in readings]
        _print_table([("metric", "value", "unit", "quality"), *rows], right={1})
    return 0


def spool(chosen: argparse.Namespace) -> int:
    """Show what the agent still holds."""
    status = spool_status(chosen.state or data_directory(chosen.data) / STATE_DIRECTORY)
    if chosen.json:
        _print_json(status)
    else:
        _print_table([(name, _number(value)) for name, value in status.items()], right={1})
    return 0


def doctor(chosen: argparse.Namespace) -> int:
    """Check clock, disk, its wear, power, link, permissions and sensors, and say what to do; exit 1 if something is
    wrong."""
    settings_file = configuration_file(chosen.config)
    settings = configure(settings_file).edge
    state = data_directory(chosen.data) / STATE_DIRECTORY
    findings = list(examine(settings, state, settings_file=settings_file))
    if chosen.json:
        _print_json({"findings": [dataclasses.asdict(each) for each in findings]})
    for each in () if chosen.json else findings:
        print(f"{each.verdict:<7}  {each.check}: {_shown(each.detail)}")
        if each.remedy:
            print(f"{'':<9}-> {_shown(each.remedy)}")
    return 1 if any(each.verdict == "wrong" for each in findings) else 0


def _add(
    commands: Any, work: Any, *, config: bool = False, data: bool = False, as_json: bool = False
) -> argparse.ArgumentParser:
    text = " ".join(work.__doc__.split())
    made: argparse.ArgumentParser = commands.add_parser(work.__name__, help=text, description=text, allow_abbrev=False)
    made.set_defaults(run=work)
    if config:
        text = "The settings file (PENSTOCK_CONFIG; default: none)."
        made.add_argument("--config", type=Path, metavar="FILE", help=text)
    if data:
        text = "The data directory (PENSTOCK_DATA; default ./penstock-data)."
        made.add_argument("--data", type=Path, metavar="DIR", help=text)
    if as_json:
        made.add_argument("--json", action="store_true", help="Print JSON instead of text.")
    return made


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def _print_table(rows: Iterable[Sequence[str]], *, right: set[int]) -> None:
    """Columns as wide as their widest cell; no line is longer than the terminal."""
    lines = [[_shown(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    for line in lines:
        cells = [cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths))]
        print("  ".join(cells).rstrip()[: max(40, shutil.get_terminal_size().columns)])


def _shown(cell: str) -> str:
    """One line of printable text: what a sensor says must not steer the terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in cell)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
