"""The hash chain: what a third party can tell with a head that was published, and what it survives."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.__main__ import main
from streams.clock import ManualClock
from streams.errors import MisuseError
from streams.files import DiskFiles
from streams.log import EventLog, LogSettings, offline
from streams.log.chain import GENESIS, Head
from streams.log.checksum import crc32c
from streams.log.offline import Report
from tests.streams.log_parts import STREAM, batch, laid_out, record

RECORDS = 100


def opened(directory: Path, *, chain: bool = True) -> EventLog:
    settings = LogSettings(segment_bytes=4096, index_interval_bytes=512, chain=chain)
    return EventLog.open(directory, {STREAM: settings}, files=DiskFiles(), clock=ManualClock())


def appended(log: EventLog, first: int, count: int) -> list[Head]:
    """The head after each record."""
    heads: list[Head] = []
    for number in range(first, first + count):
        log.append_durable(STREAM, [record(number, size=100)])
        head = log.head(STREAM)
        assert head is not None
        heads.append(head)
    return heads


@pytest.fixture
def published(tmp_path: Path) -> list[Head]:
    """A chained log of some segments in `tmp_path`, closed, and its heads."""
    log = opened(tmp_path)
    heads = appended(log, 0, RECORDS)
    log.close()
    assert len(segments(tmp_path)) > 3
    return heads


def partition(directory: Path) -> Path:
    return directory / STREAM / "0"


def segments(directory: Path) -> list[Path]:
    return sorted(partition(directory).glob("*.log"))


def chains(directory: Path) -> list[Path]:
    return sorted(partition(directory).glob("*.chain"))


def verified(directory: Path, *published: Head) -> Report:
    return offline.verify(partition(directory), files=DiskFiles(), chain=True, published=published)


def positions(data: bytes) -> list[tuple[int, int]]:
    """Where the batches of a segment begin and end."""
    found, at = [], 0
    while at < len(data):
        stop = at + 12 + int.from_bytes(data[at + 8 : at + 12], "big")
        found.append((at, stop))
        at = stop
    return found


# -- what it is --------------------------------------------------------------------------------------------------------


def test_a_head_is_what_the_document_says(tmp_path: Path, published: list[Head]) -> None:
    """Computed once more from the bytes of the segments, with nothing of ours."""
    head, heads = bytes(32), []
    for path in segments(tmp_path):
        data = path.read_bytes()
        for start, stop in positions(data):
            (offset,) = struct.unpack_from(">q", data, start)
            (last_delta,) = struct.unpack_from(">i", data, start + 23)
            entry = struct.pack(">qi", offset, last_delta + 1) + hashlib.sha256(data[start + 16 : stop]).digest()
            head = hashlib.sha256(head + entry).digest()
            heads.append(Head(offset + last_delta + 1, head))
    assert heads == published


def test_every_published_head_is_confirmed_and_the_batches_know_nothing_of_it(
    tmp_path: Path, published: list[Head]
) -> None:
    report = verified(tmp_path, *published)
    assert (report.problems, report.chained_from) == ([], 0)
    assert report.confirmed == published and report.head == published[-1]
    plain = opened(tmp_path / "plain", chain=False)
    for number in range(RECORDS):
        plain.append_durable(STREAM, [record(number, size=100)])
    plain.close()
    assert [path.read_bytes() for path in segments(tmp_path)] == [
        path.read_bytes() for path in segments(tmp_path / "plain")
    ]


def test_a_log_in_use_shows_its_head_to_other_processes(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for head in appended(log, 0, RECORDS):
        assert Head.parse(str(head)) == head
    for number in range(RECORDS, RECORDS + 60):
        (head,) = appended(log, number, 1)
        assert offline.head(partition(tmp_path), files=DiskFiles()) == head
    report = verified(tmp_path, head)
    assert (report.problems, report.confirmed) == ([], [head])
    log.close()


def test_a_batch_of_a_kafka_client_is_chained_as_it_came(tmp_path: Path) -> None:
    log = opened(tmp_path)
    data, _ = laid_out([batch(0, 5)], base=77)
    log.append_batch(STREAM, 0, data)
    head = log.head(STREAM)
    log.close()
    entry = struct.pack(">qi", 0, 5) + hashlib.sha256(data[16:]).digest()
    assert head == Head(5, hashlib.sha256(GENESIS + entry).digest())


# -- what is done to it ------------------------------------------------------------------------------------------------


def change_a_value(directory: Path) -> None:
    """With a right checksum, as somebody does who knows the format."""
    path = segments(directory)[1]
    data = bytearray(path.read_bytes())
    start, stop = positions(bytes(data))[3]
    data[stop - 10] ^= 1
    data[start + 17 : start + 21] = crc32c(bytes(data[start + 21 : stop])).to_bytes(4, "big")
    path.write_bytes(data)


def change_and_chain_anew(directory: Path) -> None:
    """And makes a chain that fits."""
    change_a_value(directory)
    for path in chains(directory):
        path.unlink()
    first = segments(directory)[0]
    begin = struct.pack(">8sq32s12x", b"PSCHAIN1", int(first.stem), GENESIS)
    first.with_suffix(".chain").write_bytes(begin + zlib.crc32(begin).to_bytes(4, "big"))
    opened(directory).close()


def change_a_time(directory: Path) -> None:
    path = segments(directory)[0]
    data = bytearray(path.read_bytes())
    start, stop = positions(bytes(data))[0]
    for at in (27, 35):
        data[start + at : start + at + 8] = struct.pack(">q", 5)
    data[start + 17 : start + 21] = crc32c(bytes(data[start + 21 : stop])).to_bytes(4, "big")
    path.write_bytes(data)


def swap_two(directory: Path) -> None:
    """Two batches of the same size change places; their base offsets are outside of their checksums."""
    path = segments(directory)[0]
    data = path.read_bytes()
    (_, second), (_, end) = positions(data)[:2]
    a, b = data[:second], data[second:end]
    path.write_bytes(a[:8] + b[8:] + b[:8] + a[8:] + data[end:])


def put_another_segment_in(directory: Path) -> None:
    """Of another log, with the chain that it has there."""
    other = directory / "other"
    log = opened(other)
    for number in range(RECORDS):
        log.append_durable(STREAM, [record(number + 1000, size=100 - len(str(number + 1000)) + len(str(number)))])
    log.close()
    for mine, theirs in zip(partition(directory).iterdir(), partition(other).iterdir()):
        if mine.stem == segments(directory)[1].stem:
            (partition(directory) / theirs.name).write_bytes(theirs.read_bytes())


def take_the_end(directory: Path) -> None:
    last = segments(directory)[-1]
    data = last.read_bytes()
    last.write_bytes(data[: positions(data)[-1][0]])
    (partition(directory) / "durable").unlink()


def take_the_end_and_its_chain(directory: Path) -> None:
    take_the_end(directory)
    opened(directory).close()


def take_the_first_segment(directory: Path) -> None:
    for path in (segments(directory)[0], chains(directory)[0]):
        path.unlink()


def take_the_middle(directory: Path) -> None:
    for path in (segments(directory)[2], chains(directory)[2]):
        path.unlink()


def spoil_the_chain(directory: Path) -> None:
    path = chains(directory)[1]
    data = bytearray(path.read_bytes())
    data[64 + 20] ^= 1
    path.write_bytes(data)


def take_the_chain(directory: Path) -> None:
    for path in chains(directory):
        path.unlink()


CRIMES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a value is changed": (change_a_value, "is not the one that was chained"),
    "a value is changed and the chain made anew": (change_and_chain_anew, "is not the published one"),
    "a time is changed": (change_a_time, "is not the one that was chained"),
    "batches are swapped": (swap_two, "is not the one that was chained"),
    "a segment is replaced": (put_another_segment_in, "does not go on from the segment before"),
    "the end is cut": (take_the_end, "were chained and are not there"),
    "the end is cut and the chain opened": (take_the_end_and_its_chain, "the log ends at 99"),
    "the first segment is taken": (take_the_first_segment, "taken away by somebody else"),
    "a segment is taken": (take_the_middle, "does not go on from the segment before"),
    "the chain is spoilt": (spoil_the_chain, "is not whole"),
    "the chain is taken": (take_the_chain, "has no chain"),
}


@pytest.mark.parametrize("crime", CRIMES)
def test_what_was_changed_is_named(tmp_path: Path, published: list[Head], crime: str) -> None:
    commit, sentence = CRIMES[crime]
    commit(tmp_path)
    report = verified(tmp_path, published[-1])
    assert any(sentence in each for each in report.problems), report.problems


# -- what it survives --------------------------------------------------------------------------------------------------


def test_it_goes_on_after_a_restart_and_is_made_anew_where_it_is_missing(tmp_path: Path, published: list[Head]) -> None:
    files = chains(tmp_path)
    whole = [path.read_bytes() for path in files]
    for kept in (0, 30, 64, 64 + 20, 64 + 48 * 2):
        for path, data in zip(files, whole):
            if kept or path != files[0]:  # the first one says where all begins
                path.write_bytes(data[: max(kept, 64 if path == files[0] else 0)])
        log = opened(tmp_path)
        assert log.head(STREAM) == published[-1]
        log.close()
        assert verified(tmp_path, *published).problems == []


def test_a_chain_may_begin_later_and_be_left_for_a_while(tmp_path: Path) -> None:
    log = opened(tmp_path, chain=False)
    for number in range(60):
        log.append_durable(STREAM, [record(number, size=100)])
    assert log.head(STREAM) is None
    log.close()
    assert offline.head(partition(tmp_path), files=DiskFiles()) is None
    log = opened(tmp_path)
    begin = int(segments(tmp_path)[-1].stem)
    heads = appended(log, 60, 60)
    log.close()
    log = opened(tmp_path, chain=False)
    for number in range(120, 180):
        log.append_durable(STREAM, [record(number, size=100)])
    log.close()
    log = opened(tmp_path)
    heads += appended(log, 180, 60)
    log.close()
    report = verified(tmp_path, *heads)
    assert (report.problems, report.chained_from, report.confirmed) == ([], begin, heads)


def test_retention_leaves_the_head_where_it_removed(tmp_path: Path, published: list[Head]) -> None:
    log = opened(tmp_path)
    assert log.truncate_before(STREAM, 0, 60) > 1
    begin = log.reader(STREAM).earliest
    heads = published + appended(log, RECORDS, 5)
    log.close()
    at = next(head for head in heads if head.offset == begin)
    assert (partition(tmp_path) / "removed").read_text() == f"{at}\n"
    still = [head for head in heads if head.offset >= begin]
    report = verified(tmp_path, *still)
    assert (report.problems, report.confirmed, report.chained_from) == ([], still, begin)
    (problem,) = verified(tmp_path, heads[3]).problems
    assert f"the chain begins at offset {begin}: a head at 4 can no longer be checked" in problem


def test_after_a_removal_the_chain_can_be_made_anew_from_what_is_left(tmp_path: Path, published: list[Head]) -> None:
    log = opened(tmp_path)
    log.truncate_before(STREAM, 0, 60)
    log.close()
    take_the_chain(tmp_path)
    log = opened(tmp_path)
    assert log.head(STREAM) == published[-1]
    log.close()


def test_repair_keeps_the_chain(tmp_path: Path, published: list[Head]) -> None:
    with segments(tmp_path)[-1].open("ab") as file:
        file.write(b"torn")
    (partition(tmp_path) / "durable").unlink()
    chains(tmp_path)[-1].unlink()
    assert offline.repair(partition(tmp_path), files=DiskFiles()).cut_bytes == 4
    assert verified(tmp_path, *published).problems == []


# -- at the command line -----------------------------------------------------------------------------------------------


def penstock(*words: str | Path) -> tuple[int, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as exit_:
        main(["log", *map(str, words)])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, printed.getvalue()


def test_the_command_prints_heads_and_takes_them(tmp_path: Path, published: list[Head]) -> None:
    status, text = penstock("head", tmp_path)
    assert (status, text) == (0, f"{STREAM}/0 {published[-1]}\n")
    kept = tmp_path / "heads.txt"
    kept.write_text(f"# kept elsewhere\n\n{STREAM}/0 {published[40]}\n{text}")
    status, text = penstock("verify", tmp_path, "--heads", kept, "--json")
    (found,) = json.loads(text)["partitions"]
    assert (status, found["confirmed"]) == (0, [str(published[40]), str(published[-1])])
    change_a_value(tmp_path)
    assert penstock("verify", tmp_path)[0] == 0, "nobody asked"
    assert penstock("verify", tmp_path, "--chain")[0] == 1
    change_and_chain_anew(tmp_path)
    change_a_value(tmp_path)  # once more: back to what it was
    assert penstock("verify", tmp_path, "--chain")[0] == 1, "the chain stands for what was changed"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--head", "12"], "is not a head"),
        (["--head", "00@1"], "is not a head"),
        (["--heads", "/nowhere"], "cannot read the heads"),
    ],
)
def test_what_is_no_head_is_a_misuse(
    tmp_path: Path, published: list[Head], words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["log", "verify", str(tmp_path), *words])
    assert exit_.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_log_without_a_chain_is_a_misuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = opened(tmp_path, chain=False)
    log.append_durable(STREAM, [record(0)])
    log.close()
    for words in (["head"], ["verify", "--chain"]):
        with pytest.raises(SystemExit) as exit_:
            main(["log", words[0], str(tmp_path), *words[1:]])
        assert exit_.value.code == 2
        assert "has a hash chain; keep one with hub.log.chain" in capsys.readouterr().err.replace("\n", " ")


def test_a_head_reads_as_it_is_written() -> None:
    head = Head(5, bytes(range(32)))
    assert Head.parse(f" {head} \n") == head
    with pytest.raises(MisuseError, match="is not a head"):
        Head.parse(str(head)[1:])
