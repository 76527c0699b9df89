"""Who holds a TCP port, so that a refusal can name it."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

from streams.errors import MisuseError


def is_free(host: str, port: int) -> bool:
    """Whether this process could listen on host:port now. MisuseError: never, whoever holds it."""
    try:
        with _bound(host, port) as probe:
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        if error.errno == errno.EACCES:
            raise MisuseError(f"port {port} on {host} is not ours to take; choose one above 1023") from None
        raise MisuseError(
            f"cannot listen on {host}: {error.strerror or error}; choose an address of this machine, such as 127.0.0.1"
        ) from None
    return True


def free_port(host: str) -> int:
    """A port that nobody holds now."""
    with _bound(host, 0) as probe:
        return int(probe.getsockname()[1])


def holder(port: int) -> str:
    """The process that listens on `port`, as "mosquitto (process 123)", or "another process" when it cannot be seen."""
    inodes = _listening_inodes(port)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if any(_link(fd) in inodes for fd in (entry / "fd").iterdir()):
                return f"{_name(entry)} (process {entry.name})"
    return "another process"


def _bound(host: str, port: int) -> socket.socket:
    probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    except OSError:
        probe.close()
        raise
    return probe


def _name(process: Path) -> str:
    """What a process is called; one of ours by its subcommand."""
    words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    if "penstock" in words[:4]:
        return "penstock " + " ".join(words[words.index("penstock") + 1 :][:2])
    return (process / "comm").read_text().strip()


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
