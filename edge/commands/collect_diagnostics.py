"""collect_diagnostics: what somebody far away needs to see to help: an archive, sent to the hub in parts."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import platform
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.commands.command import Arguments, CommandContext, Result, check_names
from edge.doctor import examine
from edge.inspection import spool_status
from edge.log_tail import log_tail
from edge.settings import EdgeSettings, without_secrets
from streams.errors import PenstockError
from streams.uploads import FILE_BYTES_MAX

MEMBER_BYTES_MAX = 256 << 10
_FILES_MAX = 500
_PROC = ("meminfo", "loadavg", "uptime", "mounts", "version", "diskstats")


class CollectDiagnosticsCommand:
    """Log lines, findings of the doctor, settings without secrets, readings, spool, sizes of files, memory, mounts.

    The result names the file; the hub has all of it on disk by then (`penstock device diagnostics`).
    """

    name = "collect_diagnostics"

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings

    def check(self, arguments: Arguments) -> None:
        check_names(self.name, arguments)

    def run(self, arguments: Arguments, context: CommandContext) -> Result:
        data = _archive(self._members(context))
        context.progress(0.2)
        context.upload(data)
        return {"size": len(data)}

    def _members(self, context: CommandContext) -> Iterator[tuple[str, bytes]]:
        yield "log.txt", _end("\n".join(log_tail()).encode())
        about = {"device": context.device, "agent": context.agent, "model": context.model}
        about |= {"platform": platform.platform(), "python": platform.python_version()}
        yield "about.json", _json({**about, "uptime_s": round(context.uptime_s(), 1), "time_s": time.time()})
        yield "settings.json", _json(without_secrets(self._settings))
        yield "readings.json", _json(context.readings())
        if context.state is not None:
            findings = examine(self._settings, context.state)
            looked_at = itertools.takewhile(lambda each: each.check != "sensors", findings)  # they are in use
            yield "doctor.json", _json([dataclasses.asdict(each) for each in looked_at])
            try:
                yield "spool.json", _json(spool_status(context.state))
            except PenstockError as error:
                yield "spool.json", _json({"error": str(error)})
            yield "files.txt", _end("\n".join(_sizes(context.state)).encode())
        for name in _PROC:
            try:
                yield f"proc/{name}", _end(Path("/proc", name).read_bytes())
            except OSError as error:
                yield f"proc/{name}", str(error).encode()


def _archive(members: Iterator[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    assert len(out.getvalue()) <= FILE_BYTES_MAX, "a dozen members of a bounded size each"
    return out.getvalue()


def _sizes(state: Path) -> Iterator[str]:
    for path in itertools.islice(sorted(state.rglob("*")), _FILES_MAX):
        try:
            yield f"{path.stat().st_size:>12} {path.relative_to(state)}"
        except OSError as error:
            yield f"{'?':>12} {path.relative_to(state)}: {error.strerror}"


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, default=str).encode()[:MEMBER_BYTES_MAX]


def _end(data: bytes) -> bytes:
    return data[-MEMBER_BYTES_MAX:]
