"""What a program prints: any command, run at each tick, with a time limit; its children end with it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from edge.sensors.lines import TextOptions, TextReader
from edge.sensors.sensor import Given, SensorContext, SensorFailedError, Series
from streams.settings import setting

OUTPUT_BYTES_MAX = 1024 * 1024
_LOOK_S = 0.02


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOptions(TextOptions):
    """What to run, and how to read what it prints."""

    command: tuple[str, ...] = setting(doc="The program and its arguments, as a list; no shell reads it.")
    directory: str = setting("/", "Where it runs.")

    def __post_init__(self) -> None:
        TextOptions.__post_init__(self)
        if not self.command:
            raise ValueError("command is empty: name a program and its arguments")


class ProgramSensor:
    """Runs the command in a process group of its own and reads its standard output."""

    may_block = True

    def __init__(self, context: SensorContext) -> None:
        self._options = context.read_options(ProgramOptions)
        self._reader = TextReader(self._options)
        self.name = context.name
        self.interval_s = context.interval_s
        self.timeout_s = context.timeout_s

    def open(self) -> Sequence[Series]:
        return [each.declare(self.interval_s) for each in self._options.series]

    def read(self, time_ns: int) -> Sequence[Given]:
        status, output, errors = run_program(self._options.command, self._options.directory, self.timeout_s * 0.9)
        if status != 0:
            said = errors.decode("utf-8", "replace").strip()[-200:]
            raise SensorFailedError(
                f"{self._options.command[0]} ended with status {status}: {said or 'it said nothing'}"
            )
        return self._reader.read_all(output.decode("utf-8", "replace"))

    def close(self) -> None:
        pass


def run_program(
    command: Sequence[str], directory: str, limit_s: float, *, environment: Mapping[str, str] | None = None
) -> tuple[int, bytes, bytes]:
    """Run it to its end; returns status, output and errors. SensorFailedError: it took too long, or said too much."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = _listen(process, time.monotonic() + limit_s, limit_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait()
    return process.returncode, output, errors


def _listen(process: subprocess.Popen[bytes], deadline: float, limit_s: float) -> tuple[bytes, bytes]:
    """What it says until it ends. A child that it leaves behind may hold the pipes open: nobody waits for that one."""
    assert process.stdout is not None
    assert process.stderr is not None
    said = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as ready:
        for file in said:
            os.set_blocking(file, False)
            ready.register(file, selectors.EVENT_READ)
        while True:
            ended = _has_ended(process.pid)
            heard = False
            for key, _ in ready.select(0 if ended else _LOOK_S):
                data = os.read(key.fd, 65536)
                if not data:
                    ready.unregister(key.fd)
                heard = heard or bool(data)
                said[key.fd] += data
                if len(said[key.fd]) > OUTPUT_BYTES_MAX:
                    raise SensorFailedError(f"{process.args!r:.80} printed more than {OUTPUT_BYTES_MAX} bytes")
            if ended and not heard:
                return bytes(said[process.stdout.fileno()]), bytes(said[process.stderr.fileno()])
            if time.monotonic() > deadline:
                raise SensorFailedError(f"{process.args!r:.80} did not end within {limit_s:.3g} s and was killed")
            if not ready.get_map() and not ended:
                time.sleep(_LOOK_S)


def _has_ended(number: int) -> bool:
    """Whether the process has ended; it stays to be waited for, so that its number is not given away."""
    return os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
