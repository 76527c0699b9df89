"""From payloads in the formats of others to frames on the log: read, learn the series, number, encode, append.

One device's messages are worked on in order, those that came meanwhile together; large ones in a thread, so that the
event loop goes on. The manifest of a new series is on disk before the first frame that needs it. Numbers go on where
the log left off; an append that failed may have reached the disk or not, so after it a new epoch begins: no number is
given twice, and none is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hub import marks
from hub.events import device_key
from hub.intake import OnTaken
from hub.journal import Journal
from hub.learning import Learner
from hub.payloads import READERS, Reading, format_of
from hub.translations import Translations
from streams import names
from streams.clock import Clock
from streams.errors import JunkError, MisuseError, PenstockError
from streams.frames import Block, ClockQuality, Column, Frame, encode
from streams.record import Header, NewRecord

_log = logging.getLogger("penstock.hub.translator")

THREAD_BYTES = 16 * 1024
"""Payloads of more than this together are read and encoded in a thread."""
WORK_BYTES = 512 * 1024
"""About as much is worked on at once (at least one message is)."""
READINGS_PER_FRAME = 10_000
PAYLOAD_BYTES_MAX = 4 << 20
"""A larger message is not translated."""
KEPT_BYTES_MAX = 1 << 20
"""Of a payload that cannot be read, so much is kept."""


class Foreign(NamedTuple):
    """A message in one of the formats of others."""

    channel: str
    content_type: str | None
    payload: bytes
    mark: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """Messages that were taken together, and when they came."""

    messages: Sequence[Foreign]
    time_ns: int
    on_taken: OnTaken

    @property
    def size(self) -> int:
        return sum(len(message.payload) for message in self.messages)


class _Desk:
    """Where one device's messages are worked on. Touched by the thread only while the loop waits for it."""

    def __init__(self, device: str, learner: Learner, declared: int | None, epoch: int, sequence: int) -> None:
        self.device = device
        self.learner = learner
        self.declared = declared
        """The number of the manifest that is on the log."""
        self.epoch = epoch
        self.sequence = sequence
        """The number of the next reading."""
        self.waiting: deque[_Job] = deque()
        self.task: asyncio.Task[None] | None = None

    def next_jobs(self) -> list[_Job]:
        jobs = [self.waiting.popleft()]
        size = jobs[0].size
        while self.waiting and size + self.waiting[0].size <= WORK_BYTES:
            jobs.append(self.waiting.popleft())
            size += jobs[-1].size
        return jobs


@dataclass(slots=True)
class _Made:
    """What became of some messages."""

    records: list[NewRecord] = field(default_factory=list)
    sequence: int = 0
    """The number of the reading after the last."""


class Translator:
    """Takes the messages of the channels in `names.TRANSLATED`. Everything but reading large ones is in the loop."""

    def __init__(self, journal: Journal, translations: Translations, *, clock: Clock, series_max: int) -> None:
        self._journal = journal
        self._translations = translations
        self._clock = clock
        self._series_max = series_max
        self._desks: dict[str, _Desk] = {}

    def take(self, device: str, messages: Sequence[Foreign], on_taken: OnTaken) -> None:
        """Translate messages of a device; `on_taken` is called once, later, in the loop: None when what they hold is
        on disk, or why it is not."""
        desk = self._desks.get(device)
        if desk is None:
            desk = self._desks[device] = self._open(device)
        desk.waiting.append(_Job(messages, self._clock.time_ns(), on_taken))
        if desk.task is None:
            desk.task = asyncio.get_running_loop().create_task(self._work(desk), name=f"translate {device}")

    async def idle(self) -> None:
        """Return when nothing waits any more."""
        while tasks := [desk.task for desk in self._desks.values() if desk.task is not None]:
            await asyncio.wait(tasks)

    def _open(self, device: str) -> _Desk:
        known = self._translations.find(device)
        learner = Learner(self._series_max, known.manifest)
        declared = learner.manifest_id() if known.manifest is not None else None
        if known.epoch:
            return _Desk(device, learner, declared, known.epoch, known.stop)
        return _Desk(device, learner, declared, self._new_epoch(0), 0)

    def _new_epoch(self, before: int) -> int:
        return max(before + 1, names.EPOCH_TRANSLATED + self._clock.time_ns() // 10**9)

    async def _work(self, desk: _Desk) -> None:
        try:
            while desk.waiting:
                jobs = desk.next_jobs()
                error = await self._done(desk, jobs)
                for job in jobs:
                    job.on_taken(error)
        finally:
            desk.task = None

    async def _done(self, desk: _Desk, jobs: Sequence[_Job]) -> Exception | None:
        """Bring what the jobs hold to disk; returns why that failed."""
        try:
            if sum(job.size for job in jobs) > THREAD_BYTES:
                made = await asyncio.to_thread(_translated, desk, jobs)
            else:
                made = _translated(desk, jobs)
            if made.sequence > desk.sequence and desk.learner.manifest_id() != desk.declared:
                await self._declare(desk)
            await self._journal.write(names.TELEMETRY, made.records)
        except Exception as error:
            if not isinstance(error, PenstockError):
                _log.exception("messages of %s are not acknowledged", desk.device)
            desk.epoch, desk.sequence = self._new_epoch(desk.epoch), 0
            return error
        desk.sequence = made.sequence
        return None

    async def _declare(self, desk: _Desk) -> None:
        key = device_key(desk.device, names.MANIFEST)
        record = NewRecord(key, desk.learner.manifest(), self._clock.time_ns() // 1_000_000)
        await self._journal.write(names.DEVICES, [record])
        desk.declared = desk.learner.manifest_id()


Numbered = list[tuple[int, Reading]]
"""Readings, each with the number of its series."""


def _translated(desk: _Desk, jobs: Sequence[_Job]) -> _Made:
    """The records of all messages: frames, and what cannot be one. Learns series; changes nothing else of the desk."""
    messages = [(message, job.time_ns) for job in jobs for message in job.messages]
    read = [_read(desk, message, time_ns) for message, time_ns in messages]
    manifest = desk.learner.manifest_id()  # of all that was learnt: one manifest goes to the log
    made = _Made(sequence=desk.sequence)
    key = desk.device.encode()
    for (message, time_ns), found in zip(messages, read):
        time_ms, headers = time_ns // 1_000_000, () if message.mark is None else (marks.header(message.mark),)
        if isinstance(found, str):
            payload, more = _kept(message, found)
            made.records.append(NewRecord(key, payload, time_ms, (*more, *headers)))
            continue
        for count, encoded in _frames(found, desk.epoch, made.sequence, manifest):
            made.records.append(NewRecord(key, encoded, time_ms, headers))
            made.sequence += count
            headers = ()
    return made


def _read(desk: _Desk, message: Foreign, time_ns: int) -> Numbered | str:
    """The readings of a message, or why there are none."""
    if len(message.payload) > PAYLOAD_BYTES_MAX:
        return (
            f"a message of {len(message.payload)} bytes; at most {PAYLOAD_BYTES_MAX} are translated, send less at once"
        )
    try:
        readings = READERS[format_of(message.channel, message.content_type)](message.payload, time_ns)
        if not readings:
            return "there is no reading in it"
        return list(zip(desk.learner.learn(readings), readings))
    except JunkError as error:
        return str(error)
    except Exception as error:  # a defect of ours: the sender must not repeat this message for ever
        _log.exception("cannot read a message of %s on %s", desk.device, message.channel)
        return f"a defect of the hub: {error!r:.200}"


def _kept(message: Foreign, reason: str) -> tuple[bytes, tuple[Header, ...]]:
    """Value and headers of the record of a message that cannot be read."""
    payload = message.payload
    if len(payload) > KEPT_BYTES_MAX:
        reason = f"{reason} (of {len(payload)} bytes the first {KEPT_BYTES_MAX} are kept)"
    headers = ((names.FAULT_HEADER, reason[:2000].encode()), (names.FORMAT_HEADER, message.channel.encode()))
    return payload[:KEPT_BYTES_MAX], headers


def _frames(numbered: Numbered, epoch: int, sequence: int, manifest: int) -> Iterator[tuple[int, bytes]]:
    """The frames of a message, with their counts."""
    todo = [numbered[at : at + READINGS_PER_FRAME] for at in range(0, len(numbered), READINGS_PER_FRAME)]
    while todo:
        part = todo.pop(0)
        try:
            encoded = encode(Frame(epoch, sequence, manifest, ClockQuality.UNKNOWN, _blocks(part)))
        except MisuseError:  # more than a frame takes: long texts
            assert len(part) > 1, "a reading is smaller than a frame"
            todo[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
            continue
        yield len(part), encoded
        sequence += len(part)


def _blocks(numbered: Numbered) -> list[Block]:
    """Readings as columns; those that have their times in common share a block."""
    columns: dict[int, list[Reading]] = {}
    for number, reading in numbered:
        columns.setdefault(number, []).append(reading)
    shared: dict[tuple[int, ...], list[Column]] = {}
    for number, readings in columns.items():
        column = Column(number, readings[0].kind, [reading.value for reading in readings])
        shared.setdefault(tuple([reading.time_ns for reading in readings]), []).append(column)
    return [Block(times_ns, members) for times_ns, members in shared.items()]
