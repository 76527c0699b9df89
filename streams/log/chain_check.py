"""Holds the batches of a partition against its chain, and both against heads that were published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from streams.files import Files
from streams.log.chain import GENESIS, SUFFIX, UNKNOWN, ChainFile, Entry, Head, digest_at
from streams.log.chain_opening import read_checkpoint
from streams.log.scan import Damaged, Found
from streams.log.segment import segment_path


class ChainCheck:
    """Fed with a partition in its order: `begin` a segment, `take` what stands in it, `end` it; `finish` at last."""

    def __init__(self, partition: Path, published: Sequence[Head], *, files: Files) -> None:
        self._partition = partition
        self._files = files
        self._published = sorted(set(published))
        self._path = partition
        self._entries: Iterator[Entry] = iter(())
        self._entry: Entry | None = None
        self._damaged_to = 0
        self._end: int | None = None
        self.chained_from: int | None = None
        """Where the chain begins; None when there is none."""
        self.head: Head | None = None
        """At the end of what was taken."""
        self.confirmed: list[Head] = []
        self.problems: list[str] = []

    def begin(self, base: int, end: int | None, *, is_in_use: bool = False) -> None:
        """A segment, up to offset `end` as far as that is known. In use: its chain may say more than was taken."""
        self._end = end
        self._path = segment_path(self._partition, base, SUFFIX)
        start: bytes | None = None
        entries: list[Entry] = []
        try:
            with closing(self._files.open(self._path)) as file:
                found = ChainFile(file, base)
                start = found.start
                entries = [each for each in found.entries() if not is_in_use or each.next_offset <= (end or 0)]
        except FileNotFoundError:
            pass
        if start is None:
            entries = []
            if self.head is not None:
                self._complain(f"{self._path} does not say where it begins")
        elif self.head is None:
            self.chained_from = base
            self.head = Head(base, start)
            self._check_begin()
        elif start != self.head.head:
            self._complain(f"{self._path} does not go on from the segment before: one of them was replaced")
            self.head = Head(base, start)
        self._entries = iter(entries)
        self._next()
        self._confirm()

    def take(self, each: Found | Damaged) -> None:
        """What stands next in the segment."""
        if self.head is None:
            return
        if isinstance(each, Damaged):
            stop = self._end if each.resume is None else each.resume
            self._damaged_to = stop or each.offset
            if (self._entry is None or self._entry.is_end) and self._damaged_to > self.head.offset:  # nor written yet
                self._follow(Entry(self.head.offset, self._damaged_to - self.head.offset, UNKNOWN))
            return
        header = each.header
        self._pass_over(header.base_offset)
        digest = digest_at(each.data, each.at, header.size)
        seen = Entry(header.base_offset, header.offsets, digest)
        entry = self._entry
        if entry is None or entry.is_end:  # not written yet
            self._follow(seen)
            return
        if entry.offset != header.base_offset or entry.offsets != header.offsets:
            self._complain(
                f"{self._path}: offsets {header.base_offset} to {header.next_offset} were never chained: put in later"
            )
            return
        if entry.digest not in (digest, UNKNOWN):
            self._complain(
                f"{self._path}: the batch of offsets {entry.offset} to {entry.next_offset} is not the one that was "
                "chained: it was changed"
            )
        self._follow(entry)
        self._next()

    def end(self, following: int | None) -> None:
        """The segment ends; `following` is where the next one begins."""
        if self.head is None:
            return
        self._pass_over(None)
        entry = self._entry
        if following is None:
            return
        if entry is None:
            self._complain(f"{self._path} is not whole: it was cut or damaged")
        elif entry.digest != self.head.head:
            self._complain(f"{self._path} ends with another head than its entries give: they were changed")

    def finish(self) -> None:
        """All was taken."""
        for each in self._published:
            if each not in self.confirmed:
                self._complain(f"{self._partition}: {self._unconfirmed(each)}")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _check_begin(self) -> None:
        head, checkpoint = self.head, read_checkpoint(self._partition, files=self._files)
        assert head is not None
        if head.head == GENESIS or (checkpoint is not None and checkpoint.offset > head.offset):
            return  # a removal that was announced and has not happened
        if checkpoint is None or checkpoint.offset < head.offset:
            announced = 0 if checkpoint is None else checkpoint.offset
            self._complain(
                f"{self._partition}: the log begins at offset {head.offset}, and retention removed it up to "
                f"{announced}: segments were taken away by somebody else"
            )
        elif checkpoint != head:
            self._complain(f"{self._path} begins with another head than was noted when it became the first")

    def _pass_over(self, offset: int | None) -> None:
        """Entries of what stands no more before `offset`, or in the rest of the segment."""
        while (entry := self._entry) is not None and not entry.is_end and (offset is None or entry.offset < offset):
            if entry.offset >= self._damaged_to and entry.digest != UNKNOWN:
                self._complain(
                    f"{self._path}: offsets {entry.offset} to {entry.next_offset} were chained and are not there"
                )
            self._follow(entry)
            self._next()

    def _follow(self, entry: Entry) -> None:
        assert self.head is not None
        self.head = Head(entry.next_offset, entry.follow(self.head.head))
        self._confirm()

    def _next(self) -> None:
        self._entry = next(self._entries, None)

    def _confirm(self) -> None:
        if self.head in self._published and self.head not in self.confirmed:
            self.confirmed.append(self.head)

    def _complain(self, sentence: str) -> None:
        self.problems.append(sentence)

    def _unconfirmed(self, head: Head) -> str:
        if self.head is None or self.chained_from is None:
            return f"it has no chain, the head at offset {head.offset} says nothing of it"
        if head.offset < self.chained_from:
            return f"the chain begins at offset {self.chained_from}: a head at {head.offset} can no longer be checked"
        if head.offset > self.head.offset:
            return f"a head was published at offset {head.offset}, and the log ends at {self.head.offset}"
        return f"the head at offset {head.offset} is not the published one: something before it was changed"
