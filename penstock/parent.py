"""A supervised process ends with its supervisor, also when that one is killed outright (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal

SUPERVISOR_VARIABLE = "PENSTOCK_SUPERVISOR"
_PR_SET_PDEATHSIG = 1


def stop_with_parent() -> None:
    """Ask the kernel for SIGTERM when the supervisor dies; do nothing for a process that was started by hand."""
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(supervisor):  # it died before we asked
        os.kill(os.getpid(), signal.SIGTERM)
