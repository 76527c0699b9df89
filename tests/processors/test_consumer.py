"""The consumer on a real log and a real store: kills at every boundary, full disks, damage, and logs that are gone."""

from __future__ import annotations

import functools
import itertools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import processors.engine
import processors.outbox
from processors.chunk import Chunk
from processors.consumer import DRAIN_S, RETRY_S_MAX, SNAPSHOT_INTERVAL_S
from processors.settings import ProcessorsSettings
from processors.stores.store import Store
from streams.clock import ManualClock
from streams.errors import DiskError, TryLaterError
from streams.files import DiskFiles
from streams.frames import Kind
from streams.frames.decode_compiled import batches
from streams.log import EventLog, LogSettings
from streams.names import ALERTS, DEVICES, QUARANTINE, TELEMETRY
from tests.edge.disks import Died, FaultyDisk
from tests.processors.damage import flip
from tests.processors.world import ONE, Log, Processors, block, frame, ids, manifest, simple

LIMITED = manifest({"name": "level", "maximum": 10.0})
WORDS = manifest("level", {"name": "word", "type": "text"})
SMALL = ProcessorsSettings(chunk_bytes_max=1)  # one batch of the log a round


def numbers(processors: Processors, device: str = "d") -> list[int]:
    return [row[6] for row in processors.readings(device)]


class Refusing:
    """A store that refuses so many commits, and then takes them."""

    def __init__(self, store: Store, times: int, error: Exception) -> None:
        self._store = store
        self.left = times
        self._error = error

    def commit(self, chunk: Chunk) -> None:
        if self.left:
            self.left -= 1
            raise self._error
        self._store.commit(chunk)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Dying:
    """A store whose process is killed just after its k-th commit."""

    def __init__(self, store: Store, at: int) -> None:
        self._store = store
        self._left = at

    def commit(self, chunk: Chunk) -> None:
        self._store.commit(chunk)
        self._left -= 1
        if self._left == 0:
            raise Died("after a commit")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Slow:
    """A store that takes longer for a commit than a drain may last."""

    def __init__(self, store: Store, clock: ManualClock, commit_s: float = DRAIN_S + 1) -> None:
        self._store = store
        self._clock = clock
        self._commit_s = commit_s

    def commit(self, chunk: Chunk) -> None:
        self._store.commit(chunk)
        self._clock.advance(self._commit_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Waits(threading.Event):
    """An event that is waited for without waiting; `waits` are how long it would have been."""

    def __init__(self, seen: Callable[[], Any] = lambda: None) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._seen = seen

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self._seen()
        return self.is_set()


# -- following ---------------------------------------------------------------------------------------------------------


def test_what_is_on_the_log_becomes_rows(tmp_path: Path) -> None:
    log = Log(tmp_path)
    processors = Processors(tmp_path)
    assert processors.consumer.round(processors.stop) is False, "nothing is there, not even a stream of ours"
    log.manifest("d")
    log.telemetry("d", simple(0, [0.0, 1.0]), simple(2, [2.0]))
    assert processors.consumer.lags() == [{"partition": 0, "offset": 0, "end": 2, "lag": 2}]
    processors.drain()
    assert numbers(processors) == [0, 1, 2]
    assert processors.consumer.lags() == [{"partition": 0, "offset": 2, "end": 2, "lag": 0}]
    assert (processors.consumer.readings, processors.consumer.problems()) == (3, [])
    chunks = processors.consumer.chunks
    log.telemetry("d", simple(3, [3.0]))
    processors.drain()
    assert numbers(processors) == [0, 1, 2, 3]
    processors.drain()
    assert processors.consumer.chunks == chunks + 1, "nothing is committed when nothing has come"
    assert processors.engine.latest.to_json(processors.engine.table)["devices"]["d"]["level"]["value"] == 3.0
    processors.close()
    log.close()


def test_before_the_hub_has_written_anything_there_is_nothing_to_do(tmp_path: Path) -> None:
    processors = Processors(tmp_path)
    assert processors.consumer.round(processors.stop) is False
    assert processors.consumer.lags() == []
    processors.end()


def test_its_rate_is_that_of_the_last_commits(tmp_path: Path) -> None:
    log = Log(tmp_path)
    processors = Processors(tmp_path)
    assert processors.consumer.readings_per_s == 0.0
    log.manifest("d")
    for at in range(5):
        log.telemetry("d", simple(at * 10, [0.0] * 10))
        processors.consumer.round(processors.stop)
        processors.clock.advance(2.0)
    assert processors.consumer.readings_per_s == pytest.approx(4.0)
    processors.close()
    log.close()


def test_a_round_says_whether_there_is_more_and_takes_no_more_than_its_share_of_each_partition(tmp_path: Path) -> None:
    log = Log(tmp_path, partitions=4)
    devices = ["a", "b", "c", "d", "e", "f", "g", "h"]
    for device in devices:
        log.manifest(device)
        log.telemetry(device, *[simple(at * 20, [0.5] * 20) for at in range(10)], one_by_one=True)
    size = max(len(simple(at * 20, [0.5] * 20)) for at in range(10)) + 100
    processors = Processors(tmp_path, settings=ProcessorsSettings(chunk_bytes_max=4 * size))
    more, rounds = True, 0
    while more:
        before = processors.consumer.readings
        more = processors.consumer.round(processors.stop)
        rounds += 1
        assert processors.consumer.readings - before <= 4 * 2 * 20
    assert rounds >= 10
    for device in devices:
        assert numbers(processors, device) == list(range(200))
    processors.close()
    log.close()


def test_frames_of_which_little_is_data_are_not_taken_for_the_end_of_the_log(tmp_path: Path) -> None:
    """A drain must not stop because batches are mostly headers."""
    log = Log(tmp_path)
    log.manifest("d")
    log.telemetry("d", *[simple(at, [1.0]) for at in range(300)], one_by_one=True)
    processors = Processors(tmp_path, settings=ProcessorsSettings(chunk_bytes_max=2000))
    processors.end()
    after = Processors(tmp_path)
    assert numbers(after) == list(range(300))
    after.close()
    log.close()


def test_a_manifest_that_comes_later_than_its_frames_lets_them_in(tmp_path: Path) -> None:
    log = Log(tmp_path)
    processors = Processors(tmp_path)
    log.telemetry("d", simple(0, [0.0]), simple(1, [1.0]))
    processors.drain()
    assert numbers(processors) == []
    assert processors.store.ledger()["accounts"][0]["parked"] == [[0, 2]]
    processors.close()
    processors = Processors(tmp_path)
    log.manifest("d")
    processors.drain()
    assert numbers(processors) == [0, 1]
    (account,) = processors.store.ledger()["accounts"]
    assert (account["parked"], account["stored"]) == ([], [[0, 2]])
    processors.close()
    log.close()


def test_manifests_that_come_at_every_connect_are_kept_once(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for _ in range(20):
        log.manifest("d")
    processors = Processors(tmp_path)
    processors.drain()
    for _ in range(20):
        log.manifest("d")
    processors.drain()
    processors.close()
    assert Processors(tmp_path).state.manifests == [("d", ONE)]
    log.close()


# -- kills -------------------------------------------------------------------------------------------------------------


def write_story(directory: Path) -> int:
    """A log with everything that can come: two devices, a late manifest, copies, junk, alarms. Returns its readings."""
    log = Log(directory, partitions=2)
    calm = [float(at * 7 % 13) / 2 for at in range(100)]
    log.manifest("d", LIMITED)
    log.telemetry("d", simple(0, calm, payload=LIMITED))
    log.telemetry("e", frame(0, block(0, [1.0, 2.0]), block(1, ["on", "off"], kind=Kind.TEXT), payload=WORDS))
    log.telemetry("d", simple(100, [20.0, 21.0, *calm[:20]], payload=LIMITED))  # opens and closes
    log.telemetry("d", b"junk")
    log.telemetry("e", simple(4, [3.0] * 30, payload=WORDS))
    log.telemetry("d", simple(50, [*calm[50:], 20.0, 21.0, *calm[:20], 1.0], payload=LIMITED))  # a copy, and one more
    log.manifest("e", WORDS)
    log.telemetry("d", simple(0, [1.0], payload=b"never seen", epoch=2))
    log.telemetry("e", simple(34, [4.0, 5.0], payload=WORDS), simple(36, [6.0], payload=WORDS))
    log.telemetry("d", simple(123, [30.0, 2.0], payload=LIMITED))  # opens
    log.telemetry("e", b"\xfePjunk")
    log.telemetry("d", simple(125, calm, payload=LIMITED))  # closes
    log.close()
    return 225 + 37


def outcome(processors: Processors) -> dict[str, Any]:
    """Everything that somebody can see of what came of a log."""
    return {
        "d": processors.readings("d"),
        "e": processors.readings("e"),
        "alarms": processors.alarms(),
        "ledger": processors.store.ledger(),
        "alerts": sorted(ids(processors.published(ALERTS))),
        "quarantine": sorted(ids(processors.published(QUARANTINE))),
    }


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The log of the story, and what comes of it when nothing happens."""
    directory = tmp_path_factory.mktemp("story")
    readings = write_story(directory)
    untouched = tmp_path_factory.mktemp("untouched")
    shutil.copytree(directory, untouched, dirs_exist_ok=True)
    processors = Processors(untouched, settings=SMALL)
    processors.drain()
    found = outcome(processors)
    processors.close()
    assert len(found["d"]) + len(found["e"]) == readings
    assert len(found["alarms"]) == 2 and len(found["alerts"]) == 4 and len(found["quarantine"]) == 2
    assert [each["parked"] for each in found["ledger"]["accounts"]] == [[], [[0, 1]], []]
    return directory, found


@pytest.fixture
def data(story: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(story[0], tmp_path / "data"))


def test_however_many_frames_a_round_takes_the_same_comes_of_it(
    data: Path, story: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Processors(Path(shutil.copytree(data, data.parent / "whole")))
    whole.drain()
    assert outcome(whole) == story[1]
    whole.close()
    monkeypatch.setattr(processors.engine, "batches", functools.partial(batches, readings_max=1))
    single = Processors(data)
    single.drain()
    assert outcome(single) == story[1]
    single.close()


@pytest.mark.parametrize("clean", [True, False], ids=["stop", "kill"])
def test_a_restart_after_every_commit_changes_nothing(
    data: Path, story: tuple[Path, dict[str, Any]], clean: bool
) -> None:
    clock = ManualClock()
    restarts, done = 0, False
    while not done:
        processors = Processors(data, settings=SMALL, clock=clock, wrap=functools.partial(Slow, clock=clock))
        clock.advance(SNAPSHOT_INTERVAL_S + 1)  # so that what was learned is in every transaction
        if clean:
            processors.stop.set()
            processors.consumer.run(processors.stop)  # one commit, for then the time of the drain is over
            done = processors.consumer.chunks == 1  # of the end alone
        else:
            processors.consumer.round(processors.stop)
            done = processors.consumer.chunks == 0
        found = outcome(processors)
        processors.close()
        restarts += 1
    assert restarts >= 8
    assert found == story[1]


def test_a_kill_between_any_commit_and_what_follows_it_stores_and_publishes_everything_once(
    data: Path, story: tuple[Path, dict[str, Any]]
) -> None:
    for at in itertools.count(1):
        directory = Path(shutil.copytree(data, data.parent / f"at {at}"))
        killed = Processors(directory, settings=SMALL, wrap=functools.partial(Dying, at=at))
        try:
            killed.drain()
            break
        except Died:
            killed.close()
        again = Processors(directory, settings=SMALL)
        again.drain()
        found = outcome(again)
        again.close()
        shutil.rmtree(directory)
        same = ("d", "e", "ledger", "quarantine")  # alarms may differ: what was learned is behind
        assert {name: found[name] for name in same} == {name: story[1][name] for name in same}
        states = {"open": ["open"], "closed": ["open", "closed"]}
        told = [f"{alarm['id']}:{state}" for alarm in found["alarms"] for state in states[alarm["state"]]]
        assert found["alerts"] == sorted(told)
    killed.close()
    assert at > 8


def test_a_kill_at_any_step_of_publishing_publishes_everything_once(
    data: Path, story: tuple[Path, dict[str, Any]]
) -> None:
    steps = 0
    for step in range(1, 200):
        directory, disk = Path(shutil.copytree(data, data.parent / f"step {step}")), FaultyDisk()
        killed = Processors(directory, files=disk)
        disk.dies_at = disk.steps + step
        try:
            killed.drain()
            break
        except Died:
            disk.dies_at = None
            killed.close()
        steps += 1
        again = Processors(directory)
        again.drain()
        assert outcome(again) == story[1]
        again.close()
        shutil.rmtree(directory)
    assert steps >= 4


# -- a store that takes nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (DiskError("the disk is full"), [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, RETRY_S_MAX, RETRY_S_MAX]),
        (TryLaterError("busy", retry_after_s=1.0), [1.0, 1.0, 1.0, 1.0, 1.6, 3.2]),
        (TryLaterError("busy for a year", retry_after_s=3e7), [60.0, 60.0]),
    ],
)
def test_a_commit_that_fails_is_tried_again_until_it_is_taken_and_the_log_waits(
    tmp_path: Path, error: Exception, waits: list[float]
) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    log.telemetry("d", simple(0, [0.0]))
    processors = Processors(tmp_path, wrap=lambda store: Refusing(store, len(waits), error))
    said: list[list[str]] = []
    stop = Waits(lambda: said.append(processors.consumer.problems()))
    log.telemetry("d", simple(1, [1.0]))
    processors.consumer.round(stop)
    assert stop.waits == waits
    assert said == [[str(error)]] * len(waits)
    assert processors.consumer.problems() == []
    assert numbers(processors) == [0, 1]
    assert processors.consumer.chunks == 1, "the very same transaction"
    processors.drain()
    assert numbers(processors) == [0, 1]
    processors.close()
    log.close()


def test_a_stop_while_the_store_takes_nothing_ends_it_and_loses_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    log.telemetry("d", simple(0, [0.0]))
    processors = Processors(tmp_path, wrap=lambda store: Refusing(store, 1000, DiskError("the disk is full")))
    stop = Waits(lambda: stop.set() if len(stop.waits) == 3 else None)
    processors.consumer.run(stop)
    assert len(stop.waits) == 3
    assert str(processors.consumer.failed) == "the disk is full"
    processors.close()
    after = Processors(tmp_path)
    after.drain()
    assert numbers(after) == [0]
    after.close()
    log.close()


def test_alarms_that_cannot_be_published_are_told_and_follow_when_the_disk_takes_them(tmp_path: Path) -> None:
    log, disk = Log(tmp_path), FaultyDisk()
    log.manifest("d", LIMITED)
    log.telemetry("d", simple(0, [50.0], payload=LIMITED))
    processors = Processors(tmp_path, files=disk)
    disk.full = True
    processors.consumer.round(processors.stop)
    assert numbers(processors) == [0], "readings are stored all the same"
    assert "No space left" in processors.consumer.problems()[0]
    assert processors.published(ALERTS) == []
    disk.full = False
    processors.drain()
    assert ids(processors.published(ALERTS)) == ["d/level/level/1/0:open"]
    assert processors.consumer.problems() == []
    processors.close()
    assert Processors(tmp_path).state.outgoing == [], "and are forgotten then"
    log.close()


def test_when_too_much_waits_to_be_published_the_log_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors.outbox, "WAITING_BYTES_MAX", 1000)
    log, disk = Log(tmp_path), FaultyDisk()
    log.manifest("d")
    log.telemetry("d", b"x" * 2000)
    made = Processors(tmp_path, files=disk)
    disk.full = True
    made.consumer.round(made.stop)
    log.telemetry("d", simple(0, [0.0]))
    for _ in range(3):
        assert made.consumer.round(made.stop) is False
    assert numbers(made) == []
    disk.full = False
    made.drain()
    assert numbers(made) == [0]
    assert len(made.published(QUARANTINE)) == 1
    made.close()
    log.close()


# -- damage and holes --------------------------------------------------------------------------------------------------


def test_damage_in_the_log_is_said_and_accounted_for_and_what_follows_goes_through(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    hit = simple(1, [1.5])
    log.telemetry("d", simple(0, [0.0]), one_by_one=True)
    log.telemetry("d", hit)
    log.telemetry("d", simple(2, [2.0]), simple(3, [3.0]), one_by_one=True)
    flip(tmp_path / "log" / TELEMETRY / "0", hit)
    processors = Processors(tmp_path)
    processors.drain()
    assert numbers(processors) == [0, 2, 3]
    assert processors.consumer.passed_over == 1
    (said,) = processors.consumer.problems()
    assert "is damaged: offsets 1 to 2 cannot be read" in said
    (record,) = processors.published(QUARANTINE)
    headers = {name: value.decode() for name, value in record.headers}
    assert (headers["id"], headers["stream"], headers["partition"], headers["offset"]) == (
        "telemetry/0/1-2", "telemetry", "0", "1",
    )  # fmt: skip
    assert headers["reason"] == said
    assert processors.store.ledger()["accounts"][0]["stored"] == [[0, 1], [2, 4]], "the ledger will miss number 1"
    processors.close()
    again = Processors(tmp_path)
    again.drain()
    assert len(again.published(QUARANTINE)) == 1
    assert again.consumer.lags()[0]["lag"] == 0
    again.close()
    log.close()


def test_damage_at_the_end_of_the_log_is_passed_over_too(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    hit = simple(0, [1.5])
    log.telemetry("d", hit)
    flip(tmp_path / "log" / TELEMETRY / "0", hit)
    processors = Processors(tmp_path)
    processors.drain()
    assert processors.consumer.passed_over == 1
    log.telemetry("d", simple(1, [1.0]))
    processors.drain()
    assert numbers(processors) == [1]
    processors.close()
    log.close()


def test_a_manifest_that_was_damaged_is_missed_and_may_come_again(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    log.manifest("e")
    log.telemetry("d", simple(0, [0.0]))
    log.telemetry("e", simple(0, [0.0]))
    flip(tmp_path / "log" / DEVICES / "0", b"d/manifest")
    processors = Processors(tmp_path)
    processors.drain()
    assert (numbers(processors, "d"), numbers(processors, "e")) == ([], [0])
    assert ids(processors.published(QUARANTINE)) == ["devices/0/0-1"]
    log.manifest("d")
    processors.drain()
    assert numbers(processors, "d") == [0]
    processors.close()
    log.close()


def test_a_log_that_was_deleted_before_it_was_stored_is_loud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = Log(tmp_path, segment_bytes=4096)
    log.manifest("d")
    processors = Processors(tmp_path)
    processors.drain()
    log.telemetry("d", *[simple(at * 50, [float(at)] * 50) for at in range(200)], one_by_one=True)
    assert log.log.truncate_before(TELEMETRY, 0, 150) > 0
    reader = log.log.reader(TELEMETRY)
    earliest = reader.earliest
    reader.close()
    assert 0 < earliest <= 150
    processors.drain()
    assert numbers(processors) == list(range(earliest * 50, 200 * 50))
    assert processors.consumer.passed_over == earliest
    (said,) = processors.consumer.problems()
    assert f"{earliest} records of telemetry/0 were deleted before they were stored" in said
    assert "hub.log.retention_days" in said
    assert any(record.levelname == "ERROR" and said in record.getMessage() for record in caplog.records)
    assert ids(processors.published(QUARANTINE)) == [f"telemetry/0/0-{earliest}"]
    log.telemetry("d", simple(10_000, [1.0]))
    processors.drain()
    assert processors.consumer.problems() == [said], "it is not forgotten with the next good frame"
    processors.close()
    log.close()


def test_a_log_that_is_shorter_than_what_was_read_is_waited_for(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    log.telemetry("d", *[simple(at, [1.0]) for at in range(3)], one_by_one=True)
    processors = Processors(tmp_path)
    processors.drain()
    processors.close()
    log.close()
    shutil.rmtree(tmp_path / "log" / TELEMETRY)
    log = Log(tmp_path)
    processors = Processors(tmp_path)
    processors.drain()
    assert "offset 3 is not in" in processors.consumer.problems()[0]
    assert "waiting for its writer" in processors.consumer.problems()[0]
    log.telemetry("d", *[simple(at, [1.0]) for at in range(3, 7)], one_by_one=True)
    processors.drain()
    assert processors.consumer.problems() == []
    assert numbers(processors) == [0, 1, 2, 6]
    processors.close()
    log.close()


def test_a_disk_that_cannot_be_read_is_said_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    log.telemetry("d", simple(0, [0.0]))
    processors = Processors(tmp_path)
    real = DiskFiles.open

    def broken(self: DiskFiles, path: Path, **how: Any) -> Any:
        if path.suffix == ".log" and TELEMETRY in path.parts and not how:
            raise OSError(5, "Input/output error")
        return real(self, path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(DiskFiles, "open", broken)
        assert processors.consumer.round(processors.stop) is False
        assert processors.consumer.problems() == [
            "telemetry/0 cannot be read: [Errno 5] Input/output error; it is tried again"
        ]
    processors.drain()
    assert numbers(processors) == [0]
    assert processors.consumer.problems() == []
    processors.close()
    log.close()


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_a_stop_drains_what_is_on_the_log_and_keeps_what_was_learned(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    log.telemetry("d", *[simple(at * 4, [1.0] * 4) for at in range(50)], one_by_one=True)
    processors = Processors(tmp_path, settings=SMALL)
    processors.end()
    after = Processors(tmp_path)
    assert numbers(after) == list(range(200))
    assert after.state.detectors == processors.engine.snapshot()
    after.close()
    log.close()


def test_a_drain_ends_when_its_time_is_over_though_the_log_goes_on(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    log.telemetry("d", *[simple(at, [1.0]) for at in range(50)], one_by_one=True)
    clock = ManualClock()
    processors = Processors(tmp_path, settings=SMALL, clock=clock, wrap=lambda store: Slow(store, clock, 1.0))
    processors.end()
    after = Processors(tmp_path)
    assert numbers(after) == list(range(round(DRAIN_S)))
    after.drain()
    assert numbers(after) == list(range(50))
    after.close()
    log.close()


def test_a_consumer_that_dies_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = Log(tmp_path)
    log.manifest("d")
    log.telemetry("d", simple(0, [0.0]))
    processors = Processors(tmp_path, wrap=lambda store: Refusing(store, 1, RuntimeError("a bug")))
    processors.consumer.run(Waits())
    assert isinstance(processors.consumer.failed, RuntimeError)
    assert [record.levelname for record in caplog.records if "the consumer died" in record.getMessage()] == ["CRITICAL"]
    processors.close()
    log.close()


def test_two_consumers_cannot_write_the_same_streams(tmp_path: Path) -> None:
    processors = Processors(tmp_path)
    with pytest.raises(Exception, match="in use by test"):
        EventLog.open(tmp_path / "log", {ALERTS: LogSettings()}, files=DiskFiles(), clock=ManualClock(), owner="other")
    processors.close()
