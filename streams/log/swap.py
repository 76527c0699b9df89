"""One segment takes the place of several, so that a crash at any point leaves the old ones or the new one.

The new one is written beside them and synced. Then the intent is written down, and from there on the swap is done, now
or when the log is opened next: the draft gets the name of the first, the others are removed, the intent last. In
between the new one and some of the others stand side by side, and say the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from streams.files import Files
from streams.log.index import SUFFIX
from streams.log.segment import segment_bases, segment_path

DRAFT_SUFFIX = ".compacted"
_INTENT = "swap"


def begin_swap(directory: Path, bases: Sequence[int], *, files: Files) -> None:
    """Decide that the draft of the first of these segments takes the place of all. OSError: it is not decided."""
    files.sync_directory(directory)
    files.replace(directory / _INTENT, json.dumps(list(bases)).encode())


def finish_swap(directory: Path, *, files: Files) -> None:
    """Do what was decided, if anything was. OSError: it is to be done again."""
    bases = _decided(directory, files)
    if bases:
        first, *others = bases
        if files.exists(segment_path(directory, first, DRAFT_SUFFIX)):
            _remove(segment_path(directory, first, SUFFIX), files)
            files.rename(segment_path(directory, first, DRAFT_SUFFIX), segment_path(directory, first))
        files.sync_directory(directory)
        for base in others:
            for suffix in (".log", SUFFIX):
                _remove(segment_path(directory, base, suffix), files)
        files.sync_directory(directory)
    if files.exists(directory / _INTENT):
        files.remove(directory / _INTENT)
        files.sync_directory(directory)


def is_swapping(directory: Path, *, files: Files) -> bool:
    """Whether a segment may go on with what stands in those that follow it."""
    return files.exists(directory / _INTENT)


def forget_drafts(directory: Path, *, files: Files) -> None:
    """Remove what was written and not decided."""
    for base in segment_bases(directory, files, DRAFT_SUFFIX):
        files.remove(segment_path(directory, base, DRAFT_SUFFIX))


def _decided(directory: Path, files: Files) -> list[int]:
    try:
        file = files.open(directory / _INTENT)
    except FileNotFoundError:
        return []
    with closing(file):
        try:
            return [int(base) for base in json.loads(file.read(0, file.size()))]
        except (ValueError, TypeError):
            return []


def _remove(path: Path, files: Files) -> None:
    if files.exists(path):
        files.remove(path)
