"""How many files, and so connections, this process may have open."""

from __future__ import annotations

import logging
import resource

_log = logging.getLogger("penstock.open_files")


def allow_files(wanted: int, *, setting: str) -> int:
    """Raise this process' limit as far as we may; returns how many are allowed. `setting` is what asks for so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        _log.warning("only %d open files are allowed, %s needs %d: raise ulimit -n", allowed, setting, wanted)
    return allowed
