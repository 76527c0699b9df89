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
from typing import NamedTuple

from streams.clock import ManualClock
from streams.errors import DiskError
from streams.files import Files
from streams.log import Appended, DamagedRange, EventLog, LogSettings, StreamReader, offline
from streams.log.chain import Head
from streams.log.partitioner import partition_of
from streams.record import NewRecord, Record
from tests.simulation.disk import Disk, Mount, PowerCut

LOG = Path("/log")
STREAM = "events"
STEPS = 40
KEYS = [b"key-%d" % number for number in range(12)]
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
    heads: list[Head] = field(default_factory=list)
    """Of its chain, as they were published after a commit."""

    def promise(self, offset: int, value: bytes) -> None:
        before = self.promised.get(offset)
        if before is not None and before != value and offset not in self.excused:
            raise Broken(f"offset {offset} was given twice")
        if before != value:
            self.excused.discard(offset)
        self.promised[offset] = value


class Made(NamedTuple):
    """What a value was appended with."""

    key: bytes | None
    time_ms: int


def identity(record: NewRecord | Record) -> bytes:
    """Which one it is: no two are alike."""
    return record.headers[0][1] if record.value is None else record.value


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
            **self.dice.choice([{}, {"chain": True}, {"compact": True, "tombstone_s": 20.0}]),
        )
        self.truths = {number: Truth() for number in range(self.settings.partitions)}
        self.appended: dict[bytes, Made] = {}
        """Every value that was ever handed over, by what it is known again."""
        self._tombstones_ms = 0
        """Tombstones that are older may be gone."""
        self.accidents: Counter[str] = Counter()
        self.acknowledged = 0
        self._rotten: set[int] = set()
        self._mount: Mount | None = None
        self._log: EventLog | None = None
        self._readers: dict[int, StreamReader] = {}
        self._laggards: dict[int, tuple[StreamReader, int]] = {}
        self._places: dict[int, int] = {}

    def run(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (12, self.append),
            (10, self.commit),
            (4, self.follow),
            (2, self.lag),
            (2, self.search),
            (1, self.remove),
            (4, self.compact),
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
        for _, step in self.dice.choices(steps, weights, k=STEPS * (4 if self.settings.compact else 1)):
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
        number = struct.pack(">q", len(self.appended))
        value = number + self.dice.randbytes(size)
        time_ms = self.clock.time_ns() // 1_000_000 - self.dice.choice([0, 0, 0, 5000])
        key: bytes | None = number
        if self.settings.compact:
            key = self.dice.choice([None, *KEYS])
            if key and self.dice.random() < 0.2:
                value = number
        self.appended[value] = Made(key, time_ms)
        if self.settings.compact and value == number and key:
            return NewRecord(key, None, time_ms, (("tombstone", number),))
        return NewRecord(key, value, time_ms, (("h", b"x"),) if self.dice.random() < 0.1 else ())

    def commit(self) -> None:
        assert self._log is not None
        failures = self.accidents["append failed"]
        self._log.commit()
        for number, truth in self.truths.items():
            head = self._log.head(STREAM, number)
            if head is not None and self.dice.random() < 0.3:
                truth.heads.append(head)
                read = offline.head(LOG / STREAM / str(number), files=self.disk.mount(lambda: None))
                if read != head and not self._rotten and self.accidents["append failed"] == failures:
                    raise Broken(f"the head is {head}, and another process reads {read}")

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
                self.truths[fate.partition].promise(fate.offset + index, identity(record))
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

    def compact(self) -> None:
        assert self._log is not None
        if not self.settings.compact:
            return
        self._tombstones_ms = self.clock.time_ns() // 1_000_000 - round(self.settings.tombstone_s * 1000)
        self.watch_every_step()
        if self.dice.random() < 0.3:
            self.light_fuse()
        try:
            if self._log.compact():
                self.accidents["compacted"] += 1
        except DiskError:
            self.accidents["compaction failed"] += 1
        finally:
            if self._mount is not None:
                self._mount.beside = None
                self._mount.fuse = None

    def watch_every_step(self) -> None:
        """A reader of another process reads on between any two operations of the disk."""
        assert self._mount is not None

        def read_on() -> None:
            if self.dice.random() < 0.3:
                self.lag()

        self._mount.beside = read_on

    def lag(self) -> None:
        """A slow reader goes on a little, and begins anew when it is at the end."""
        for number in self.truths:
            if number not in self._laggards:
                self._laggards[number] = (StreamReader(LOG, STREAM, number, files=self.disk.mount(lambda: None)), 0)
            reader, place = self._laggards[number]
            place = max(place, reader.earliest)
            if place >= reader.end:
                place = reader.earliest
            self._laggards[number] = reader, self.read_some(reader, number, place)

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
        beside = [".chain", ".chain", ".chain"] if self.settings.chain else []
        kind = self.dice.choice([".log", ".log", ".log", ".index", "durable", *beside])
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
            self._laggards.clear()
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
                self._laggards.clear()
                self.disk.lose_power()
            except DiskError:
                self.accidents["could not open"] += 1
                self.mend()
        assert self._log is not None
        fresh = self.disk.mount(lambda: None)
        for number, truth in self.truths.items():
            reader = StreamReader(LOG, STREAM, number, files=fresh)
            for offset, record in self.read(reader, number, reader.earliest).items():
                truth.promise(offset, identity(record))
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
        found: dict[int, Record] = {}
        while offset < reader.end:
            offset = self.read_some(reader, number, offset, found)
        return found

    def read_some(self, reader: StreamReader, number: int, offset: int, found: dict[int, Record] | None = None) -> int:
        """What one call gives; returns where the next begins."""
        truth = self.truths[number]
        if offset < reader.end:
            try:
                records = reader.read(offset, bytes_max=self.dice.choice([1, 1, 5000, 1 << 20]))
            except DamagedRange as damage:
                if offset >= damage.resume or (damage.offset > offset and not self.settings.compact):
                    raise Broken(f"{damage} does not take the reader further from {offset}") from None
                self.check_gone(truth, offset, damage.resume)
                self.accidents["damage named"] += 1
                return damage.resume
            if not records:
                raise Broken(f"nothing is read at {offset}, and the end is {reader.end}")
            for record in records:
                if record.offset != offset:
                    if record.offset < offset or not self.settings.compact:
                        raise Broken(f"offset {record.offset} was read where {offset} was due")
                    self.check_gone(truth, offset, record.offset)
                    self.accidents["compacted away"] += record.offset - offset
                self.check_record(truth, record)
                if found is not None:
                    found[record.offset] = record
                offset = record.offset + 1
        return offset

    def check_gone(self, truth: Truth, start: int, stop: int) -> None:
        for offset in range(max(start, truth.kept_from), stop):
            if offset in truth.promised and offset not in truth.excused and not self.is_past(truth, offset):
                raise Broken(f"offset {offset} was promised and cannot be read")

    def is_past(self, truth: Truth, offset: int) -> bool:
        """Whether compaction may have removed what stood there."""
        if not self.settings.compact:
            return False
        value = truth.promised[offset]
        key, time_ms = self.appended[value]
        if key is not None and len(value) == 8 and time_ms < self._tombstones_ms:
            return True
        later = [other for at, other in truth.promised.items() if at > offset]
        return key is not None and any(self.appended[other].key == key for other in later)

    def check_record(self, truth: Truth, record: Record) -> None:
        value = identity(record)
        if value not in self.appended or record.key != self.appended[value].key:
            raise Broken(f"offset {record.offset} holds what was never appended")
        if record.timestamp_ms != self.appended[value].time_ms:
            raise Broken(f"offset {record.offset} has another time")
        promised = truth.promised.get(record.offset)
        if promised is not None and promised != value and record.offset not in truth.excused:
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
                is_free = offset in truth.excused or self.is_past(truth, offset)
                if offset not in records and not is_free and offset >= truth.kept_from:
                    raise Broken(f"offset {offset} was promised and is gone")
                if offset in records and identity(records[offset]) in values:
                    raise Broken(f"offset {offset} holds what stands elsewhere too")
                values.add(value)
            if reader.earliest > truth.kept_from:
                raise Broken(
                    f"the log begins at {reader.earliest}; what stands from {truth.kept_from} on was to be kept"
                )
            self.check_chain(number, truth)

    def check_chain(self, number: int, truth: Truth) -> None:
        """Nothing was changed but by rot: then every head that was published still stands for what is there."""
        if not self.settings.chain or self._rotten:
            return
        files = self.disk.mount(lambda: None)
        partition = LOG / STREAM / str(number)
        report = offline.verify(partition, files=files, chain=True)
        of_chain = [each for each in report.problems if ".chain" in each or "published" in each]
        if of_chain:
            raise Broken(f"nothing was changed, and the chain says {of_chain}")
        if report.chained_from is None:
            raise Broken("the partition has no chain")
        standing = [head for head in truth.heads if head.offset >= report.chained_from]
        report = offline.verify(partition, files=files, published=standing)
        if report.confirmed != sorted(set(standing)):
            raise Broken(f"nothing was changed, and of the published heads it is said {report.problems}")
        self.accidents["heads confirmed"] += len(standing)


def run_seed(seed: int) -> World:
    """One life; Broken names the seed."""
    world = World(seed)
    try:
        world.run()
    except Exception as error:
        raise Broken(f"seed {seed}: {type(error).__name__}: {error}") from error
    return world
