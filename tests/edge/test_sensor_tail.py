from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge.inspection import check
from edge.sensors.contract import SensorContract
from edge.sensors.sensor import AnySensor, SensorFailedError
from edge.sensors.tail import TailSensor
from tests.edge.opened import make, running, wait_for
from tests.edge.samples import sample


class TestContract(SensorContract):
    constructor = TailSensor

    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "log"
        self.path.write_text("n=0\n")

    def options(self) -> Mapping[str, Any]:
        return {"path": str(self.path), "format": "pairs", "series": [{"name": "n"}]}

    def provoke(self) -> None:
        append(self.path, "n=5\n")


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def tail(path: Path, **options: Any) -> AnySensor:
    return make("tail", path=str(path), format="pairs", series=[{"name": "n", "type": "int64"}], **options)


def test_only_what_is_appended_is_read_and_only_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("n=1\nn=2")
    with running(tail(path)) as heard:
        wait_for(lambda: is_open_at_its_end(path))
        append(path, "3\nn=4\nn=")
        append(path, "5\n")
        assert heard.values(2) == [4, 5], "23 lacks its beginning, which was there before"
        assert heard.inlet.not_understood_count == 0


def test_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("n=1\nnonsense\nn=2\n")
    with running(tail(path, from_start=True)) as heard:
        assert heard.values(2) == [1, 2]
        assert heard.inlet.not_understood_count == 1


def test_through_rotation_no_line_is_lost_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("")
    with running(tail(path, from_start=True)) as heard:
        number = 0
        for turn in range(5):
            wait_for(lambda: is_open_at_its_end(path))
            with path.open("a") as file:
                for _ in range(100):
                    file.write(f"n={number}\n")
                    number += 1
                file.flush()
                path.rename(tmp_path / f"log.{turn}")
                file.write(f"n={number}\n")  # a writer that has not noticed yet
                number += 1
            path.write_text("")
            heard.until(lambda said, upto=number: len(said) >= upto)  # type: ignore[misc]
        assert heard.values(number) == list(range(number))


def test_a_file_that_is_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("n=1\nn=2\nn=3\n")
    with running(tail(path, from_start=True)) as heard:
        heard.values(3)
        os.truncate(path, 0)
        append(path, "n=4\n")
        assert heard.values(4)[-1] == 4


def test_a_file_that_is_not_there_yet_is_a_failure_and_read_whole_when_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sensor = tail(path)
    with running(sensor) as heard:
        wait_for(lambda: heard.failure is not None)
        assert isinstance(heard.failure, SensorFailedError)
        assert f"{path} cannot be read: No such file" in str(heard.failure)
    path.write_text("n=1\n")
    with running(sensor) as heard:
        assert heard.values(1) == [1]


def test_more_lines_than_the_inlet_holds_wait_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"n={n}\n" for n in range(5000)))
    with running(tail(path, from_start=True), ticks_max=10) as heard:
        assert heard.values(5000) == list(range(5000))
        assert heard.inlet.take_dropped() == 0


def test_the_sample_is_in_order(tmp_path: Path) -> None:
    path = tmp_path / "press.log"
    path.write_text("")
    assert check(sample("tail", tmp_path, ("/var/log/press.log", str(path)))) == []


def is_open_at_its_end(path: Path) -> bool:
    """Whether somebody in this process has it open, at its end."""
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if each.readlink() == path:
                information = Path(f"/proc/self/fdinfo/{each.name}").read_text()
                return int(information.split()[1]) == path.stat().st_size
    return False
