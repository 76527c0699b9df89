"""python -m benchmarks [NAME ...] [--json] [--compare FILE] [--save FILE] [--report]"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import report
from benchmarks.line import Line

NAMES = ("frames", "log", "gateway", "pipeline", "edge")
TOLERANCE = 0.7  # these machines are noisy: a ratio to the peer that falls below 70 % of the committed one is worse


def measure(names: list[str]) -> Iterator[Line]:
    for name in names:
        yield from importlib.import_module(f"benchmarks.{name}").run()


def shown(line: Line) -> str:
    peer = f"{line.peer} {line.peer_value:,.4g}, {line.ratio:.2f}x" if line.peer_value and line.peer else ""
    return f"{line.name:38} {line.value:>14,.4g} {line.unit:14} {peer:44} {line.note}"


def worse(line: Line, committed: dict[str, dict[str, object]]) -> str | None:
    """Why this line is worse than the committed figure, or None. Ratios to the peer are compared where there is one."""
    before = committed.get(line.name)
    if before is None:
        return None
    old, new = (before["ratio"], line.ratio) if line.ratio and before.get("ratio") else (before["value"], line.value)
    assert isinstance(old, (int, float)) and isinstance(new, (int, float))
    change = new / old if line.more_is_better else old / new
    if change >= TOLERANCE:
        return None
    return f"{line.name}: {new:.4g} was {old:.4g} ({change:.2f} of what it was)"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all when none is given")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--save", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--compare", type=Path, nargs="?", const=report.FIGURES, help="exit 1 if a figure is worse than there"
    )
    parser.add_argument("--report", action="store_true", help="measure nothing: write docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.report:
        report.PAGE.write_text(report.page(report.read(), NAMES))
        return 0
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; choose from {', '.join(NAMES)}")
    committed = json.loads(options.compare.read_text()) if options.compare else {}
    figures: dict[str, object] = {}
    complaints: list[str] = []
    for line in measure(options.names or list(NAMES)):
        print(line.to_json() if options.json else shown(line), flush=True)
        figures[line.name] = json.loads(line.to_json()) | {"date": datetime.now(UTC).date().isoformat()}
        if complaint := worse(line, committed):
            complaints.append(complaint)
    if options.save:
        merged = report.read(options.save) | figures
        options.save.write_text(json.dumps(merged, indent=1, sort_keys=True) + "\n")
    if options.compare:
        missing = [name for name in committed if name.split("/")[0] in (options.names or NAMES) and name not in figures]
        complaints += [f"{name}: was measured, is gone" for name in missing]
        print("\n".join(complaints) or "no figure is worse than the committed ones", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
