"""Every detector by name: those built in, and those that users install (entry points `penstock.detectors`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points

from processors.detectors.detector import Detector
from processors.detectors.level import LEVEL
from processors.detectors.stuck import STUCK
from streams.errors import MisuseError

GROUP = "penstock.detectors"

BUILT_IN: dict[str, Detector] = {each.name: each for each in (LEVEL, STUCK)}


def known() -> list[str]:
    """The names of all detectors there are."""
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})


def detectors(names: Sequence[str]) -> list[Detector]:
    """The detectors of these names, each once. MisuseError for one that is not there, with those that are."""
    return [_find(name) for name in dict.fromkeys(names)]


def warm() -> None:
    """Compile what can be compiled ahead of the first reading."""
    import numpy as np

    from processors.detectors.bank_compiled import Bank
    from processors.rows import no_rows

    for each in BUILT_IN.values():
        bank = Bank(each, 1.0, 0.6, 10.0)
        bank.run(no_rows(), np.zeros((1, 3)), np.zeros(0, np.bool_))


def _find(name: str) -> Detector:
    if name in BUILT_IN:
        return BUILT_IN[name]
    for entry in entry_points(group=GROUP, name=name):
        return _load(entry)
    raise MisuseError(f"there is no detector {name!r} (processors.alarms.detectors); known: {', '.join(known())}")


def _load(entry: EntryPoint) -> Detector:
    try:
        found = entry.load()
    except Exception as error:
        raise MisuseError(f"the detector {entry.name} ({entry.value}) cannot be loaded: {error!r}") from error
    if not isinstance(found, Detector) or found.name != entry.name or found.width < 2:
        raise MisuseError(
            f"the entry point {entry.name} ({entry.value}) must be a processors.detectors.detector.Detector of that "
            f"name, 2 columns wide at least, not {str(found)[:200]}"
        )
    return found
