"""`penstock device`, `ledger` and `quarantine` on a real hub and real processors: text, JSON and exit status."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from penstock.__main__ import main
from streams.control import ControlClient, listen
from streams.errors import PenstockError
from streams.names import DEVICES
from tests.hub import records
from tests.processors.world import Log, manifest, simple
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
JUNK = b"this is not a frame\x00\xff"
PAYLOAD = manifest({"name": "pressure", "unit": "[/bar]", "interval_s": 2.0}, {"name": "state", "type": "text"})


class Said(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    text: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    def lines(self, word: str) -> list[list[str]]:
        """The words of the lines that contain `word`."""
        return [line.split() for line in self.text.splitlines() if word in line]


Ask = Callable[..., Said]


def write_log(data: Path) -> None:
    """What a hub would have on disk: one device in order, and one that has lost five readings."""
    log = Log(data)
    log.log.append_durable(DEVICES, [records.state("press-7", epoch=1, boot="b", agent="test 1.0")])
    log.manifest("press-7", PAYLOAD)
    log.telemetry("press-7", simple(0, [1.0, 2.0, 3.0], payload=PAYLOAD), simple(3, [4.0], payload=PAYLOAD), JUNK)
    log.log.append_durable(DEVICES, [records.account("press-7", 1, 4)])
    log.close()


@contextlib.contextmanager
def running(data: Path, *commands: Sequence[str]) -> Iterator[None]:
    """Processes of ours on a data directory, each ready."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PENSTOCK_")}
    with (data.parent / "out").open("ab") as out:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "penstock", *command, "--data", str(data)],
                cwd=ROOT, stdout=out, stderr=out, env=environment,
            )
            for command in commands
        ]  # fmt: skip
    try:
        for command in commands:
            name = "hub" if command[0] == "hub" else "processors"
            _wait(ControlClient(data / "run" / f"{name}.sock", what=name), processes, data.parent / "out")
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def _wait(client: ControlClient, processes: list[subprocess.Popen[bytes]], out: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), out.read_text()
        with contextlib.suppress(PenstockError):
            if not sum(each["lag"] for each in client.get("/health").get("partitions", ())):
                return
        time.sleep(0.02)
    raise AssertionError(out.read_text())


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run `penstock ARGUMENTS --data ...` in this process."""
    monkeypatch.setenv("COLUMNS", "160")

    def asked(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([*arguments, "--data", str(tmp_path / "data")])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert isinstance(caught.value.code, int)
        return Said(caught.value.code, said.out, said.err)

    return asked


def test_devices_ledger_and_quarantine_of_a_running_hub(tmp_path: Path, ask: Ask) -> None:
    data = tmp_path / "data"
    write_log(data)
    hub = ("hub", "run", "--mqtt-port", str(free_port()))
    with running(data, hub, ("process", "run")):
        devices(ask)
        quarantine(ask)
        balanced_ledger(ask)
    with running(data, hub):
        unknown_ledger(ask)
        with hung(data / "run" / "processors.sock"):
            assert "the processors gave no whole answer" in ask("ledger").text
            assert "timed out" in ask("ledger", "--json").json["processors_away"]
    log = Log(data)
    log.log.append_durable(DEVICES, [records.account("press-7", 1, 9)])
    log.close()
    with running(data, hub):
        without_processors(ask)


def devices(ask: Ask) -> None:
    listed = ask("device", "list")
    assert listed.status == 0
    (line,) = listed.lines("press-7")
    assert line[1] == "offline" and line[-2:] == ["4", "2"]
    answer = ask("device", "list", "--json")
    assert answer.status == 0
    assert [each["device"] for each in answer.json["devices"]] == ["press-7"]
    shown = ask("device", "show", "press-7")
    assert shown.status == 0
    assert ["agent", "test", "1.0"] in shown.lines("agent")
    assert shown.lines("pressure") == [["pressure", "[/bar]", "float64", "2.0", "s"]], "a unit is shown as it is"
    assert ask("device", "show", "press-7", "--json").json["manifest"]["series"][1]["name"] == "state"
    absent = ask("device", "show", "press-8")
    assert (absent.status, absent.text) == (2, "")
    assert "press-8" in absent.error
    assert (ask("device", "show", "press-8", "--json").status, ask("device", "show").status) == (2, 2)


def quarantine(ask: Ask) -> None:
    listed = ask("quarantine", "list")
    assert listed.status == 0
    (line,) = listed.lines("press-7")
    assert (line[0], line[4]) == ("0", str(len(JUNK)))
    assert "frame refused" in listed.text
    answer = ask("quarantine", "list", "--json")
    assert answer.status == 0
    (record,) = answer.json["records"]
    assert record["source"] == {"stream": "telemetry", "partition": 0, "offset": 2}
    shown = ask("quarantine", "show", "0")
    assert shown.status == 0
    assert "frame refused" in shown.text
    assert "from telemetry, partition 0, offset 2" in shown.text
    assert shown.lines("00000000")[0][1:5] == ["74", "68", "69", "73"]
    assert "this is not a fr" in shown.text
    assert ask("quarantine", "show", "0", "--json").json == record
    absent = ask("quarantine", "show", "7")
    assert (absent.status, absent.text) == (2, "")
    assert "there is no record at offset 7 in quarantine; see `penstock quarantine list`" in absent.error
    for wrong in (("show",), ("show", "first"), ("list", "--limit", "0"), ("list", "--limit", "10001"), ("lost",)):
        assert ask("quarantine", *wrong).status == 2, wrong


def balanced_ledger(ask: Ask) -> None:
    said = ask("ledger")
    assert said.status == 0
    assert said.lines("press-7") == [["press-7", "4", "4", "0", "0", "0", "0"]]
    assert "every reading is accounted for, but for what 1 message may hold" in said.text
    assert "1 message cannot be read (see `penstock quarantine list`)" in said.text
    answer = ask("ledger", "--json")
    assert answer.status == 0
    totals = answer.json["totals"]
    assert (totals["produced"], totals["stored"], totals["lost"]) == (4, 4, 0)
    assert (answer.json["balanced"], answer.json["verdict"], answer.json["undecodable"]) == (True, "balanced", 1)
    assert answer.json["processors_away"] is None


def unknown_ledger(ask: Ask) -> None:
    """Nothing is lost as far as is known, and nobody knows what is stored."""
    said = ask("ledger")
    assert said.status == 1
    assert "what is stored is not known: the processors cannot be reached" in said.text
    assert "NOT known whether every reading is accounted for" in said.text
    answer = ask("ledger", "--json")
    assert (answer.status, answer.json["verdict"]) == (1, "unknown")
    assert "the processors cannot be reached" in answer.json["processors_away"]


@contextlib.contextmanager
def hung(path: Path) -> Iterator[None]:
    """A process that takes connections and never answers."""
    server = listen(path)
    impatient = ControlClient(path, what="the processors", timeout_s=0.2)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("penstock.commands.ledger.processors_client", lambda data: impatient)
            yield
    finally:
        server.close()
        path.unlink()


def without_processors(ask: Ask) -> None:
    said = ask("ledger")
    assert said.status == 1, "the device says that it produced nine, and has no more"
    assert said.lines("press-7") == [["press-7", "9", "0", "0", "4", "5", "0"]]
    assert "the processors cannot be reached" in said.text
    assert "NOT balanced" in said.text
    answer = ask("ledger", "--json")
    assert answer.status == 1
    assert answer.json["accounts"][0]["lost_ranges"] == [[4, 9]]
    for command in (("quarantine", "list"), ("quarantine", "show", "0")):
        away = ask(*command)
        assert (away.status, away.text) == (1, "")
        assert "nothing listens on" in away.error
        assert "penstock up" in away.error


def test_an_empty_quarantine_and_no_devices(tmp_path: Path, ask: Ask) -> None:
    with running(tmp_path / "data", ("process", "run")):
        assert ask("quarantine", "list") == (0, "nothing is in quarantine\n", "")
        assert ask("quarantine", "list", "--json").json == {"records": [], "left_out": 0}
        away = ask("device", "list")
        assert away.status == 1
        assert "the hub cannot be reached" in away.error
