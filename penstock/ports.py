"""Who holds a TCP port, so that a refusal can name it."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path


def is_free(host: str, port: int) -> bool:
    """Whether this process could listen on host:port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """The process that listens on `port`, as "mosquitto (process 123)", or "another process" when it cannot be seen."""
    inodes = _listening_inodes(port)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if any(_link(fd) in inodes for fd in (entry / "fd").iterdir()):
                name = (entry / "comm").read_text().strip()
                return f"{name} (process {entry.name})"
    return "another process"


def _link(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except OSError:
        return ""


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                found.add(f"socket:[{columns[9]}]")
    return found
