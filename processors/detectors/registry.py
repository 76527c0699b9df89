"""Every detector by name: those built in, and those that users install (entry points `penstock.detectors`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points

from processors.detectors.detector import Detector
from processors.detectors.level import LEVEL
from processors.detectors.stuck import STUCK
from streams.errors import MisuseError

BUILT_IN: dict[str, Detector] = {each.name: each for each in (LEVEL, STUCK)}


def detectors(names: Sequence[str]) -> list[Detector]:
    """The detectors of these names. MisuseError for one that is not there, with those that are."""
    known = dict(BUILT_IN)
    missing = [name for name in names if name not in known]
    if missing:
        for entry in entry_points(group="penstock.detectors"):
            known.setdefault(entry.name, entry.load())
    for name in names:
        if name not in known:
            raise MisuseError(f"there is no detector {name!r} (processors.alarms.detectors); known: {', '.join(known)}")
    return [known[name] for name in names]


def warm() -> None:
    """Compile what can be compiled ahead of the first reading."""
    import numpy as np

    from processors.detectors.bank_compiled import Bank
    from processors.rows import no_rows

    for each in BUILT_IN.values():
        bank = Bank(each, 1.0, 0.6, 10.0)
        list(bank.run(no_rows(), np.zeros((1, 3)), np.zeros(0, np.bool_)))
