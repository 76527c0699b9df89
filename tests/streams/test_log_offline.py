"""penstock log verify | dump | repair: on a good log, a torn one, a damaged one, and one that is in use."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.__main__ import main
from streams.clock import ManualClock
from streams.files import DiskFiles
from streams.log import EventLog, LogSettings, offline
from streams.names import TELEMETRY
from streams.record import NewRecord
from tests.streams.log_parts import NOW_MS, batch, number_of, offsets, read_all, record
from tests.streams.test_log_batches import made

ROOT = Path(__file__).parents[2]
STREAMS = {"devices": LogSettings(segment_bytes=4096, index_interval_bytes=512), "alerts": LogSettings()}


def opened(directory: Path) -> EventLog:
    return EventLog.open(directory, STREAMS, files=DiskFiles(), clock=ManualClock(), owner="the hub")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with 100 records on one stream and 3 on another."""
    log = opened(tmp_path / "log")
    for number in range(100):
        log.append_durable("devices", [record(number)])
    log.append_durable("alerts", [record(number) for number in range(3)])
    log.close()
    return tmp_path


def penstock(*words: str | Path) -> tuple[int, str]:
    """Exit status and what was printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as exit_:
        main(["log", *map(str, words)])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, printed.getvalue()


def as_json(*words: str | Path) -> tuple[int, Any]:
    status, text = penstock(*words, "--json")
    return status, json.loads(text)["partitions"]


def lines(*words: str | Path) -> list[dict[str, Any]]:
    status, text = penstock("dump", *words)
    assert status == 0
    return [json.loads(line) for line in text.splitlines()]


def segments(data: Path) -> list[Path]:
    return sorted((data / "log" / "devices" / "0").glob("*.log"))


def tear(data: Path) -> bytes:
    """Leave half of a batch that was being written."""
    tail = batch(100, 5, size=100).at(100)[:300]
    with segments(data)[-1].open("ab") as file:
        file.write(tail)
    return tail


def spoil(data: Path, number: int) -> Path:
    """Let a bit of one record rot."""
    path = max(path for path in segments(data) if int(path.stem) <= number)
    content = bytearray(path.read_bytes())
    content[content.index(b"%d:" % number) + 6] ^= 1
    path.write_bytes(content)
    return path


def snapshot(data: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted((data / "log").rglob("*")) if path.is_file()}


# -- a good log --------------------------------------------------------------------------------------------------------


def test_a_good_log(data: Path) -> None:
    before = snapshot(data)
    status, partitions = as_json("verify", "--data", data)
    assert status == 0
    alerts, devices = partitions
    size = sum(path.stat().st_size for path in segments(data))
    assert devices == {
        "partition": str(data / "log" / "devices" / "0"),
        "segments": len(segments(data)),
        "bytes": size,
        "batches": 100,
        "records": 100,
        "first_offset": 0,
        "next_offset": 100,
        "in_use": None,
        "problems": [],
    }
    assert (alerts["batches"], alerts["records"]) == (1, 3)
    status, text = penstock("verify", data / "log")
    assert status == 0
    assert "devices/0" in text and "0 to 100" in text and "✗" not in text
    changed = [path for path, content in snapshot(data).items() if before.get(path) != content and path.name != "lock"]
    assert changed == [], "looking at it changes nothing"


def test_a_dump_is_one_object_a_line(data: Path) -> None:
    found = lines(data / "log" / "devices")
    assert [each["offset"] for each in found] == list(range(100))
    assert found[7] == {
        "stream": "devices", "partition": 0, "offset": 7, "time_ms": NOW_MS + 7, "key": "key0", "headers": {},
        "value": "7:" + "\x07" * 20,
    }  # fmt: skip
    assert [each["offset"] for each in lines(data / "log" / "devices", "--start", "95", "--limit", "3")] == [95, 96, 97]
    assert len(lines("--data", data)) == 103


def test_a_dump_of_what_is_no_text_and_of_frames(tmp_path: Path) -> None:
    streams = {TELEMETRY: LogSettings(), "other": LogSettings()}
    log = EventLog.open(tmp_path, streams, files=DiskFiles(), clock=ManualClock())
    log.append_durable("other", [NewRecord(b"\xff", b"\xff\x00", 1, (("n", b"\xfe"),)), NewRecord(None, None, 2)])
    log.append_durable(TELEMETRY, [NewRecord(b"press-7", b"no frame", 3)])
    log.close()
    binary, empty, junk = lines(tmp_path)
    assert (binary["value_hex"], binary["key"], binary["headers"]) == ("ff00", "\ufffd", {"n": "\ufffd"})
    assert (empty["key"], empty["value"]) == (None, "")
    assert junk["frame"] is None and junk["bytes"] == 8 and junk["error"]


def test_a_repair_of_a_good_log_does_nothing(data: Path) -> None:
    before = snapshot(data)
    status, (_, devices) = as_json("repair", "--data", data)
    assert status == 0
    assert (devices["cut_bytes"], devices["cut_files"], devices["damaged"]) == (0, [], [])
    assert devices["checked_bytes"] == sum(path.stat().st_size for path in segments(data))
    after = snapshot(data)
    assert {path for path in before if path.suffix == ".log" and before[path] != after[path]} == set()
    assert as_json("verify", "--data", data)[0] == 0


# -- a torn one --------------------------------------------------------------------------------------------------------


def test_a_torn_log_is_said_and_repaired(data: Path) -> None:
    tail = tear(data)
    status, (_, devices) = as_json("verify", "--data", data)
    assert status == 1
    (problem,) = devices["problems"]
    assert f"{segments(data)[-1]} bytes" in problem and "a torn tail, after offset 99" in problem
    assert penstock("verify", "--data", data)[0] == 1
    assert len(lines(data / "log" / "devices")) == 100
    status, (_, devices) = as_json("repair", "--data", data)
    assert (status, devices["cut_bytes"], devices["damaged"]) == (0, 300, [])
    (kept,) = devices["cut_files"]
    assert Path(kept).read_bytes() == tail
    assert as_json("verify", "--data", data)[0] == 0
    log = opened(data / "log")
    assert log.append_durable("devices", [record(100)]) == 100
    log.close()


# -- a damaged one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 40, 99])
def test_a_damaged_log_is_said_and_only_the_damage_is_lost(data: Path, number: int) -> None:
    path = spoil(data, number)
    status, (_, devices) = as_json("verify", "--data", data)
    assert (status, devices["records"], len(devices["problems"])) == (1, 99, 1 if number < 99 else 2)
    assert str(path) in devices["problems"][0] and f"after offset {number - 1}" in devices["problems"][0]
    assert [each["offset"] for each in lines(data / "log" / "devices")] == [n for n in range(100) if n != number]
    status, text = penstock("repair", "--data", data)
    assert status == 1
    assert "✗" in text and (path.name in text or "offsets 99 to 100" in text)
    status, (_, devices) = as_json("verify", "--data", data)
    assert (status, devices["records"]) == (1, 99), "it is not forgotten"
    log = opened(data / "log")
    assert log.append_durable("devices", [record(100)]) == 100
    records, damaged = read_all(log.reader("devices"))
    assert offsets(records) == [n for n in range(101) if n != number]
    assert damaged == [(number, number + 1)]
    log.close()


def test_records_that_do_not_fit_their_batch_are_said_and_the_rest_is_checked(data: Path) -> None:
    path = segments(data)[0]
    lying = made(batch(7).records + b"more")
    content = path.read_bytes()
    place = content.index(batch(7).at(7))
    path.write_bytes(content[:place] + lying + content[place + len(batch(7).at(7)) :])
    status, (_, devices) = as_json("verify", "--data", data)
    assert (status, devices["records"], devices["next_offset"]) == (1, 99, 100)
    problem = devices["problems"][0]
    assert "the batch at offset 7" in problem and "bytes follow the last record" in problem
    assert [each["offset"] for each in lines(data / "log" / "devices")] == [n for n in range(100) if n != 7]


def test_indexes_that_are_gone_are_said_and_made_anew(data: Path) -> None:
    for path in (data / "log").rglob("*.index"):
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    status, (_, devices) = as_json("verify", "--data", data)
    assert status == 1
    assert len(devices["problems"]) == len(segments(data)) - 1
    assert all("has no whole index" in problem for problem in devices["problems"])
    assert as_json("repair", "--data", data)[0] == 0
    assert as_json("verify", "--data", data)[0] == 0


def test_a_segment_that_is_gone_is_said(data: Path) -> None:
    _, second, third, *_ = segments(data)
    second.unlink()
    status, (_, devices) = as_json("verify", "--data", data)
    assert status == 1
    assert any(f"offsets {int(second.stem)} to {int(third.stem)} are not there" in each for each in devices["problems"])
    last = segments(data)[-1]
    last.unlink()
    _, (_, devices) = as_json("verify", "--data", data)
    assert any("to 100 were on disk and are not there" in each for each in devices["problems"])


def test_a_durable_point_that_is_gone_is_said(data: Path) -> None:
    (data / "log" / "devices" / "0" / "durable").unlink()
    status, (_, devices) = as_json("verify", "--data", data)
    assert status == 1
    assert "does not say how far it is durable" in devices["problems"][0]
    assert as_json("repair", "--data", data)[0] == 0
    assert as_json("verify", "--data", data)[0] == 0


# -- one in use --------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_use(data: Path) -> Iterator[EventLog]:
    log = opened(data / "log")
    yield log
    log.close()


def test_a_log_in_use_is_checked_up_to_what_is_durable(data: Path, in_use: EventLog) -> None:
    tear(data)  # or so it looks: somebody is writing it at this moment
    status, (alerts, devices) = as_json("verify", "--data", data)
    assert status == 0
    assert devices["in_use"] == alerts["in_use"]
    assert devices["in_use"].startswith("the hub (process ")
    assert (devices["records"], devices["problems"]) == (100, [])
    status, text = penstock("verify", "--data", data)
    assert status == 0 and "is in use by the hub" in text
    assert len(lines(data / "log" / "devices")) == 100
    spoil(data, 50)
    assert as_json("verify", "--data", data)[0] == 1, "what is durable and damaged is said all the same"


def test_a_log_in_use_is_not_repaired(data: Path, in_use: EventLog) -> None:
    tear(data)
    before = snapshot(data)
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "log", "repair", "--data", str(data)],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is in use by the hub (process " in done.stderr and "stop that one first" in done.stderr
    assert "Traceback" not in done.stderr
    assert snapshot(data) == before


def test_a_log_that_is_looked_at_cannot_be_taken_meanwhile(data: Path) -> None:
    found = offline.dump(data / "log" / "devices" / "0", files=DiskFiles())
    assert number_of(next(found)) == 0
    with pytest.raises(Exception, match="in use by penstock log verify or dump"):
        opened(data / "log")
    found.close()  # type: ignore[attr-defined]
    opened(data / "log").close()


# -- what is none ------------------------------------------------------------------------------------------------------


def test_where_there_is_no_log(tmp_path: Path) -> None:
    for word in ("verify", "dump", "repair"):
        done = subprocess.run(
            [sys.executable, "-m", "penstock", "log", word, str(tmp_path / "nothing")],
            capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2, word
        assert f"there is no event log in {tmp_path / 'nothing'}; name DATA/log" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_copy_of_one_partition_anywhere(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    copy = tmp_path_factory.mktemp("copy") / "saved"
    copy.mkdir()
    for path in segments(data):
        (copy / path.name).write_bytes(path.read_bytes())
    status, (only,) = as_json("verify", copy)
    assert (status, only["records"]) == (1, 100), "without indexes and durable point, which it says"
    assert {each["partition"] for each in lines(copy)} == {"saved"}
    assert not (copy.parent / "lock").exists(), "looking leaves nothing behind"
