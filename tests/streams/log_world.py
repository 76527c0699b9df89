"""One seeded life of an event log on a disk that fails, held against what it promised.

What may happen: appends of all sizes, commits, kills, power cuts (between two operations of the disk or within a call,
with un-synced sectors lost, torn and reordered), failed syncs, a full disk, rotten bits in segments, indexes and
durable point, removal of old segments, a reader of another process that follows all along, searches by time.

What must hold: a record that was acknowledged, or that a reader could see, is there ever after, once, at its offset,
unless its own batch has rotted or it was removed; what cannot be read is named; nothing is there that was not appended.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams.clock import ManualClock
from streams.errors import DiskError
from streams.files import Files
from streams.log import Appended, DamagedRange, EventLog, LogSettings, StreamReader
from streams.log.partitioner import partition_of
from streams.record import NewRecord, Record
from tests.simulation.disk import Disk, Mount, PowerCut

LOG = Path("/log")
STREAM = "events"
STEPS = 40
HEADER = struct.Struct(">qiibIhiqqqhii")
EPOCH_BYTES = range(12, 16)
"""Of a batch: outside its checksum, and of no meaning to us."""


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass
class Truth:
    """What is known of one partition."""

    promised: dict[int, bytes] = field(default_factory=dict)
    """By offset: what was acknowledged, or could be seen."""
    excused: set[int] = field(default_factory=set)
    """Offsets whose batch has rotted."""
    kept_from: int = 0
    """What is older may be removed."""

    def promise(self, offset: int, value: bytes) -> None:
        before = self.promised.get(offset)
        if before is not None and before != value and offset not in self.excused:
            raise Broken(f"offset {offset} was given twice")
        if before != value:
            self.excused.discard(offset)
        self.promised[offset] = value

    def check_gone(self, start: int, stop: int) -> None:
        for offset in range(max(start, self.kept_from), stop):
            if offset in self.promised and offset not in self.excused:
                raise Broken(f"offset {offset} was promised and cannot be read")


class World:
    """See the head of this file. `run` raises Broken when a promise is not kept."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"{seed}/log")
        self.disk = Disk(random.Random(f"{seed}/disk"), sectors=True)
        self.clock = ManualClock()
        self.settings = LogSettings(
            partitions=self.dice.choice([1, 1, 2]),
            segment_bytes=self.dice.choice([4096, 10_000, 40_000]),
            index_interval_bytes=512,
        )
        self.truths = {number: Truth() for number in range(self.settings.partitions)}
        self.appended: dict[bytes, int] = {}
        """Every value that was ever handed over, and its time in ms."""
        self.accidents: Counter[str] = Counter()
        self.acknowledged = 0
        self._rotten: set[int] = set()
        self._mount: Mount | None = None
        self._log: EventLog | None = None
        self._readers: dict[int, StreamReader] = {}
        self._places: dict[int, int] = {}

    def run(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (12, self.append),
            (10, self.commit),
            (4, self.follow),
            (2, self.search),
            (1, self.remove),
            (1, self.kill),
            (1, self.lose_power),
            (1, self.light_fuse),
            (1, self.fail_syncs),
            (1, self.fill_disk),
            (3, self.empty_disk),
            (1, self.rot),
        ]
        weights = [weight for weight, _ in steps]
        self.open()
        for _, step in self.dice.choices(steps, weights, k=STEPS):
            self.attempt(step)
        self.mend()
        self.attempt(self.commit)
        self.attempt(self.follow)
        self.restart()
        self.attempt(self.append)
        self.attempt(self.commit)
        self.attempt(self.follow)
        self.check_all()

    def described(self) -> str:
        """The disk in a line."""
        sizes = {
            f"{path.parent.name}/{int(path.stem)}": len(inode.data)
            for path, inode in self.disk.names.items()
            if path.suffix == ".log"
        }
        return f"{sizes}, {self.disk.free_bytes} bytes free, {self.disk.failing_syncs} syncs will fail"

    # -- what the owner of the log does --------------------------------------------------------------------------------

    def attempt(self, step: Callable[[], None]) -> None:
        """Do it; the power may fail meanwhile."""
        self.clock.advance(self.dice.uniform(0, 2))
        try:
            step()
        except PowerCut:
            self.accidents["power cut in a call"] += 1
            self.die(power=self.dice.random() < 0.7)

    def append(self) -> None:
        assert self._log is not None
        for _ in range(self.dice.randint(1, 4)):
            records = [self.record() for _ in range(self.dice.choice([1, 1, 1, 2, 5]))]
            self._log.append(STREAM, records, token=records)

    def record(self) -> NewRecord:
        size = self.dice.choice(
            [0, 10, 100, 600, 3000, self.dice.randint(0, 500), 70_000 if self.dice.random() < 0.05 else 1]
        )
        value = struct.pack(">q", len(self.appended)) + self.dice.randbytes(size)
        time_ms = self.clock.time_ns() // 1_000_000 - self.dice.choice([0, 0, 0, 5000])
        self.appended[value] = time_ms
        return NewRecord(value[:8], value, time_ms, (("h", b"x"),) if self.dice.random() < 0.1 else ())

    def commit(self) -> None:
        assert self._log is not None
        self._log.commit()

    def on_commit(self, fates: Sequence[Appended]) -> None:
        for fate in fates:
            if fate.error is not None:
                if not isinstance(fate.error, DiskError):
                    raise Broken(f"{fate.error!r} is no reason to fail")
                self.accidents["append failed"] += 1
                continue
            records = fate.token
            assert isinstance(records, list)
            if self.settings.partitions > 1:
                records = [
                    each for each in records if partition_of(each.key, self.settings.partitions) == fate.partition
                ]
            assert len(records) == fate.count
            for index, record in enumerate(records):
                assert record.value is not None
                self.truths[fate.partition].promise(fate.offset + index, record.value)
                self.acknowledged += 1

    def remove(self) -> None:
        assert self._log is not None
        number = self.dice.randrange(self.settings.partitions)
        reader = self._log.reader(STREAM, number)
        offset = self.dice.randint(min(reader.earliest, reader.end), reader.end)
        self.truths[number].kept_from = max(self.truths[number].kept_from, offset)
        try:
            if self._log.truncate_before(STREAM, number, offset):
                self.accidents["segments removed"] += 1
        except (DiskError, OSError):
            self.accidents["removal failed"] += 1

    # -- accidents -----------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        self.accidents["kill"] += 1
        self.die(power=False)

    def lose_power(self) -> None:
        self.accidents["power cut"] += 1
        self.die(power=True)

    def light_fuse(self) -> None:
        assert self._mount is not None
        self._mount.fuse = self.dice.randint(0, 40)

    def fail_syncs(self) -> None:
        self.accidents["failed sync"] += 1
        self.disk.failing_syncs = self.dice.randint(1, 3)

    def fill_disk(self) -> None:
        self.accidents["full disk"] += 1
        self.disk.free_bytes = self.dice.randint(0, 4000)

    def empty_disk(self) -> None:
        self.disk.free_bytes = None

    def rot(self) -> None:
        """Flip up to three bits of one file, once in its life; one bit of a batch at most."""
        kind = self.dice.choice([".log", ".log", ".log", ".index", "durable"])
        paths = [path for path in self.disk.names if path.name.endswith(kind) and self.disk.names[path].data]
        if not paths:
            return
        path = self.dice.choice(sorted(paths))
        inode = self.disk.names[path]
        if id(inode) in self._rotten:
            return
        self._rotten.add(id(inode))
        self.accidents[f"rotten {kind}"] += 1
        flips = [self.dice.randrange(len(inode.data)) for _ in range(self.dice.choice([1, 1, 2, 3]))]
        if kind == ".log":
            flips = self.excuse(path, flips)
        for at in flips:
            self.disk.flip(path, at, self.dice.randrange(8))

    def excuse(self, path: Path, flips: list[int]) -> list[int]:
        """What stands in the batches that are hit may be lost. Gives the flips of which each hits another batch."""
        truth = self.truths[int(path.parent.name)]
        data, position = bytes(self.disk.names[path].data), 0
        chosen: list[int] = []
        while position + HEADER.size <= len(data):
            base, length, _, magic, _, _, last_delta, *_ = HEADER.unpack_from(data, position)
            stop = position + 12 + length
            if magic != 2 or length < 49:
                break  # what a failed write left
            hit = [at for at in flips if position <= at < stop]
            if hit:
                chosen.append(hit[0])
                if len(flips) > 1 or hit[0] - position not in EPOCH_BYTES:
                    truth.excused.update(range(base, base + last_delta + 1))
            position = stop
        return chosen + [at for at in flips if at >= position]

    def mend(self) -> None:
        self.disk.free_bytes = None
        self.disk.failing_syncs = 0
        if self._mount is not None:
            self._mount.fuse = None

    def restart(self) -> None:
        if self._log is not None and self.dice.random() < 0.5:
            self._log.close()
            self.open()
        else:
            self.die(power=self.dice.random() < 0.5)

    def die(self, *, power: bool) -> None:
        assert self._mount is not None
        self._mount.dead = True
        if power:
            self._readers.clear()
            self.disk.lose_power()
            self.disk.failing_syncs = 0
        self.open()

    def open(self) -> None:
        """Start the owner of the log, as often as it takes, and take for promised what it shows from then on."""
        for attempt in range(20):
            self._mount = self.disk.mount(lambda: None)
            if attempt < 2 and self.dice.random() < 0.1:
                self._mount.fuse = self.dice.randint(0, 30)
            try:
                self._log = self._opened(self._mount)
                break
            except PowerCut:
                self.accidents["power cut while opening"] += 1
                self._readers.clear()
                self.disk.lose_power()
            except DiskError:
                self.accidents["could not open"] += 1
                self.mend()
        assert self._log is not None
        fresh = self.disk.mount(lambda: None)
        for number, truth in self.truths.items():
            reader = StreamReader(LOG, STREAM, number, files=fresh)
            for offset, record in self.read(reader, number, reader.earliest).items():
                assert record.value is not None
                truth.promise(offset, record.value)
            self._places[number] = min(self._places.get(number, 0), reader.end)

    def _opened(self, files: Files) -> EventLog:
        return EventLog.open(
            LOG, {STREAM: self.settings}, files=files, clock=self.clock, on_commit=self.on_commit, threaded=False
        )

    # -- what its readers see ------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """A reader of another process goes on from where it was."""
        for number, truth in self.truths.items():
            reader = self.reader(number)
            place = max(self._places.get(number, 0), reader.earliest)
            for offset, record in self.read(reader, number, place).items():
                if offset not in truth.promised:
                    raise Broken(f"offset {offset} was shown and never acknowledged")
                place = record.offset + 1
            self._places[number] = max(place, reader.end) if reader.end >= place else place

    def reader(self, number: int) -> StreamReader:
        if number not in self._readers:
            self._readers[number] = StreamReader(LOG, STREAM, number, files=self.disk.mount(lambda: None))
        return self._readers[number]

    def read(self, reader: StreamReader, number: int, offset: int) -> dict[int, Record]:
        """Everything from `offset` to the end, whole or named as damaged, and each what was promised."""
        truth = self.truths[number]
        found: dict[int, Record] = {}
        while offset < reader.end:
            try:
                records = reader.read(offset, bytes_max=self.dice.choice([1, 5000, 1 << 20]))
            except DamagedRange as damage:
                if not damage.offset <= offset < damage.resume:
                    raise Broken(f"{damage} does not take the reader further from {offset}") from None
                truth.check_gone(damage.offset, damage.resume)
                self.accidents["damage named"] += 1
                offset = damage.resume
                continue
            if not records:
                raise Broken(f"nothing is read at {offset}, and the end is {reader.end}")
            for record in records:
                if record.offset != offset:
                    raise Broken(f"offset {record.offset} was read where {offset} was due")
                self.check_record(truth, record)
                found[offset] = record
                offset += 1
        return found

    def check_record(self, truth: Truth, record: Record) -> None:
        assert record.value is not None
        if record.value not in self.appended or record.key != record.value[:8]:
            raise Broken(f"offset {record.offset} holds what was never appended")
        if record.timestamp_ms != self.appended[record.value]:
            raise Broken(f"offset {record.offset} has another time")
        promised = truth.promised.get(record.offset)
        if promised is not None and promised != record.value and record.offset not in truth.excused:
            raise Broken(f"offset {record.offset} holds something else than was promised")

    def search(self) -> None:
        """By time: nothing that is as new stands before what is found."""
        for number in self.truths:
            reader = self.reader(number)
            time_ms = self.clock.time_ns() // 1_000_000 - self.dice.randint(-1000, 40_000)
            found = reader.offset_for_time(time_ms)
            records = self.read(reader, number, min(reader.earliest, reader.end))
            newer = [offset for offset, record in records.items() if record.timestamp_ms >= time_ms]
            if found > min(newer, default=reader.end):
                raise Broken(f"the search for {time_ms} gave {found}, and {newer[0]} is as new")

    def check_all(self) -> None:
        """At the end all that was promised is there, once, in order."""
        values: set[bytes] = set()
        for number, truth in self.truths.items():
            reader = self.reader(number)
            records = self.read(reader, number, reader.earliest)
            for offset, value in truth.promised.items():
                if offset not in records and offset not in truth.excused and offset >= truth.kept_from:
                    raise Broken(f"offset {offset} was promised and is gone")
                if offset in records and records[offset].value in values:
                    raise Broken(f"offset {offset} holds what stands elsewhere too")
                values.add(value)
            if reader.earliest > truth.kept_from:
                raise Broken(
                    f"the log begins at {reader.earliest}; what stands from {truth.kept_from} on was to be kept"
                )


def run_seed(seed: int) -> World:
    """One life; Broken names the seed."""
    world = World(seed)
    try:
        world.run()
    except Exception as error:
        raise Broken(f"seed {seed}: {type(error).__name__}: {error}") from error
    return world
