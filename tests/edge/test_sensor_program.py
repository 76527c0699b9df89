from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.inspection import check
from edge.sensors.contract import SensorContract
from edge.sensors.program import OUTPUT_BYTES_MAX, ProgramSensor
from edge.sensors.sensor import Bad, Given, SensorFailedError
from streams.errors import JunkError, MisuseError
from tests.edge.opened import make, read, wait_for
from tests.edge.samples import sample

T = [{"name": "t"}]


def shell(script: str, *, timeout_s: float = 10.0, **options: Any) -> list[Given]:
    options = {"format": "pairs", "series": T, **options}
    return list(read(make("program", timeout_s=timeout_s, command=["/bin/sh", "-c", script], **options)))


class TestContract(SensorContract):
    constructor = ProgramSensor

    def options(self) -> Mapping[str, Any]:
        return {"command": ["echo", '{"t": 1.5}'], "series": T}


def test_json_and_pairs() -> None:
    assert shell("echo t=21.5") == [21.5]
    assert shell("""echo '{"t": 21.5}'""", format="json") == [21.5]


def test_the_arguments_are_not_read_by_a_shell() -> None:
    sensor = make("program", command=["echo", "t=$(id)"], format="pairs", series=[{"name": "t", "type": "text"}])
    assert read(sensor) == ["$(id)"]


def test_a_series_that_the_program_does_not_mention_is_bad() -> None:
    assert shell("echo t=1", series=[*T, {"name": "u"}]) == [1.0, Bad("nothing was said of u")]


def test_a_program_that_fails_says_what_it_said() -> None:
    with pytest.raises(SensorFailedError, match="/bin/sh ended with status 3: no probe"):
        shell("echo t=1; echo no probe >&2; exit 3")
    with pytest.raises(JunkError, match="it says nothing of t"):
        shell("echo hello")
    with pytest.raises(OSError, match="no/such/program"):
        read(make("program", command=["/no/such/program"], series=T))


def test_one_that_takes_too_long_is_killed_with_all_its_children(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    script = f"sleep 1000 & echo $! >> {numbers}; (sleep 1000 & echo $! >> {numbers}); sleep 1000"
    with pytest.raises(SensorFailedError, match=r"did not end within 0\.45 s and was killed"):
        shell(script, timeout_s=0.5)
    children = [int(line) for line in numbers.read_text().split()]
    assert len(children) == 2
    wait_for(lambda: not any(is_alive(each) for each in children))


def test_a_child_that_it_leaves_behind_is_not_waited_for_and_does_not_stay(tmp_path: Path) -> None:
    number = tmp_path / "number"
    started = time.monotonic()
    assert shell(f"sleep 1000 & echo $! > {number}; echo t=4", timeout_s=60.0) == [4.0]
    assert time.monotonic() - started < 30
    wait_for(lambda: not is_alive(int(number.read_text())))


def test_one_that_says_too_much_is_stopped() -> None:
    with pytest.raises(SensorFailedError, match=f"more than {OUTPUT_BYTES_MAX} bytes"):
        shell("while :; do echo t=1 t=1 t=1 t=1 t=1 t=1 t=1 t=1 t=1; done", timeout_s=60.0)


def test_all_that_it_said_before_it_ended_is_read() -> None:
    write = f"{sys.executable} -c \"print('x' * 300000); print('t=9')\""
    assert shell(write) == [9.0]


def test_a_command_that_is_empty_is_misuse() -> None:
    with pytest.raises(MisuseError, match="command is empty"):
        make("program", command=[], series=T)


def test_the_sample_is_in_order(tmp_path: Path) -> None:
    assert check(sample("program", tmp_path)) == []


def is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
