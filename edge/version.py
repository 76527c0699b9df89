"""What the agent calls itself."""

from __future__ import annotations

import functools
import importlib.metadata


@functools.cache
def agent_name() -> str:
    """Name and version, for the birth message and the manifest, for example `penstock 0.1.0`."""
    try:
        return f"penstock {importlib.metadata.version('penstock')}"
    except importlib.metadata.PackageNotFoundError:  # run from a copy that was never installed
        return "penstock (unknown version)"
